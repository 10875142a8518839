"""How far plain colours find people of the world: `python runs/colours.py`; the first table of docs/results.md.

The check and its bounds are a test's (tests/world/test_statistics.py); here it is repeated for eight seeds.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/world"))
from test_statistics import SETTING, holistic_and_occluded, rendered

found = [holistic_and_occluded(rendered(replace(SETTING, seed=seed))) for seed in range(8)]
for name, scores in zip(("holistic", "occluded"), zip(*found, strict=True), strict=True):
    first, mean = (
        [100 * value for value in column] for column in zip(*((s.cmc[0], s.mAP) for s in scores), strict=True)
    )
    print(  # noqa: T201
        f"{name}: rank-1 {fmean(first):.1f} % ({min(first):.0f}-{max(first):.0f}), "
        f"mAP {fmean(mean):.1f} % ({min(mean):.1f}-{max(mean):.1f})"
    )
