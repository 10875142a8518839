"""The page `/docs`: what can be asked over HTTP, written from the application's own OpenAPI description."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from halfseen.reporting.markup import tag, words

Plain = Mapping[str, Any]


def manual(described: Plain) -> str:
    """HTML about an OpenAPI description."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", words(f"{described['info']['title']}: HTTP")),
        tag("link", rel="icon", href="/icon.svg"),
        tag("link", rel="stylesheet", href="/page.css"),
    )
    body = tag(
        "body",
        tag("header", tag("h1", words("Asking over HTTP")), tag("p", tag("a", "The page", href="/"), class_="lead")),
        tag("main", tag("p", words(described["info"]["description"]), class_="lead"), *_operations(described)),
        class_="manual",
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _operations(described: Plain) -> Iterator[str]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield tag(
                "section",
                tag("h2", tag("b", words(method.upper())), " ", tag("code", words(path))),
                tag("p", words(operation.get("description", "")), class_="lead"),
                _fields("Takes", list(_taken(operation, described))),
                _answers(operation, described),
            )


def _taken(operation: Plain, described: Plain) -> Iterator[tuple[str, str, str]]:
    """(name, kind, what it is) of each parameter and each field of the form."""
    for parameter in operation.get("parameters", ()):
        yield parameter["name"], _kind(parameter["schema"], described), parameter.get("description", "")
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for name, schema in _resolved(content["schema"], described).get("properties", {}).items():
            yield name, _kind(schema, described), schema.get("description", "")


def _answers(operation: Plain, described: Plain) -> str:
    """What comes back when all is well, and the numbers of all that may be wrong."""
    rows, wrong = [], []
    for status, answer in operation["responses"].items():
        if status >= "400":
            wrong.append(f"{status} {answer['description'].rstrip('.').lower()}")
            continue
        content = answer.get("content", {})
        kinds = [_kind(told["schema"], described) if told.get("schema") else name for name, told in content.items()]
        rows.append((status, ", ".join(kinds), ""))
    return _fields("Answers", rows) + tag("p", words("; ".join(wrong)), class_="small")


def _fields(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = (
        tag("tr", tag("th", tag("code", words(name)), scope="row"), tag("td", words(kind)), tag("td", words(told)))
        for name, kind, told in rows
    )
    return tag("div", tag("table", tag("caption", words(title)), tag("tbody", *lines)), class_="scroll")


def _kind(schema: Plain, described: Plain) -> str:
    """What a schema says, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        inner = _resolved(schema, described).get("properties", {})
        return f"{name}: {', '.join(inner)}" if inner else name
    if "anyOf" in schema:
        return " or ".join(_kind(one, described) for one in schema["anyOf"])
    kind = schema.get("format") or schema.get("contentMediaType") or schema.get("type", "anything")
    kind = f"list of {_kind(schema['items'], described)}" if kind == "array" else str(kind)
    if schema.get("default") not in (None, []):
        kind += f", else {json.dumps(schema['default'])}"
    return kind


def _resolved(schema: Plain, described: Plain) -> Plain:
    if "$ref" not in schema:
        return schema
    found: Plain = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found
