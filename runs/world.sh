# To be sourced by the scripts beside it, which are called as SCRIPT FOLDER WEIGHTS [SEEDS].
#
# FOLDER holds the world of the mini tier and the trainings; what is there already is not made again. WEIGHTS is timm's
# tf_efficientnet_lite0 as trained on ImageNet (a safetensors file), or `hub`, which fetches it.
set -euo pipefail
folder=${1:?a folder for the world and the trainings}
weights=${2:?a file with the weights to begin with, or hub}
seeds=${3:-0 1 2}
sets=(--data world --data world:holistic --data world:re-occluded --data world:partial)

render() { # NAME SHARE: the world where trainings look, of whose pictures to learn from that share hides somebody
  world=$folder/$1
  halfseen world render "$world" --ids 200 --images 20 --cameras 6 --size 192x96 --seed 0 --occluded "$2"
}

render world 0.1 # render world-half 0.5: another one, whose pictures to search are the same

run() { # NAME METHOD OPTIONS...: one training for each seed, its scores, and those with every part taken for seen
  local name=$1 method=$2 seed out
  shift 2
  for seed in $seeds; do
    out=$folder/$name-$seed
    [ -f "$out/scores-all-seen.json" ] && continue
    halfseen train "$method" --tier mini --data world --root "$world" --weights "$weights" --device cpu \
      --seed "$seed" --out "$out" --every 0 "$@"
    halfseen evaluate --weights "$out/last.safetensors" --root "$world" --json "${sets[@]}" >"$out/scores.json"
    halfseen evaluate --weights "$out/last.safetensors" --root "$world" --json "${sets[@]}" --all-seen \
      >"$out/scores-all-seen.json"
  done
}
