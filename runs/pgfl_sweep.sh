#!/usr/bin/env bash
# PGFL-KD's Fig. 3 on the world, mini tier: mAP against the weight of the consistency loss (lambda_cl) and of the parts'
# (lambda_mcl), one moved while the other stays at 0.25. Some eight minutes a training on two quiet cores.
#
#   runs/pgfl_sweep.sh FOLDER WEIGHTS [SEEDS]
#
# FOLDER and WEIGHTS are those of runs/mini.sh, which may share them. The caption of the printed figure exchanges the two
# symbols; both of its curves have their peak at 0.25. Where its other points lie is not printed: these are ours.
source "$(dirname "$0")/world.sh"

sweep() { # CL MCL
  run "pgfl-cl$1-mcl$2" pgfl_kd --config.lambda-cl "$1" --config.lambda-mcl "$2" --config.attention cosine \
    --config.lengths unit --config.temperature 0.07 --recipe.epochs 12
}

sweep 0.25 0.25
for other in 0 0.05 0.1 0.5 1; do
  sweep "$other" 0.25
  sweep 0.25 "$other"
done

python - "$folder" <<'END'
"""The figure as a table: mean mAP in per cent over the seeds, and its spread."""

import json
import re
import sys
from pathlib import Path
from statistics import fmean

found: dict[tuple[float, float], list[dict]] = {}
for path in Path(sys.argv[1]).glob("pgfl-cl*-mcl*-*/scores.json"):
    cl, mcl = map(float, re.fullmatch(r"pgfl-cl(.+)-mcl(.+)-\d+", path.parent.name).groups())
    found.setdefault((cl, mcl), []).append(json.loads(path.read_text())["sets"])
sets = next(iter(found.values()))[0]
columns = [(name, protocol) for name in sets for protocol in sets[name]]
print("lambda_cl  lambda_mcl  seeds", *(f"{name} {protocol}" for name, protocol in columns), sep="  ")
for (cl, mcl), runs in sorted(found.items()):
    values = [[100 * run[name][protocol]["mAP"] for run in runs] for name, protocol in columns]
    print(f"{cl:9g}  {mcl:10g}  {len(runs):5}", *(f"{fmean(v):.1f} ({min(v):.1f}-{max(v):.1f})" for v in values), sep="  ")
END
