#!/usr/bin/env bash
# The transformer methods on the world, mini tier: TSD's ladder (Table 3), OGFR's six steps with the random agent as control,
# and the other methods on the same trunk. Some six minutes a training on a quiet core, OGFR's twice that.
#
#   runs/transformers.sh FOLDER START [SEEDS]        then        python runs/table.py FOLDER
#
# FOLDER is that of runs/mini.sh, which may share it. START is a file for timm's vit_tiny_patch16_224, or `hub`, which
# fetches ImageNet's; without either, `python runs/vit_start.py` makes one. bfloat16 halves the time of a ViT.
source "$(dirname "$0")/world.sh"

half=(--precision bfloat16)
run vit vit "${half[@]}"
for row in 3-baseline 3-m1 3-m2 3-m3 3-m4 code; do
  run "tsd-$row" tsd --row "$row" "${half[@]}"
done
# The agent waits for one of the ten epochs, as it does for ten of the paper's 120, and the control erases as much as it.
agent=(--config.agent.warmup 30)
for row in 0-global 1-vit 2-occlusion 3-patterns 4-distillation 5-random-erasure 6-ogfr; do
  run "ogfr-$row" ogfr --row "$row" "${agent[@]}" "${half[@]}"
done
trunk=(--config.backbone vit_tiny_patch16_224 --recipe.epochs 10 --recipe.lr 5e-4 "${half[@]}")
run trunk-pcb pcb "${trunk[@]}"
run trunk-bpbreid bpbreid "${trunk[@]}" --config.parts 5 --config.pixel-weight 3
run trunk-pgfl_kd pgfl_kd "${trunk[@]}" --config.attention cosine --config.lengths unit --config.temperature 0.07
run trunk-pirt pirt "${trunk[@]}"
