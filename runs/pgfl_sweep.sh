#!/usr/bin/env bash
# PGFL-KD's Fig. 3 on the world, mini tier: mAP against the weight of the consistency loss (lambda_cl) and of the parts'
# (lambda_mcl), one moved while the other stays at 0.25. Three to four minutes a training on two quiet cores.
#
#   runs/pgfl_sweep.sh FOLDER WEIGHTS [SEEDS]
#
# FOLDER and WEIGHTS are those of runs/mini.sh, which may share them. The caption of the printed figure exchanges the two
# symbols; both of its curves have their peak at 0.25. Where its other points lie is not printed: these are ours.
set -euo pipefail
folder=${1:?a folder for the world and the trainings}
weights=${2:?a file with the weights to begin with, or hub}
seeds=${3:-0 1 2}

halfseen world render "$folder/world" --ids 200 --images 20 --cameras 6 --size 128x64 --seed 0

run() { # CL MCL: one training for each seed, and its scores
  for seed in $seeds; do
    out=$folder/pgfl-cl$1-mcl$2-$seed
    halfseen train pgfl_kd --tier mini --data world --root "$folder/world" --weights "$weights" --device cpu \
      --seed "$seed" --out "$out" --every 0 --config.lambda-cl "$1" --config.lambda-mcl "$2"
    halfseen evaluate --weights "$out/last.safetensors" --root "$folder/world" --json \
      --data world --data world:holistic --data world:re-occluded --data world:partial >"$out/scores.json"
  done
}

run 0.25 0.25
for other in 0 0.05 0.1 0.5 1; do
  run "$other" 0.25
  run 0.25 "$other"
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
