#!/usr/bin/env bash
# TSD's masks, fixed (`3-m3`) and learned (`3-m4`), where nobody knows the parts: labels are drawn from the joints that an
# estimator finds in the mini tier's world, not rendered with it. Needs `pip install 'halfseen[mediapipe]'`.
#
#   runs/estimated.sh FOLDER WEIGHTS [SEEDS]        then        python runs/table.py FOLDER
#
# FOLDER and WEIGHTS are those of runs/mini.sh, which may share them.
source "$(dirname "$0")/world.sh"

estimated=$folder/estimated/world
if [ ! -f "$estimated/keypoints.npz" ]; then
  mkdir -p "$estimated"
  cp -r "$world/." "$estimated"
  rm -r "$estimated/parts" "$estimated/keypoints.npz"
  halfseen cues make world --estimator mediapipe --root "$estimated"
fi
world=$estimated
for row in 3-m3 3-m4; do
  run "tsd-estimated-$row" tsd --row "$row"
done
