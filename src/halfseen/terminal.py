"""Pictures in terminals that can show them: those of kitty and of iTerm2. Which one follows from the environment."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["kitty", "iterm"]

PIECE = 4096  # bytes that kitty takes at once


def spoken(environment: Mapping[str, str]) -> Language | None:
    """What the terminal of `environment` understands; None of what is not known, and of tmux and screen, which pass
    nothing on."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or term.startswith(("screen", "tmux", "dumb")):
        return None
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or "ghostty" in term or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return None


def inline(png: bytes, language: Language) -> str:
    """What a terminal that speaks `language` is told to show `png`."""
    text = base64.standard_b64encode(png).decode("ascii")
    if language == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(png)};preserveAspectRatio=1:{text}\a\n"
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    heads = ["a=T,f=100,m=", *["m="] * (len(pieces) - 1)]
    last = len(pieces) - 1
    told = (
        f"\x1b_G{head}{int(n < last)};{piece}\x1b\\" for n, (head, piece) in enumerate(zip(heads, pieces, strict=True))
    )
    return "".join(told) + "\n"
