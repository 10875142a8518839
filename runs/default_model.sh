#!/usr/bin/env bash
# The model that comes with halfseen, src/halfseen/models/default.safetensors, and its card, default.md: BPBreID, taught by
# 400 rendered people who are often hidden, scored on a hundred others, stored in half precision. About an hour on two
# quiet cores. What is there already is not made again. Seed 2, as people of the street's seed, 1, share its wardrobe.
#
#   runs/default_model.sh FOLDER WEIGHTS
#
# FOLDER is for both worlds, the training and the scores. WEIGHTS is timm's tf_efficientnet_lite0 as trained on ImageNet (a
# safetensors file), or `hub`, which fetches it. Where HALFSEEN_DATA names a folder with cuhk03-np and partial-reid, real
# people are scored too.
set -euo pipefail
folder=${1:?a folder for the worlds and the training}
weights=${2:?a file with the weights to begin with, or hub}
here=$(dirname "$0")
model=$here/../src/halfseen/models/default.safetensors
others=(--root "$folder/others" --data world --data world:holistic --data world:re-occluded --data world:partial)
real=(--data partial-reid:occluded --data partial-reid --data cuhk03-np)

halfseen world render "$folder/world" --ids 800 --images 16 --cameras 6 --size 192x96 --seed 2 --sharing 0.02 --occluded 0.3
halfseen world render "$folder/others" --ids 200 --images 20 --cameras 6 --size 192x96 --seed 0 --occluded 0.1
halfseen train bpbreid --tier mini --data world --root "$folder/world" --weights "$weights" --device cpu \
  --config.parts 5 --config.reduction 256 --config.pixel-weight 3 --recipe.epochs 8 --seed 0 --every 0 \
  --out "$folder/default"
mkdir -p "$(dirname "$model")"
python "$here/default_model.py" store "$folder/default/last.safetensors" "$model"

scores() { # WEIGHTS NAME: what the weights reach, in $folder/NAME-*.json
  halfseen evaluate --weights "$1" --distance parts-cosine --device cpu --json "${others[@]}" >"$folder/$2-world.json"
  if [ -n "${HALFSEEN_DATA:-}" ]; then
    halfseen evaluate --weights "$1" --distance parts-cosine --device cpu --json "${real[@]}" >"$folder/$2-real.json"
  fi
}
scores "$folder/default/last.safetensors" trained
scores "$model" stored
python "$here/default_model.py" tell "$model" --trained "$folder"/trained-*.json --stored "$folder"/stored-*.json
