"""The house rules that no linter knows: sizes, names, and pages that say what the code is."""

from __future__ import annotations

import ast
import dataclasses
import re
import statistics
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from halfseen.cli import GROUPS, VERBS

ROOT = Path(__file__).parents[1]
PACKAGES = {"PIL": "pillow", "lance": "pylance", "cv2": "opencv-contrib-python-headless"}
POSITIONAL = "Positional["
SOURCES = sorted((ROOT / "src/halfseen").rglob("*.py"))
FORBIDDEN = re.compile(
    r"engine|manager|processor|helper|utils?\b|misc|common|factory|wrapper|feat\b|distmat", re.IGNORECASE
)


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.name}:{node.name}", node


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1 if isinstance(node, ast.stmt) and node.end_lineno else 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    cap = 350 if path.parent.name == "methods" else 300
    assert len(path.read_text().splitlines()) <= cap


def test_functions_are_short() -> None:
    lengths = {name: length(node) for name, node in functions()}
    assert statistics.median(lengths.values()) <= 12
    assert {name: n for name, n in lengths.items() if n > 50} == {}


def test_functions_take_few_arguments() -> None:
    many = {name: len(f.args.args) + len(f.args.posonlyargs) for name, f in functions()}
    assert {name: n for name, n in many.items() if n > 6} == {}


def test_names_say_what_things_are() -> None:
    names = [name for name, _ in functions()] + [path.stem for path in SOURCES]
    assert [name for name in names if FORBIDDEN.search(name)] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [path.name for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_the_pages_draw_the_real_tree() -> None:
    """README draws all but the world, whose page draws the rest; `sets` are many of a kind."""
    drawn: set[str] = set()
    for page, root in (("README.md", "src/halfseen/"), ("docs/world.md", "src/halfseen/world/")):
        tree = (ROOT / page).read_text().split(f"```text\n{root}\n")[1].split("```")[0]
        drawn |= set(re.findall(r"\b[a-z_0-9]+\.py\b", tree))
    assert drawn == {path.name for path in SOURCES if path.name != "__init__.py" and path.parent.name != "sets"}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared, optional = map(
        package_names, (project["dependencies"], chain(*project["optional-dependencies"].values()))
    )
    imported = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    foreign = imported - set(sys.stdlib_module_names) - {"halfseen"}
    found = {PACKAGES.get(name, name.lower().replace("_", "-")) for name in foreign}
    assert found - optional == declared


def package_names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[<>=!\[; ]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("command", [*VERBS, *(f"{group} {verb}" for group in GROUPS for verb in GROUPS[group])])
def test_every_verb_and_option_is_on_the_commands_page(command: str) -> None:
    page = (ROOT / "docs/commands.md").read_text()
    assert f"## halfseen {command}\n" in page
    section = page.split(f"## halfseen {command}\n")[1].split("\n## ")[0]
    group, _, name = command.rpartition(" ")
    verb = GROUPS[group][name] if group else VERBS[name]
    assert isinstance(verb, type)
    assert dataclasses.is_dataclass(verb)
    names = {field.name.replace("_", "-"): field for field in dataclasses.fields(verb)}
    options = [name if POSITIONAL in field.type else f"--{name}" for name, field in names.items()]
    assert [option for option in options if f"`{option}" not in section and option.upper() not in section] == []


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_python_on_the_evaluation_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/evaluation.md").read_text(), re.DOTALL)
    exec(compile(code, "docs/evaluation.md", "exec"), {})
    mean, first = map(float, capsys.readouterr().out.split())
    assert 0 < mean < 0.2
    assert 0 <= first <= 1
