#!/usr/bin/env bash
# TSD's masks, fixed (`3-m3`) and learned (`3-m4`), where nobody knows the parts: labels are drawn from the joints that an
# estimator finds in the mini tier's world, and in the one of which half hides somebody. Needs
# `pip install 'halfseen[mediapipe]'`.
#
#   runs/estimated.sh FOLDER WEIGHTS [SEEDS]        then        python runs/table.py FOLDER
#
# FOLDER and WEIGHTS are those of runs/mini.sh, which may share them.
source "$(dirname "$0")/world.sh"

estimate() { # NAME: from here on trainings look at a copy of that world, with estimated joints alone
  local estimated=$folder/estimated/$1
  if [ ! -d "$estimated" ]; then
    rm -rf "$estimated.part"
    mkdir -p "$estimated.part"
    cp -r "$world/." "$estimated.part"
    rm -r "$estimated.part/parts" "$estimated.part/keypoints.npz" # before anybody may take them for estimates
    mv "$estimated.part" "$estimated"
  fi
  halfseen cues make world --estimator mediapipe --root "$estimated"
  world=$estimated
}

estimate world
for row in 3-m3 3-m4; do
  run "tsd-estimated-$row" tsd --row "$row"
done
render world-half 0.5
estimate world-half
for row in 3-m3 3-m4; do
  run "tsd-estimated-half-$row" tsd --row "$row"
done
