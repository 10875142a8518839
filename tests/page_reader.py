"""Reading a page as a browser would, to see what it is made of."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"img", "meta", "br", "circle", "path"}


class Reader(HTMLParser):
    """What a page is made of: elements with their attributes, and whether each that opens is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.stack: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def rows_of(text: str, caption: str) -> dict[str, list[str]]:
    """The table under `caption`: cells by the name of their row."""
    (inner,) = re.findall(rf"<table><caption><span>{caption}.*?</table>", text, re.DOTALL)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', inner)
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", cells) for name, cells in rows}
