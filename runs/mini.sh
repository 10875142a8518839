#!/usr/bin/env bash
# The mini tier on the world: the numbers of docs/results.md. Three to four minutes a training on two quiet cores.
#
#   runs/mini.sh FOLDER WEIGHTS [SEEDS]
#
# FOLDER holds the world and the trainings; what is there already is not made again. WEIGHTS is timm's
# tf_efficientnet_lite0 as trained on ImageNet (a safetensors file), or `hub`, which fetches it.
set -euo pipefail
folder=${1:?a folder for the world and the trainings}
weights=${2:?a file with the weights to begin with, or hub}
seeds=${3:-0 1 2}

halfseen world render "$folder/world" --ids 200 --images 20 --cameras 6 --size 128x64 --seed 0

run() { # NAME METHOD OPTIONS...: one training for each seed, and its scores
  name=$1 method=$2
  shift 2
  for seed in $seeds; do
    out=$folder/$name-$seed
    halfseen train "$method" --tier mini --data world --root "$folder/world" --weights "$weights" --device cpu \
      --seed "$seed" --out "$out" --every 0 "$@"
    halfseen evaluate --weights "$out/last.safetensors" --root "$folder/world" --json \
      --data world --data world:holistic --data world:re-occluded --data world:partial >"$out/scores.json"
  done
}

run bot bot
run pcb pcb
run bpbreid bpbreid --config.parts 5
run bpbreid-k8 bpbreid --config.parts 8
run bpbreid-identity-on-parts bpbreid --config.parts 5 --config.gilt.parts 1 1
run bpbreid-per-part-triplets bpbreid --config.parts 5 --config.triplet per-part
