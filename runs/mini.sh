#!/usr/bin/env bash
# The baselines and BPBreID on the world, mini tier, and BPBreID's claims: the tables of docs/results.md.
# Some three minutes a training on two quiet cores.
#
#   runs/mini.sh FOLDER WEIGHTS [SEEDS]        then        python runs/table.py FOLDER
source "$(dirname "$0")/world.sh"

bpbreid=(bpbreid --config.parts 5 --config.pixel-weight 3) # TSD's five parts; a short training wants more weight on maps
run bot bot
run pcb pcb
run bpbreid "${bpbreid[@]}"
run bpbreid-identity-on-parts "${bpbreid[@]}" --config.gilt.parts 1 1
