"""The verb `halfseen train METHOD`: every field of a method's configuration and of its recipe is an option."""

from __future__ import annotations

import argparse
import io
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

import tyro
from tyro.conf import FlagConversionOff, FlagCreatePairsOff, Suppress, UseAppendAction
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from halfseen import printing
from halfseen.data.finding import read_named
from halfseen.data.memory import GIGABYTE
from halfseen.data.sets.folders import guessed
from halfseen.encode import chosen_device, cues_for
from halfseen.methods import METHODS
from halfseen.ops.metrics import PROTOCOLS, ProtocolName
from halfseen.recipe import Method, Recipe
from halfseen.train import Training, train
from halfseen.training.budget import budget
from halfseen.training.learning import check_given
from halfseen.training.settings import Settings
from halfseen.training.tiers import TierName, check_row, in_tier
from halfseen.types import InputError, Scores
from halfseen.weights import BEST, LAST, leaves, make_network, plain

OPTIONAL = ConstructorRegistry()


@OPTIONAL.primitive_rule
def _optional_number(asked: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Where there need be no number, `none` says so, as in help and errors; the parser itself knows Python's None."""
    kind: type | None = {int | None: int, float | None: float}.get(asked.type)
    return (
        None
        if kind is None
        else PrimitiveConstructorSpec(
            nargs=1,
            metavar=f"none|{kind.__name__.upper()}",
            instance_from_str=lambda words: None if words[0].lower() == "none" else kind(words[0]),
            is_instance=lambda value: value is None or isinstance(value, kind),
            str_from_instance=worded,
        )
    )


@dataclass(frozen=True)
class Train:
    """Train a method and evaluate it on the way. The same command goes on where it was stopped."""

    method: Suppress[str]
    data: str
    """A set of `halfseen data list`, with +partial or +occluded behind it for a variant made while reading."""
    config: FlagConversionOff[Any]
    recipe: FlagConversionOff[Recipe]
    tier: TierName = "full"
    """full: the recipe of the paper; mini: sizes for two CPU cores and minutes. The options below change either."""
    row: str | None = None
    """A row of the paper's tables: a configuration that the options below change further; list: show all, and end."""
    root: Path | None = None
    """The folder that holds the set, or one above it; left out: the environment variable HALFSEEN_DATA."""
    out: Path | None = None
    """The folder for weights, checkpoints and the log; left out: METHOD-DATA-SEED."""
    weights: Literal["hub", "none"] | Path = "hub"
    """Of the backbone at the beginning: timm's from its hub, none, or a file."""
    cue: Literal["auto", "parts", "fields", "keypoints"] = "auto"
    """What says where the parts are, for methods that want to know; auto: the first of these that the set has."""
    seed: int = 0
    """Another seed, another luck."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one. Several, or several machines: begin this command with torchrun."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast, for GPUs."""
    compile: bool = False
    """Compile the network, which takes minutes and pays in long trainings on GPUs."""
    every: int = 10
    """Evaluate after so many epochs, and after the last; 0: only then."""
    protocol: UseAppendAction[tuple[ProtocolName, ...]] = ()
    """May be repeated, and the first decides what is best; left out: all that cameras and occlusion labels allow."""
    interval: int = 50
    """Steps between two lines of the log."""
    save: int | None = None
    """Steps between two checkpoints; left out: one after each epoch."""
    memory: float = 4.0
    """Gigabytes of resized pictures and part labels to keep, so that each is decoded once."""
    workers: int = 0
    """Processes that make batches; 0: none but this."""
    tensorboard: bool = False
    """Log to TensorBoard too (pip install 'halfseen[track]')."""
    dry_run: bool = False
    """Print what would be trained, and what it costs, and end."""
    json: bool = False
    """Print the last scores as JSON instead of a table."""

    def run(self) -> int:
        method, settings = METHODS[self.method].of(self.config), self._settings()
        self._check_given()
        splits = read_named(self.data, self.root, printing.print_note)
        cues = {"train": cues_for(method, self.config, "train", splits, splits.train, self.cue)}
        for split in ("query", "gallery"):
            cues[split] = cues_for(method, self.config, "test", splits, splits.by_name[split])
        if self.dry_run:
            chosen_device(settings.device)  # which refuses what is not there
            start = "none" if settings.start == "hub" else settings.start
            lean = replace(settings, start=start, device="cpu", workers=0)
            print_budget(Training(method, self.config, self.recipe, splits, cues, settings=lean))
            return 0
        scores = train(method, self.config, self.recipe, splits, cues, settings)
        if scores is None:  # another process speaks
            return 0
        if self.json:
            printing.print_line(json.dumps({"out": str(settings.out), "scores": printing.plain_scores(scores)}))
        elif scores:
            best = settings.out / BEST
            printing.print_scores(f"{method.name} on {splits.name} after the last epoch; the best is {best}", scores)
        self._tell_unscored(scores, settings.out / LAST)
        return 0

    def _check_given(self) -> None:
        """What only who gave it can mend; a warm-up until the end may be meant, in a trial."""
        check_row(self.row, self.config)
        recipe, (_, usual) = self.recipe, in_tier(METHODS[self.method], self.tier, self.row)
        check_given(recipe, usual)
        if recipe.epochs <= recipe.warmup:
            printing.print_note(
                f"note: recipe.warmup is {recipe.warmup} and recipe.epochs {recipe.epochs}, so recipe.lr is never "
                f"reached; set warmup to fewer epochs to reach it"
            )

    def _tell_unscored(self, scores: Mapping[str, Scores], weights: Path) -> None:
        """A training that was over has the scores of then."""
        missing = [name for name in dict.fromkeys(self.protocol) if name not in scores]
        if scores and missing:
            options = " ".join(f"--protocol {name}" for name in missing)
            root = f" --root {shlex.quote(str(self.root))}" if self.root else ""
            printing.print_note(
                f"this training was over before, and not scored under {', '.join(missing)}; for that\n"
                f"halfseen evaluate --weights {shlex.quote(str(weights))} --data {self.data}{root} {options}"
            )

    def _settings(self) -> Settings:
        words = (self.method, self.row, self.data, str(self.seed))
        name = "-".join(word for word in words if word).replace(":", "-").replace("+", "-")
        if not 0 <= self.memory < inf:  # NaN is neither
            raise InputError(f"--memory is {self.memory}; give gigabytes, 0 or more")
        return Settings(
            out=self.out or Path(name),
            seed=self.seed,
            start=self.weights,
            device=self.device,
            precision=self.precision,
            compile=self.compile,
            every=self.every,
            protocols=tuple(PROTOCOLS[name] for name in dict.fromkeys(self.protocol)),
            interval=self.interval,
            save=self.save,
            memory=int(self.memory * GIGABYTE),
            workers=self.workers,
            tensorboard=self.tensorboard,
            bars=printing.progress_bar,
            say=printing.print_note,
        )


@dataclass(frozen=True)
class Rows:
    """What `--row list` asks for: the rows of a method by name, and where they differ from its own configuration."""

    method: Method

    def run(self) -> int:
        usual, rows = leaves(plain(self.method.config())), []
        for name, row in self.method.rows.items():
            differing = [(key, value) for key, value in leaves(plain(row)).items() if value != usual[key]]
            rows.append((name, ", ".join(shlex.join((key, *worded(value))) for key, value in differing)))
        printing.print_table(f"{self.method.title}; {len(rows)} rows", ("row", "differs in"), rows, words=2)
        return 0


def parse(words: Sequence[str]) -> Train | Rows:
    """`words` behind `halfseen train`. Tier and row come first, because they are the defaults of all others."""
    method = _chosen(words)
    if method is None:
        presets = {name: _preset(known, "full", None) for name, known in METHODS.items()}
        titles = {name: known.title for name, known in METHODS.items()}
        choice = tyro.extras.subcommand_type_from_defaults(presets, titles, prefix_names=False)
        return tyro.cli(choice, prog="halfseen train", args=["--help"], config=(FlagCreatePairsOff,))
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--tier", nargs="?", default="full")
    first.add_argument("--row", nargs="?")
    early = first.parse_known_args(list(words))[0]
    tier: TierName = "mini" if early.tier == "mini" else "full"  # of other words the parser below complains
    if method.rows and early.row == "list":
        return Rows(method)
    preset, prog, said = _preset(method, tier, early.row), f"halfseen train {method.name}", io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                Train,
                default=preset,
                description=method.title,
                prog=prog,
                args=list(words[1:]),
                config=(FlagCreatePairsOff,),
                registry=OPTIONAL,
            )
    except SystemExit as end:
        if (refusal := _refusal(end)) is not None:
            raise refusal from None
        sys.stderr.write(said.getvalue())
        raise


def _chosen(words: Sequence[str]) -> Method | None:
    """The method that `words` begin with; None where they ask for help with the choice."""
    name = words[0] if words else "--help"
    if method := METHODS.get(name.replace("-", "_")):
        return method
    if not name.startswith("-"):
        raise InputError(f"there is no method {name!r}; {guessed(name, METHODS)}")
    if not {"-h", "--help"} & {name, *words}:
        raise InputError(f"`halfseen train` wants a method before {name}; give one of {', '.join(METHODS)}")
    return None


def _refusal(end: BaseException | None) -> InputError | None:
    """What a configuration said to its values; the parser draws a box around it, and its own names into it."""
    while end is not None and not isinstance(end, InputError):
        end = end.__context__
    return end


def _preset(method: Method, tier: TierName, row: str | None) -> Train:
    config, recipe = in_tier(method, tier, row)
    return Train(method.name, tyro.MISSING, config, recipe, tier, row)


def print_budget(training: Training) -> None:
    """The resolved configuration and recipe, and what they cost."""
    method, config, recipe = training.method, training.config, training.recipe
    for line in options(config, recipe):
        printing.print_line(line)
    two_people = next(iter(training.batches))[: 2 * recipe.images]
    batch = training.handed(training.source.batch(two_people))
    cost = budget(method, config, recipe, (training.network, make_network(method, config, recipe)), batch)
    data = training.about()["data"]
    room = training.pictures.memory.nbytes if training.pictures.memory else 0
    rows = (
        ("pictures", f"{data['images']:,} of {data['people']:,} people, {training.steps:,} steps an epoch"),
        ("parameters", f"{cost.trained:,} in training, {cost.tested:,} at test time"),
        ("operations", f"{cost.flops / 1e9:.3g} GFLOPs a picture at test time (multiply and add are two)"),
        ("memory", f"{cost.memory / GIGABYTE:.2g} GiB a step, {room / GIGABYTE:.2g} GiB for pictures"),
    )
    printing.print_table(f"{method.title}; {data['name']}", ("", ""), rows, words=2)


def options(config: Any, recipe: Recipe) -> list[str]:
    """All of both, as `halfseen train` takes it from a shell, an option each."""
    named = leaves({"config": plain(config), "recipe": plain(recipe)}).items()
    return [shlex.join((f"--{name.replace('_', '-')}", *worded(value))) for name, value in named]


def worded(value: Any) -> list[str]:
    """A `plain` value in the words that the parser takes for it: those of a table one after another."""
    if isinstance(value, list):
        return [word for entry in value for word in worded(entry)]
    return ["none" if value is None else str(value)]
