#!/usr/bin/env bash
# The methods that poses guide, on the world: PGFL-KD's ladder (Table 6) and Pirt's (Table 3), 12 epochs instead of the mini
# tier's 5, since both begin with more to learn than a backbone. Some eight minutes a training on two quiet cores.
#
#   runs/posed.sh FOLDER WEIGHTS [SEEDS]        then        python runs/table.py FOLDER
#
# FOLDER and WEIGHTS are those of runs/mini.sh, which may share them. PGFL-KD attends by the cosine, as the text around its
# eq. 2 says, and teaches directions: as printed, lengths run away at this tier's rate (docs/LOG.md).
source "$(dirname "$0")/world.sh"

long=(--recipe.epochs 12)
readings=(--config.attention cosine --config.lengths unit --config.temperature 0.07)
for row in baseline aligned interaction contrastive enhanced consistency; do
  run "pgfl_kd-$row" pgfl_kd --row "6-$row" "${readings[@]}" "${long[@]}"
done
narrow=(--config.reduction 256) # of the 1,280 channels, which the encoder would square
for row in baseline pose pose-intra; do
  run "pirt-$row" pirt --row "3-$row" "${narrow[@]}" "${long[@]}"
done
run pirt-pose-intra-inter pirt --row 3-pose-intra-inter "${narrow[@]}" "${long[@]}" --recipe.speeds inter 0.1
