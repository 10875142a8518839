"""Weights as files: what test time needs of a network, and a card that says what it is and how it came about.

A file is safetensors; the card is JSON in its metadata. A network made for 0 people is that of test time: what it lacks
of the trained one (classifiers, teachers) is left out. Loading is strict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from halfseen import __version__
from halfseen.data.files import check_name, refused, shown, whole
from halfseen.methods import METHODS
from halfseen.ops.kernel import UnusedError
from halfseen.recipe import Method, Recipe
from halfseen.types import InputError

Plain: TypeAlias = dict[str, Any]  # what JSON can say
Start: TypeAlias = Literal["hub", "none"] | Path  # the weights that a backbone starts from

CARD = "halfseen"  # its key in the metadata
BEST, LAST = "best.safetensors", "last.safetensors"  # which `halfseen train` writes


def _versions() -> Plain:
    return {"halfseen": __version__, "torch": torch.__version__}


@dataclass(frozen=True)
class Card:
    """Where weights come from. `config`, `recipe`, `data` and `scores` are plain, as JSON has them.

    `started_from` names the weights that training began with, `epoch` how many were done, `scores` what was reached
    then, by protocol.
    """

    method: str
    config: Plain
    recipe: Plain
    data: Plain
    seed: int
    epoch: int
    started_from: str
    scores: Plain = field(default_factory=dict)
    versions: Plain = field(default_factory=_versions)

    @staticmethod
    def read(text: str) -> Card:
        """From JSON; a TypeError or ValueError where that is none of a card."""
        card = Card(**json.loads(text))
        for name in ("config", "recipe", "data", "scores", "versions"):
            if not isinstance(value := getattr(card, name), dict):
                raise TypeError(f"its {name} is {value!r}")
        return card


class Loaded(NamedTuple):
    """A method that is ready for test time; `network` is on the CPU, in evaluation mode."""

    method: Method
    config: Any
    recipe: Recipe
    network: nn.Module
    card: Card


def make_network(method: Method, config: Any, recipe: Recipe, people: int = 0, start: Start = "none") -> nn.Module:
    """The network of `method` for pictures of the recipe's size; without `people`, as it is at test time."""
    return method.network(config, people, image=(recipe.height, recipe.width), weights=start)


def save_weights(path: Path, method: Method, network: nn.Module, card: Card) -> None:
    """Write what test time needs of `network`, of `method` and as `card` describes it, wholly or not at all."""
    config, recipe = _settings(path, method, card)
    wanted = make_network(method, config, recipe).state_dict().keys()
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items() if name in wanted}
    with whole(path) as beside:
        try:
            save_file(state, beside, metadata={CARD: json.dumps(asdict(card))})
        except SafetensorError as error:  # how safetensors reports a full disk or a missing folder
            raise refused(error) from error
        beside.chmod(0o644)  # safetensors makes it readable for its owner only


def load_weights(path: Path, method: Method | None = None) -> Loaded:
    """Read the file at `path`, of the method that its card names, which must be `method` if that is given."""
    card, state = _read(path)
    if method is not None and card.method != method.name:
        raise InputError(
            f"{shown(path)} holds weights of {card.method}, not of {method.name}; give a file of {method.name}"
        )
    method = method or METHODS.get(card.method)
    if method is None:
        raise InputError(f"{shown(path)} holds weights of the method {card.method!r}; known are {', '.join(METHODS)}")
    config, recipe = _settings(path, method, card)
    network = make_network(method, config, recipe)
    _check_names(path, network.state_dict(), state)
    network.load_state_dict(state)
    return Loaded(method.of(config), config, recipe, network.eval(), card)


def part_names(config: Any, count: int) -> tuple[str, ...]:
    """What the `count` parts of an embedding are called, where the configuration tells."""
    parts = getattr(config, "names", ())
    tested = getattr(config, "test", ("whole", "parts"))
    told = [name for test in tested for name in (parts if test == "parts" else (test,))]
    if isinstance(tested, tuple) and len(told) == count:
        return tuple(name.replace("_", " ") for name in told)
    return ("whole",) if count == 1 else tuple(f"part {number}" for number in range(1, count + 1))


def _settings(path: Path, method: Method, card: Card) -> tuple[Any, Recipe]:
    try:
        return rebuilt(method.config, card.config), rebuilt(Recipe, card.recipe)
    except TypeError as error:
        raise InputError(
            f"{shown(path)} was written by halfseen {card.versions.get('halfseen')}, whose {method.name} had other "
            f"settings ({error}); use that version, or train again"
        ) from error


def plain(value: Any) -> Any:
    """`value`, a dataclass of numbers, words, paths, tuples and mappings, as JSON has it."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, PathLike) else value


def leaves(values: Plain, before: str = "") -> dict[str, Any]:
    """What `plain` values hold, however deep it lies, under names with dots: `agent.kind`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= leaves(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def rebuilt(kind: type, saved: Plain) -> Any:
    """The dataclass of type `kind` that `plain` was made of. JSON knows no tuples: every list was one."""
    try:
        return kind(**{name: _with_tuples(value) for name, value in saved.items()})
    except UnusedError as told:  # which older versions let pass: it changes nothing
        return told.config


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(entry) for key, entry in value.items()}
    return tuple(_with_tuples(entry) for entry in value) if isinstance(value, list) else value


def _read(path: Path) -> tuple[Card, dict[str, Tensor]]:
    try:
        path.open("rb").close()  # safetensors says "no such file" of forbidden ones, and "no such device" of folders
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(CARD)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dictionary)
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)} does not exist; check the path") from error
    except OSError as error:
        if path.is_dir():
            raise InputError(f"{shown(path)} is a folder; {_written(path)}") from error
        raise InputError(f"{shown(path)} cannot be read: {error.strerror or error}; give another file") from error
    except SafetensorError as error:
        check_name(path)
        raise InputError(f"{shown(path)} {_no_weights(path, error)}") from error
    if text is None:
        raise InputError(
            f"{shown(path)} bears no card, so `halfseen train` did not write it; weights of a backbone alone belong to "
            f"--weights in training"
        )
    try:
        return Card.read(text), state
    except (TypeError, ValueError) as error:
        raise InputError(f"{shown(path)} bears a card of another version ({error}); train it again") from error


def _no_weights(path: Path, error: SafetensorError) -> str:
    """What the file at `path` is, which is not to be read, and what to do."""
    if path.suffix == ".ckpt":
        return f"is a checkpoint, which `halfseen train` goes on from, and no weights; {_written(path.parent)}"
    if path.suffix != ".safetensors":
        return f"is no safetensors ({error}); give weights that `halfseen train` wrote, e.g. {BEST}"
    return f"is cut short, damaged or no safetensors ({error}); copy or train it again"


def _written(folder: Path) -> str:
    """Which weights to give that `halfseen train` wrote to `folder`."""
    found = [shown(folder / name) for name in (BEST, LAST) if (folder / name).is_file()]
    return f"give the file {' or '.join(found)}" if found else f"give weights that `halfseen train` wrote, e.g. {BEST}"


def _check_names(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    faults = [
        *(f"lacks {name!r}" for name in wanted if name not in found),
        *(f"holds {name!r}, which this version does not know" for name in found if name not in wanted),
        *(
            f"holds {name!r} of shape {tuple(found[name].shape)} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in found and found[name].shape != value.shape
        ),
    ]
    if faults:
        raise InputError(
            f"{shown(path)} {faults[0]} ({len(faults)} such tensors in all), so it does not fit the network that its "
            f"card describes; train it again"
        )
