#!/usr/bin/env bash
# All methods on real pictures: trained on CUHK03-NP (detected boxes), tested on it, on its partial and its occluded variant,
# and without further training on Partial-REID. Some ten minutes a training on two quiet cores.
#
#   runs/real.sh FOLDER WEIGHTS [SEEDS]        then        python runs/table.py FOLDER --columns \
#     cuhk03-np/market cuhk03-np+partial/market cuhk03-np+occluded/market partial-reid:occluded/all partial-reid/all
#
# HALFSEEN_DATA names the folder that holds both sets and the keypoints of their pictures (keypoints.npz in each). FOLDER is
# for the trainings. WEIGHTS is timm's tf_efficientnet_lite0 as trained on ImageNet (a safetensors file), or `hub`.
set -euo pipefail
folder=${1:?a folder for the trainings}
weights=${2:?a file with the weights to begin with, or hub}
seeds=${3:-0}
: "${HALFSEEN_DATA:?the folder that holds cuhk03-np and partial-reid}"
sets=(cuhk03-np cuhk03-np+partial cuhk03-np+occluded partial-reid:occluded partial-reid)

run() { # NAME METHOD OPTIONS...: one training for each seed, its scores, and those with every part taken for seen
  local name=$1 method=$2 seed out
  shift 2
  for seed in $seeds; do
    out=$folder/$name-$seed
    [ -f "$out/scores-all-seen.json" ] && continue
    halfseen train "$method" --tier mini --recipe.height 128 --recipe.width 64 --recipe.epochs 6 --data cuhk03-np \
      --weights "$weights" --device cpu --seed "$seed" --out "$out" --every 0 "$@"
    halfseen evaluate --weights "$out/last.safetensors" --json "${sets[@]/#/--data=}" >"$out/scores.json"
    halfseen evaluate --weights "$out/last.safetensors" --json "${sets[@]/#/--data=}" --all-seen \
      >"$out/scores-all-seen.json"
  done
}

run bot bot
run pcb pcb --recipe.optimiser sgd --recipe.lr 0.1 --recipe.speeds backbone 0.1 # with Adam it learns nothing here
run bpbreid bpbreid --config.parts 5 --config.pixel-weight 3
run pgfl_kd pgfl_kd --config.attention cosine --config.lengths unit --config.temperature 0.07
run pirt pirt --config.reduction 256 --recipe.speeds inter 0.1

run vit vit
run tsd tsd
run ogfr ogfr --config.agent.warmup 115 # our reconstruction; the agent waits for the first of six epochs
