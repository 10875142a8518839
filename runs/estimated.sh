#!/usr/bin/env bash
# TSD's masks, fixed (`3-m3`) and learned (`3-m4`), where nobody knows the parts: labels are drawn from the joints that an
# estimator finds in the mini tier's world, not rendered with it. Needs `pip install 'halfseen[mediapipe]'`.
#
#   runs/estimated.sh FOLDER WEIGHTS [SEEDS]        then        python runs/table.py FOLDER
#
# FOLDER and WEIGHTS are those of runs/mini.sh, which may share them.
source "$(dirname "$0")/world.sh"

estimated=$folder/estimated/world
if [ ! -d "$estimated" ]; then
  rm -rf "$estimated.part"
  mkdir -p "$estimated.part"
  cp -r "$world/." "$estimated.part"
  rm -r "$estimated.part/parts" "$estimated.part/keypoints.npz" # before anybody may take them for estimates
  mv "$estimated.part" "$estimated"
fi
halfseen cues make world --estimator mediapipe --root "$estimated"
world=$estimated
for row in 3-m3 3-m4; do
  run "tsd-estimated-$row" tsd --row "$row"
done
