"""HTML as text: whatever comes from outside goes through `words`, all else is made here."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

EMPTY = {"img", "link", "meta"}  # elements that hold nothing
TALLEST = 192  # pixels of an embedded picture: sharp enough on dense screens, and a page stays small


def words(text: object) -> str:
    """`text` as it must stand in HTML."""
    return escape(str(text))


def tag(name: str, /, *content: str, **attributes: object) -> str:
    """<name attributes>content</name>. `class_` is class, `aria_label` is aria-label; True stands alone, None is left
    out."""
    told = []
    for key, value in attributes.items():
        spelt = key.rstrip("_").replace("_", "-")
        if value is True:
            told.append(f" {spelt}")
        elif value is not None and value is not False:
            told.append(f' {spelt}="{words(value)}"')
    begin = f"<{name}{''.join(told)}>"
    return begin if name in EMPTY else f"{begin}{''.join(content)}</{name}>"


class Section(NamedTuple):
    """A part of the page: its address, its title, a sentence, and what it shows (HTML; empty: it is left out)."""

    key: str
    title: str
    lead: str
    content: str


def sections(parts: Iterable[Section]) -> str:
    """One below the other."""
    return "".join(
        tag(
            "section",
            tag("h2", words(part.title), id=f"{part.key}-title"),
            tag("p", words(part.lead), class_="lead"),
            part.content,
            id=part.key,
            aria_labelledby=f"{part.key}-title",
        )
        for part in parts
        if part.content
    )


def contents(parts: Iterable[Section]) -> str:
    """Links to them."""
    links = (tag("li", tag("a", words(part.title), href=f"#{part.key}")) for part in parts if part.content)
    return tag("nav", tag("ul", *links), aria_label="Sections")


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, best: Sequence[int] = ()) -> str:
    """Plain cells, the first of each row its name. In the columns numbered in `best` the greatest number stands out,
    where there is a smaller one."""
    rows = [list(row) for row in rows]
    numbers = {column: {float(row[column]) for row in rows} for column in best}
    winners = {column: max(found) for column, found in numbers.items() if len(found) > 1}
    head = tag("tr", *(tag("th", words(column), scope="col") for column in columns))
    body = []
    for row in rows:
        cells = [
            tag("td", words(cell), class_="best" if i in winners and float(cell) == winners[i] else None)
            for i, cell in enumerate(row[1:], 1)
        ]
        body.append(tag("tr", tag("th", words(row[0]), scope="row"), *cells))
    inner = tag("table", tag("caption", tag("span", words(caption))), tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def figure(drawing: str, caption: str, **attributes: object) -> str:
    """A drawing with a line below it."""
    return tag("figure", drawing, tag("figcaption", words(caption)), **attributes)


def picture(image: Tensor, told: str, quality: int = 85) -> str:
    """`image` uint8 [3,H,W] within the page, at most TALLEST high; `told` is what it shows ("": said elsewhere)."""
    height, width = image.shape[1:]
    if height > TALLEST:
        size = (TALLEST, max(1, round(width * TALLEST / height)))
        image = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
    kept = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()).save(kept, "JPEG", quality=quality)
    source = f"data:image/jpeg;base64,{b64encode(kept.getvalue()).decode()}"
    return tag("img", src=source, alt=told, width=image.shape[2], height=image.shape[1])
