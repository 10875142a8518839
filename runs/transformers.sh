#!/usr/bin/env bash
# The transformer methods on the world, mini tier: TSD's ladder (Table 3), the six steps of OGFR as we reconstruct it, with the
# random agent as control, and the other methods on the same trunk. Some ten minutes a training on a core, OGFR's twice that.
#
#   runs/transformers.sh FOLDER WEIGHTS [SEEDS]        then        python runs/table.py FOLDER
#
# FOLDER and WEIGHTS are those of runs/mini.sh, which may share them.
source "$(dirname "$0")/world.sh"

for row in 3-baseline 3-m1 3-m2 3-m3 3-m4 code; do
  run "tsd-$row" tsd --row "$row"
done
run tsd-five tsd --config.parts 5
run tsd-five-m3 tsd --row 3-m3 --config.parts 5
for row in m3 m4; do
  run "tsd-person-$row" tsd --row "3-$row" --config.seen.person 0.3 # as in the released code
done
run tsd-bernoulli tsd --config.masks bernoulli # as there, too
run tsd-alpha tsd --config.seen.alpha 0.5 # parts that are seen weigh as much as hidden ones
fine=(--recipe.height 288 --recipe.width 144) # 18x9 patches instead of 12x6, twice as long
for row in baseline m3 m4; do
  run "tsd-fine-$row" tsd --row "3-$row" "${fine[@]}"
done
for row in m3 m4; do
  run "tsd-long-$row" tsd --row "3-$row" --recipe.epochs 24 # three times as long
done
run tsd-fine-alpha tsd --config.seen.alpha 0.5 "${fine[@]}"
for row in 0-global 1-vit 2-occlusion 3-patterns 4-distillation 6-ogfr as-planned judged-global student-reads-both trunks-separate; do
  run "ogfr-$row" ogfr --row "$row"
done
erased() { # TRAINING: the share of patches that its agent erased at last
  grep '"steps"' "$1/log.jsonl" | tail -n 1 | python -c 'import json, sys; print(json.load(sys.stdin)["erased"])'
}
chance() { # PREFIX OPTIONS: the control draws as much as the agent of the same seed, and teaches as much
  local every=$seeds prefix=$1
  shift
  for seeds in $every; do
    run "$prefix-5-random-erasure" ogfr --row 5-random-erasure "$@" \
      --config.agent.drawn "$(erased "$folder/$prefix-6-ogfr-$seeds")"
  done
  seeds=$every
}
chance ogfr
much=(--config.agent.rate 0.5) # of the patches of training pictures two thirds show nobody
run ogfr-much-6-ogfr ogfr --row 6-ogfr "${much[@]}"
chance ogfr-much "${much[@]}"
heavy=("${much[@]}" --config.weights.kl 0.5) # five times as much heed of the teacher
for term in mse cosine cosine-parts; do
  heavy+=("--config.weights.$term" 5)
done
run ogfr-heavy-4-distillation ogfr --row 4-distillation "${heavy[@]}"
run ogfr-heavy-6-ogfr ogfr --row 6-ogfr "${heavy[@]}"
chance ogfr-heavy "${heavy[@]}"
kept=("${much[@]}" --config.agent.pools kept --config.agent.gap unit --config.agent.reward 1 1 1)
run ogfr-kept-6-ogfr ogfr --row 6-ogfr "${kept[@]}" # what was erased is pooled by nobody, and compared as at last
chance ogfr-kept "${kept[@]}"
necks=(--config.handed normed) # what the student takes over is compared behind the necks
run ogfr-necks-4-distillation ogfr --row 4-distillation "${necks[@]}"
run ogfr-necks-much-6-ogfr ogfr --row 6-ogfr "${necks[@]}" "${much[@]}"
chance ogfr-necks-much "${necks[@]}" "${much[@]}"
render world-half 0.5
for row in 4-distillation 6-ogfr; do
  run "ogfr-half-$row" ogfr --row "$row"
done
chance ogfr-half
run ogfr-half-kept-6-ogfr ogfr --row 6-ogfr "${kept[@]}"
chance ogfr-half-kept "${kept[@]}"
run ogfr-half-necks-4-distillation ogfr --row 4-distillation "${necks[@]}"
run ogfr-half-necks-known ogfr --row known-erasure --config.agent.gap unit "${necks[@]}" # by the best of agents
run ogfr-half-necks-kept-6-ogfr ogfr --row 6-ogfr "${necks[@]}" "${kept[@]}"
chance ogfr-half-necks-kept "${necks[@]}" "${kept[@]}"
render world 0.1
trunk=(--config.backbone vit_tiny_lite0_s16_224 --recipe.epochs 8 --recipe.speeds backbone.network.blocks 0.5)
run trunk-bot bot "${trunk[@]}"
run trunk-pcb pcb "${trunk[@]}"
run trunk-bpbreid bpbreid "${trunk[@]}" --config.parts 5 --config.pixel-weight 3
run trunk-pgfl_kd pgfl_kd "${trunk[@]}" --config.attention cosine --config.lengths unit --config.temperature 0.07
run trunk-pirt pirt "${trunk[@]}" --recipe.speeds backbone.network.blocks 0.5 inter 0.1
