"""From a training to the model that comes with halfseen; `runs/default_model.sh` calls this.

    python runs/default_model.py store LAST.safetensors DEFAULT.safetensors
    python runs/default_model.py tell DEFAULT.safetensors --trained SCORES.json ... --stored SCORES.json ...

`store` writes matrices and kernels in float16: half the bytes, and computed with in float32 all the same, as loading
copies them into a float32 network. Norms stay float32, whose variances may leave the range of float16. `tell` writes
the card beside the model, default.md, from what `halfseen evaluate --json` printed of the weights before and after.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from halfseen.data.files import whole
from halfseen.gallery.indexing.model import open_model
from halfseen.types import InputError
from halfseen.weights import load_weights, save_weights

Sets: TypeAlias = dict[str, dict[str, dict[str, Any]]]  # scores by set and protocol
LARGEST = 20 * 10**6  # bytes that the package has room for
WHAT = {
    "world": "hidden queries, all answers",
    "world:holistic": "whole queries, whole answers",
    "world:re-occluded": "whole queries, hidden answers",
    "world:partial": "queries cut off below, whole answers",
}


def store(trained: Path, place: Path) -> None:
    """The weights `trained` in half the bytes."""
    loaded = load_weights(trained)
    halve(loaded.network)
    save_weights(place, loaded.method, loaded.network, loaded.card)
    if (size := place.stat().st_size) > LARGEST:
        raise InputError(f"{place} has {size:,} bytes, and the package room for {LARGEST:,}; train a smaller network")


def halve(network: nn.Module) -> None:
    """All that has more than one dimension becomes float16."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.to(torch.float16)
            if not bool(parameter.isfinite().all()):
                raise InputError(f"{name} has numbers that float16 has no room for; keep it in float32")


def tell(model: Path, trained: Sequence[Path], stored: Sequence[Path]) -> None:
    """Write the card of `model` beside it."""
    with whole(model.with_suffix(".md")) as beside:
        beside.write_text("\n".join(card(model, read_scores(trained), read_scores(stored))) + "\n")


def read_scores(files: Sequence[Path]) -> Sets:
    sets: Sets = {}
    for path in files:
        sets |= json.loads(path.read_text())["sets"]
    return sets


def card(model: Path, before: Sets, after: Sets) -> Iterator[str]:
    """The lines of default.md."""
    opened, data = open_model(model, "cpu"), model.read_bytes()
    facts, about = opened.facts, opened.loaded.card
    config, recipe = about.config, about.recipe
    count = sum(parameter.numel() for parameter in opened.loaded.network.parameters())
    yield "# The model that comes with halfseen"
    yield ""
    yield (
        "`halfseen index`, `search`, `serve` and `gallery calibrate` take it unless `--model` names another; `demo` "
        "always does."
    )
    yield "`runs/default_model.sh` made it, and this page."
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| file | `{model.name}`, {len(data):,} bytes: matrices and kernels in float16, norms in float32 |"
    yield f"| SHA-256 | `{sha256(data).hexdigest()}` |"
    yield f"| network | {about.method} on {config['backbone']}, {count:,} parameters, computed in float32 |"
    yield f"| pictures | {recipe['height']}×{recipe['width']} |"
    yield f"| parts | {', '.join(facts.parts)}: {facts.dim} numbers each |"
    yield f"| began with | `{about.started_from}`: ImageNet, Apache-2.0 |"
    yield (
        f"| learned from | {about.data['images']:,} rendered pictures of {about.data['people']:,} people "
        f"({about.data['name']}, digest {about.data['digest']}), {about.epoch} epochs, seed {about.seed} |"
    )
    yield ""
    yield "Scores in per cent on people that it never saw, by the distance of the search (`parts-cosine`):"
    yield ""
    yield from score_table(after)
    yield ""
    yield f"Before the matrices were halved no score was more than {largest_change(before, after):.2f} points away."
    yield ""
    yield "Nobody real taught it to tell people apart, and real pictures are another matter than rendered ones: compare"
    yield "the sets of real people above, if there are any, with the worlds. Measure on your own cameras before you"
    yield "rely on it, and where you have labelled pictures, train on them."


def score_table(sets: Sets) -> Iterator[str]:
    yield "| set | protocol | mAP | R1 | R5 | queries |"
    yield "|---|---|---|---|---|---|"
    for name, protocols in sets.items():
        told = f"{name}: {WHAT[name]}" if name in WHAT else name
        for protocol, score in protocols.items():
            shares = (score["mAP"], score["rank"]["1"], score["rank"]["5"])
            cells = " | ".join(f"{100 * share:.1f}" for share in shares)
            yield f"| {told} | {protocol} | {cells} | {score['queries']:,} |"


def largest_change(before: Sets, after: Sets) -> float:
    """Of mAP and rank-1, in points."""
    changes = [0.0]
    for name, protocols in after.items():
        for protocol, new in protocols.items():
            old = before[name][protocol]
            changes += [abs(old["mAP"] - new["mAP"]), abs(old["rank"]["1"] - new["rank"]["1"])]
    return 100 * max(changes)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    storing, telling = verbs.add_parser("store"), verbs.add_parser("tell")
    storing.add_argument("trained", type=Path)
    storing.add_argument("place", type=Path)
    telling.add_argument("model", type=Path)
    for option in ("--trained", "--stored"):
        telling.add_argument(option, type=Path, nargs="+", required=True)
    asked = parser.parse_args(words)
    if asked.verb == "store":
        store(asked.trained, asked.place)
    else:
        tell(asked.model, asked.trained, asked.stored)


if __name__ == "__main__":
    main()
