"""How good keypoints are: `python benchmarks/pose.py [--root WORLD] [--estimator NAME] [--weights FILE] [--every 10]`.

Of each estimator that runs here: PCK@0.2 of the torso's length (from the middle of the known shoulders to that of the
hips) on a world whose joints are known, the street that comes with halfseen or one in --root, for whole people and for
those behind things or other people; of the joints that are seen (score 1), behind the own body (0.5) and hidden but
within the picture (0), each. Who is not found has no joint right. Then how many real crops somebody is found in, if
HALFSEEN_DATA names them. Skeletons that break a rule of `ops.skeletons` are counted too.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from halfseen.data.cues import load_keypoints
from halfseen.data.fitting import stored_sizes
from halfseen.data.images import read_image
from halfseen.data.sets import read_set
from halfseen.encode import chosen_device
from halfseen.estimators import ESTIMATORS
from halfseen.estimators.people import Estimate, choose
from halfseen.ops.skeletons import SEEN, correct, impossible, outside
from halfseen.printing import print_table
from halfseen.types import InputError, Occlusion, Sample
from measure import introduce

SHARE = 0.2
AT_ONCE = 32
STATES = {"seen": 1.0, "behind oneself": 0.5, "hidden": 0.0}  # the scores of a world's joints
GROUPS = {"whole": Occlusion.HOLISTIC, "behind things": Occlusion.NPO, "behind people": Occlusion.NTP}
REAL = {
    "CUHK03-NP, queries": ("cuhk03-np", "query"),
    "CUHK03-NP, gallery": ("cuhk03-np", "gallery"),
    "Partial-REID, whole": ("partial-reid", "gallery"),
    "Partial-REID, occluded": ("partial-reid:occluded", "query"),
    "Partial-REID, cut to what is seen": ("partial-reid", "query"),
}


class Looked(NamedTuple):
    """The targets' keypoints [N,17,3] and milliseconds a picture."""

    keypoints: Tensor
    pace: float


def look(estimate: Estimate, samples: Sequence[Sample]) -> Looked:
    found, seconds = [], 0.0
    for start in range(0, len(samples), AT_ONCE):
        images = [read_image(sample.path) for sample in samples[start : start + AT_ONCE]]
        begin = time.perf_counter()
        people = estimate(images)
        seconds += time.perf_counter() - begin
        found += [choose(each, (im.shape[1], im.shape[2])).target for each, im in zip(people, images, strict=True)]
    return Looked(torch.stack(found), 1000 * seconds / len(samples))


def on_a_world(estimate: Estimate, root: Path | None, every: int) -> None:
    splits = read_set("world", root) if root else read_set("street")
    samples = (*splits.train, *splits.query, *splits.gallery)[::every]
    known = load_keypoints(splits.root / "keypoints.npz").lookup([sample.name for sample in samples])[0]
    found, pace = look(estimate, samples)
    right, within = correct(found, known, SHARE), ~outside(known, stored_sizes(samples))
    rows = []
    for name, occlusion in GROUPS.items():
        group = torch.tensor([sample.occlusion == occlusion for sample in samples])
        shares = [share(right[group], (known[group][..., 2] == score) & within[group]) for score in STATES.values()]
        rows.append([name, f"{int(group.sum()):,}", percent(found[group]), *shares, bad(found[group], samples, group)])
    title = f"{splits.name}, PCK@{SHARE:g} of the torso's length, {pace:.0f} ms a picture"
    print_table(title, ("people", "images", "found, %", *(f"{state}, %" for state in STATES), "impossible, %"), rows)


def on_real_crops(estimate: Estimate, folder: Path, every: int) -> None:
    rows = []
    for title, (name, split) in REAL.items():
        samples = read_set(name, folder).by_name[split][::every]
        found, pace = look(estimate, samples)
        seen = f"{100 * (found[..., 2] > SEEN).float().mean():.1f}"
        rows.append([title, f"{len(samples):,}", percent(found), seen, bad(found, samples), f"{pace:.0f}"])
    print_table("real crops", ("pictures", "images", "found, %", "joints seen, %", "impossible, %", "ms"), rows)


def share(right: Tensor, which: Tensor) -> str:
    return f"{100 * right[which].float().mean():.1f}" if which.any() else "–"


def percent(found: Tensor) -> str:
    return f"{100 * found[..., 2].any(1).float().mean():.1f}"


def bad(found: Tensor, samples: Sequence[Sample], which: Tensor | None = None) -> str:
    chosen = samples if which is None else [samples[row] for row in which.nonzero()[:, 0].tolist()]
    broken = torch.stack(list(impossible(found, stored_sizes(chosen).float()).values())).any(0)
    return f"{100 * broken.float().mean():.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a world; left out: the street")
    parser.add_argument("--estimator", choices=tuple(ESTIMATORS), help="only this one")
    parser.add_argument("--weights", type=Path, help="of that one")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--every", type=int, default=1, help="look at every N-th picture only")
    given = parser.parse_args()
    introduce("Keypoints", 0)
    real = os.environ.get("HALFSEEN_DATA")
    for each in (given.estimator,) if given.estimator else ESTIMATORS:
        print(f"\n### {each}")
        try:
            print(ESTIMATORS[each].about(given.weights))
            ready = ESTIMATORS[each].load(given.weights, chosen_device(given.device))
        except InputError as error:
            print(f"does not run here: {error}")
            continue
        on_a_world(ready, given.root, given.every)
        if real:
            on_real_crops(ready, Path(real), given.every)
