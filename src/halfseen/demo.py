"""The whole way in miniature: two networks learn on the street that comes with halfseen, and search it.

A global baseline and BPBreID learn from scratch, on the same small backbone, with the same pictures and for as long.
Nobody is real, nothing is downloaded, and the numbers are small: this shows how the parts of the house play together,
and what it is worth to compare only what both pictures show. What the methods are worth is measured elsewhere. At the
end the model that comes with halfseen searches the same street, over HTTP (`demo_page`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from halfseen import printing
from halfseen.data.cues import load_part_labels
from halfseen.data.embeddings import Encoded, save_encoded
from halfseen.data.finding import PARTS
from halfseen.data.sets import read_set
from halfseen.data.variants import read_sample
from halfseen.demo_page import show_page
from halfseen.encode import cues_for
from halfseen.evaluate import evaluate
from halfseen.methods import METHODS
from halfseen.ops.pooling import pool
from halfseen.report import examine, open_run, write_report
from halfseen.reporting.results import Result, Run
from halfseen.train import CHECKPOINT, train
from halfseen.training.settings import Settings
from halfseen.types import Embedding, Facts, Occlusion, Progress, Sample, Scores, Splits

SETS = ("street", "street:re-occluded")  # hidden queries, and whole ones among hidden answers
REPORT, SIDES = "report.html", ("query", "gallery")
SIZE = (128, 64)  # height, width that pictures are brought to for their colours
FEWEST = 0.004  # a part is seen if it takes this share of the picture


class Lesson(NamedTuple):
    """What a method is in the demo: changes to its configuration; and those to its recipe, which all share."""

    config: Mapping[str, Any]
    recipe: Mapping[str, Any]


# As many looks as fit into a minute on two cores. The parts are few and weigh more than in the paper, so that they are
# learned in that time; left and right are one, so that pictures can be mirrored for both.
SMALL = {"backbone": "test_efficientnet"}
SHORT = {"height": 192, "width": 96, "augment": "bot", "people": 8, "epochs": 60}
FAST = {"lr": 2e-3, "warmup": 6, "schedule": "cosine"}
LESSONS = {
    "bot": Lesson(SMALL, SHORT | FAST),
    "bpbreid": Lesson({**SMALL, "parts": 3, "reduction": 128, "pixel_weight": 2.0}, SHORT | FAST),
}


def run_demo(out: Path) -> None:
    """Train both networks into folders of `out`, encode, score, print one table, and write the report beside them;
    then search the same street with the model that comes with halfseen.

    A training that was stopped goes on; one that is complete is not repeated.
    """
    sets = [read_set(name) for name in SETS]
    _print_header(sets[0])
    runs = [learn(name, sets[0], out / name) for name in LESSONS]
    results = [[examine(run, splits, printing.progress_bar) for splits in sets] for run in runs]
    columns = {
        _title(run.loaded.card.method): [result.scores for result in row]
        for run, row in zip(runs, results, strict=True)
    }
    columns["colours"] = [_colour_scores(splits) for splits in sets]
    _print_scores(columns)
    _save(out, [row[0] for row in results])
    show_page(out)


def _print_header(splits: Splits) -> None:
    people, others = ({sample.pid for sample in part} for part in (splits.gallery, splits.train))
    queries, gallery = (
        f"{len(part)} {what}, {sum(s.occlusion is not Occlusion.HOLISTIC for s in part) / len(part):.0%} of them"
        for part, what in ((splits.query, "queries"), (splits.gallery, "gallery images"))
    )
    recipe = LESSONS["bot"].recipe  # the other's too
    printing.print_line(
        f"{len(people)} people on a rendered street:\n{queries} partly hidden; {gallery}.\n"
        f"Two networks learn from scratch on {len(splits.train)} pictures of {len(others)} other people,\n"
        f"{recipe['height']}×{recipe['width']} and each seen {recipe['epochs']} times, "
        f"in about a minute each on two cores:"
    )


def learn(name: str, splits: Splits, out: Path) -> Run:
    """The method `name`, trained on `splits` into the folder `out`, unless that was done before."""
    plan = METHODS[name]
    config = plan.config(**LESSONS[name].config)
    method, recipe = plan.of(config), replace(plan.recipe, **LESSONS[name].recipe)
    cues = {"train": cues_for(method, config, "train", splits, splits.train)}
    again, began = (out / CHECKPOINT).exists(), perf_counter()

    def bars(what: str) -> AbstractContextManager[Progress]:
        return printing.progress_bar(f"{_title(name)}, {what}")

    train(method, config, recipe, splits, cues, Settings(out, start="none", device="cpu", every=0, bars=bars))
    run = open_run(out, "last")
    parameters = sum(parameter.numel() for parameter in run.loaded.network.parameters())
    took = "begun before, and found there" if again else f"{perf_counter() - began:.0f} s"
    printing.print_line(f"- {_title(name)}: {config.backbone}, {parameters / 1e6:.2f} M parameters; {took}")
    return run


def _title(name: str) -> str:
    return METHODS[name].title.partition(":")[0]


def _print_scores(columns: Mapping[str, Sequence[Mapping[str, Scores]]]) -> None:
    """mAP and rank-1 of each way to search, beside each other, a row for each set and protocol."""
    rows = []
    for number, name in enumerate(SETS):
        per_way = [scores[number] for scores in columns.values()]
        for protocol in per_way[0]:
            shares = (share for scores in per_way for share in (scores[protocol].mAP, scores[protocol].cmc[0]))
            rows.append([name, protocol, *(f"{100 * share:.1f}" for share in shares)])
    heads = [head for way in columns for head in (f"{way} mAP", "R1")]
    printing.print_line("")
    printing.print_table("Scores in per cent", ("set", "protocol", *heads), rows, words=2)
    printing.print_line(
        "colours: no network, but told which pixel is which part; compared are the\n"
        "colours of the parts that both pictures show.\n"
    )


def _save(out: Path, results: Sequence[Result]) -> None:
    """The report over all `results`, and the embeddings of the last, for other commands."""
    write_report(out / REPORT, results, bars=printing.progress_bar)
    for name, side in zip(SIDES, (results[-1].query, results[-1].gallery), strict=True):
        save_encoded(out / f"{name}.safetensors", side)
    printing.print_line(
        f"Open {out / REPORT} in a browser: curves, answers, part maps. Now try\n"
        f"halfseen evaluate --query {quote(f'{out}/query.safetensors')} --gallery {quote(f'{out}/gallery.safetensors')}"
    )


def _colour_scores(splits: Splits) -> dict[str, Scores]:
    with printing.progress_bar("colours") as progress:
        return evaluate(*(describe(splits, part, progress) for part in (splits.query, splits.gallery)))


def describe(splits: Splits, samples: Sequence[Sample], progress: Progress | None = None) -> Encoded:
    """`samples` by the colours of their eight parts [N,8,6], in the light of each picture (mean and spread)."""
    rows = []
    for done, sample in enumerate(samples, 1):
        image = F.interpolate(read_sample(sample).image[None].float(), SIZE, mode="bilinear", antialias=True)
        labels = load_part_labels((splits.root / PARTS / sample.name).with_suffix(".png"))
        labels = F.interpolate(labels[None, None].float(), SIZE, mode="nearest")[0].long()
        rows.append(colours_of_parts(image, labels))
        if progress:
            progress(done, len(samples))
    embedding = Embedding(*(torch.cat([getattr(row, name) for row in rows]) for name in ("vectors", "visibility")))
    return Encoded(embedding, Facts.of(tuple(samples)))


def colours_of_parts(images: torch.Tensor, labels: torch.Tensor) -> Embedding:
    """[N,8,6] of `images` float [N,3,H,W] and part `labels` [N,H,W] (1..8; other numbers are no part)."""
    masks = torch.stack([labels == part for part in range(1, 9)], dim=1).float()
    light = images.mean((2, 3), keepdim=True)  # a camera's cast and the hour colour all of a picture
    colours = (images / light.clamp(min=1)).clamp(max=4)
    mean = pool(colours, masks, "mask")
    spread = (pool(colours.square(), masks, "mask") - mean.square()).clamp(min=0).sqrt()
    return Embedding(torch.cat([mean, spread], dim=2), (masks.mean((2, 3)) > FEWEST).float())
