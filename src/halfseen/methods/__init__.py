"""One paper, one file; and the methods by name."""

from __future__ import annotations

from halfseen.methods import bot, bpbreid, ogfr, pcb, pgfl_kd, pirt, tsd, vit
from halfseen.recipe import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        bot.METHOD,
        pcb.METHOD,
        vit.METHOD,
        bpbreid.METHOD,
        pgfl_kd.METHOD,
        pirt.METHOD,
        tsd.METHOD,
        ogfr.METHOD,
    )
}
