"""`halfseen train`, run as a person would."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shlex
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from halfseen.methods import METHODS
from halfseen.recipe import Recipe
from halfseen.train import CHECKPOINT, RUN
from halfseen.train_verbs import Train, options, parse
from halfseen.training.tiers import TIERS
from halfseen.weights import LAST, load_weights
from standins import CUED, PAIRED, TINY, Config, draw_set

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]
PAGE = (Path(__file__).parents[1] / "docs/commands.md").read_text()
SECTION = PAGE.split("## halfseen train\n")[1].split("\n## ")[0]
OWN = [field.name for field in dataclasses.fields(Train) if field.name not in ("method", "config", "recipe")]
OPTIONS = [f"--{name.replace('_', '-')}" for name in OWN]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in (TINY, CUED, PAIRED):
        monkeypatch.setitem(METHODS, method.name, method)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw_set(tmp_path / "set")


@pytest.fixture
def words(root: Path, tmp_path: Path) -> list[object]:
    """What every command below begins with; `tiny` stands for the method."""
    return ["train", "tiny", "--data", "market1501", "--root", root, "--out", tmp_path / "out", "--weights", "none"]


def parsed(*words: str) -> Train:
    train = parse(words)
    assert isinstance(train, Train)
    return train


# --- Words ---


def test_every_field_of_config_and_recipe_is_an_option() -> None:
    words = "tiny --data x --config.dim 5 --config.dropout 0 --recipe.milestones 3 4 --recipe.clip 0.5 --recipe.lr 1"
    train = parsed(*words.split())
    assert train.config == Config(dim=5, dropout=0.0)
    assert train.recipe == dataclasses.replace(TINY.recipe, milestones=(3, 4), clip=0.5, lr=1.0)
    assert (train.method, train.data, train.tier, train.root) == ("tiny", "x", "full", None)


@pytest.mark.parametrize("name", ["bot", "pcb", "vit", "bpbreid"])
def test_the_full_tier_is_the_paper_and_mini_is_small(name: str) -> None:
    method, mini = METHODS[name], TIERS["mini"]
    full = parsed(name, "--data", "x")
    assert (full.config, full.recipe) == (method.config(), method.recipe)
    small = parsed(name, "--tier", "mini", "--data", "x")
    changed = {**mini.recipe, **(mini.transformer_recipe if name == "vit" else {})}
    assert small.recipe == dataclasses.replace(method.recipe, **changed)
    assert small.config.backbone == (mini.transformer if name == "vit" else mini.convolutional)
    own = parsed(name, "--data", "x", "--recipe.epochs", "7", "--tier=mini", "--config.backbone", "resnet18")
    assert (own.recipe.epochs, own.recipe.height, own.config.backbone) == (7, mini.recipe["height"], "resnet18")


def test_help_names_every_method_and_option(run: Run) -> None:
    for words in (("train",), ("train", "--help")):
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        assert all(f"• {name}" in out and method.title.split(":")[0] in out for name, method in METHODS.items())
    code, out, err = run("train", "bpbreid", "--help")
    assert (code, err) == (0, "")
    flat = " ".join(re.sub("[│╭╮╰╯─]", " ", out).split())
    fields = [field.name.replace("_", "-") for field in dataclasses.fields(Recipe)]
    assert all(
        f"{option} " in flat for option in (*OPTIONS, *(f"--recipe.{name}" for name in fields), "--config.parts")
    )
    source = inspect.getsource(Train)
    for name in OWN:
        text = re.search(rf'^    {name}: .*\n    """((?s:.+?))"""', source, re.MULTILINE)
        assert text is not None, f"{name} is not described"
        assert " ".join(text[1].split()) in flat


@pytest.mark.parametrize("name", METHODS)
def test_help_says_of_each_choice_of_a_method_what_it_is(run: Run, name: str) -> None:
    _, out, _ = run("train", name, "--help")
    flat = " ".join(re.sub("[│╭╮╰╯─]", " ", out).split())
    for field in dataclasses.fields(METHODS[name].config):
        if field.default is not dataclasses.MISSING:  # others are tables, each of whose entries is an option
            about = re.search(rf"^    {field.name}: .*  # (.+)$", inspect.getsource(METHODS[name].config), re.MULTILINE)
            assert about is not None, f"{field.name} is not described"
            assert about[1] in flat


def test_every_option_is_on_the_commands_page() -> None:
    assert [
        option for option in OPTIONS if option not in ("--config", "--recipe") and f"`{option}" not in SECTION
    ] == []
    assert all(f"`{part}" in SECTION for part in ("--config.", "--recipe."))
    mini = TIERS["mini"]
    sizes = f"{mini.recipe['height']}×{mini.recipe['width']}", f"{mini.recipe['epochs']} epochs"
    for number in (*sizes, f"{mini.transformer_recipe['epochs']} epochs", mini.convolutional, mini.transformer):
        assert number in SECTION
    assert f"--ids {mini.ids} --images {mini.images} --size 192x96 --occluded {mini.occluded}" in SECTION


@pytest.mark.parametrize(
    "words", ["nobody --data x", "tiny", "tiny --data x --tier middle", "tiny --data x --config.depth 3", "tiny --tier"]
)
def test_words_that_mean_nothing_end_with_2(words: str, run: Run) -> None:
    code, out, err = run("train", *words.split())
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bpbrei --data world --root w", "there is no method 'bpbrei'; did you mean bpbreid? known are bot, pcb, "),
        ("BoT --help", "there is no method 'BoT'; did you mean bot? known are bot, pcb, "),
        ("nobody --data x", "there is no method 'nobody'; known are bot, pcb, "),
        ("--tier mini bot --data x", "`halfseen train` wants a method before --tier; give one of bot, pcb, "),
    ],
)
def test_a_method_that_nobody_knows(words: str, said: str, refused: Refused) -> None:
    assert refused("train", *words.split()).startswith(f"halfseen: {said}")


@pytest.mark.parametrize(
    "words", ["--data x --rwo 5", "--data x --config.part 5", "--data x --config.backbon 5", "--data", ""]
)
def test_misspelt_options_point_to_the_help_of_the_method(words: str, run: Run) -> None:
    code, out, err = run("train", "pgfl-kd", *words.split())
    assert (code, out) == (2, "")
    helps = re.findall(r"(\w.*) --help", err)
    assert helps
    assert {text.removeprefix("For full helptext, run ") for text in helps} == {"halfseen train pgfl_kd"}


@pytest.mark.parametrize("word", ["none", "None"])
def test_no_number_is_what_help_and_errors_call_it(word: str) -> None:
    train = parsed("tsd", "--data", "x", "--row", "1-tsd-overlap", "--save", "4", "--recipe.clip", word)
    assert (train.recipe.clip, train.save, train.config.patch_stride) == (None, 4, 11)
    train = parsed("tsd", "--data", "x", "--row", "1-tsd-overlap", "--save", word, "--config.patch-stride", word)
    assert (train.save, train.config.patch_stride) == (None, None)
    assert parsed("bot", "--data", "x", f"--config.margin={word}").config.margin is None


def test_a_number_that_is_none_and_no_word_either(run: Run) -> None:
    code, out, err = run("train", "tsd", "--data", "x", "--recipe.clip", "no")
    assert (code, out) == (2, "")
    assert "--recipe.clip none|FLOAT" in err


def test_what_a_configuration_refuses_is_one_sentence(refused: Refused) -> None:
    said = refused("train", "bpbreid", "--data", "x", "--config.parts", "9")
    assert said.startswith("halfseen: no grouping has or is called 9; give a number of parts from 1 to 8")


# --- Training ---


def test_train_prints_scores_and_goes_on(words: list[object], tmp_path: Path, run: Run) -> None:
    code, out, err = run(*words, "--every", 2)
    assert code == 0
    title, header, line = out.splitlines()
    out_folder = tmp_path / "out"
    assert title == f"tiny on market1501 after the last epoch; the best is {out_folder / 'best.safetensors'}"
    assert header.split()[:2] == ["protocol", "mAP"]
    assert line.split()[0] == "market"
    notes = [text.partition(":")[0].strip() for text in err.splitlines()[1:]]
    assert notes == ["epoch 1 of 3", "epoch 2 of 3", "market", "epoch 3 of 3", "market"]
    assert re.search(r"^epoch 1 of 3: identity \d\.\d{3}, triplet \d\.\d{3}; [\d,]+ images/s$", err, re.MULTILINE)
    again = run(*words, "--every", 2)
    assert (again[0], again[1]) == (0, out)
    assert again[2].splitlines()[1:] == ["going on after 6 of 6 steps"]


def test_what_an_earlier_training_was_not_scored_under(words: list[object], tmp_path: Path, run: Run) -> None:
    first = run(*words, "--protocol", "market")
    assert "not scored" not in first[2]
    code, out, err = run(*words, "--protocol", "market", "--protocol", "all")
    assert (code, out) == (0, first[1])
    *_, told, command = err.splitlines()
    assert told == "this training was over before, and not scored under all; for that"
    program, *wanted = shlex.split(command)
    assert (program, wanted[2]) == ("halfseen", str(tmp_path / "out" / LAST))
    code, out, _ = run(*wanted, "--json", "--device", "cpu")
    assert code == 0
    begun_as = (tmp_path / "out/run.json").read_bytes()
    assert json.loads(begun_as)["protocol"] == "market"
    code, out, err = run(*words, "--protocol", "all")  # no more than before, though it would have told the best
    assert (code, out) == (0, first[1])
    assert "not scored under all" in err
    assert run(*words)[:2] == (0, first[1])  # which is what it is unasked
    assert (tmp_path / "out/run.json").read_bytes() == begun_as


def test_train_prints_json(words: list[object], tmp_path: Path, run: Run) -> None:
    code, out, _ = run(*words, "--json", "--protocol", "all", "--protocol", "market", "--seed", 4)
    told = json.loads(out)
    assert (code, told["out"]) == (0, str(tmp_path / "out"))
    assert list(told["scores"]) == ["all", "market"]
    card = load_weights(tmp_path / "out" / LAST).card
    assert (card.scores, card.seed, card.started_from) == (told["scores"], 4, "none")


def test_settings_reach_the_training(words: list[object], tmp_path: Path, run: Run) -> None:
    options = "--recipe.epochs 2 --interval 1 --save 1 --memory 0.001 --precision bfloat16 --device cpu --every 0"
    assert run(*words, *options.split(), "--config.dim", 5)[0] == 0
    about = json.loads((tmp_path / "out" / RUN).read_text())
    assert (about["config"]["dim"], about["recipe"]["epochs"], about["precision"]) == (5, 2, "bfloat16")
    assert len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) == 4 + 1


def test_without_out_the_folder_says_what_it_holds(
    words: list[object], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = [word for word in words if word not in ("--out", tmp_path / "out")]
    short[short.index("market1501")] = "market1501+occluded@2"
    assert run(*short, "--recipe.epochs", 1)[0] == 0
    assert (tmp_path / "tiny-market1501-occluded@2-0" / CHECKPOINT).exists()


def test_a_dry_run_prints_the_recipe_and_its_cost(words: list[object], tmp_path: Path, run: Run) -> None:
    code, out, _ = run(*words, "--dry-run", "--recipe.lr", 0.25)
    assert code == 0
    assert not (tmp_path / "out").exists()
    lines = out.splitlines()
    assert "--recipe.lr 0.25" in lines
    assert "--config.dim 8" in lines
    conv, norm, classifier = 3 * 8 * 9 + 8, 2 * 8, 32 * 4 + 4
    flops = 2 * 27 * 8 * 16 * 8
    assert f"parameters  {conv + norm + classifier} in training, {conv + norm} at test time" in lines
    assert f"operations  {flops / 1e9:.3g} GFLOPs a picture at test time (multiply and add are two)" in lines
    assert any(line.startswith("pictures    12 of 4 people, 2 steps an epoch") for line in lines)
    assert re.search(r"^memory      \S+ GiB a step, \S+ GiB for pictures$", out, re.MULTILINE)


@pytest.mark.parametrize("name", METHODS)
def test_what_a_dry_run_prints_can_be_given_back(name: str) -> None:
    """Whatever tier or row it came from, and whichever are the defaults where it goes to."""
    words, rows = (name, "--data", "x"), METHODS[name].rows
    begun = parsed(*words, "--recipe.speeds", "", "0.5", "a name", "2", "--recipe.clip", "3", "--recipe.milestones")
    for train in (begun, parsed(*words, "--tier", "mini"), *(parsed(*words, "--row", row) for row in [*rows][-3:])):
        lines = options(train.config, train.recipe)
        for tier in ("full", "mini"):
            back = parsed(*words, "--tier", tier, *chain(*map(shlex.split, lines)))
            assert (back.config, back.recipe) == (train.config, train.recipe)


def test_tables_are_printed_one_entry_a_line() -> None:
    bpbreid, bot = (METHODS[name] for name in ("bpbreid", "bot"))
    lines = options(bpbreid.config(margin=None), dataclasses.replace(bpbreid.recipe, speeds=(("a b", 0.5), ("c", 2.0))))
    told = ["--config.gilt.global 1.0 0.0", "--config.margin none", "--config.test foreground parts"]
    assert [line for line in lines if re.match(r"--config\.(gilt\.global|margin|test) ", line)] == told
    assert "--recipe.speeds 'a b' 0.5 c 2.0" in lines
    assert "--recipe.milestones 40 70" in options(bot.config(), bot.recipe)
    assert "--recipe.speeds" in options(bot.config(), bot.recipe)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--weights", "nosuch.pth", "nosuch.pth is no file"),
        pytest.param(
            "--device",
            "cuda",
            "--device cuda: torch finds no such device here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        ("--recipe.people", 1, "recipe.people is 1 and recipe.images 2, and the loss 'triplet' compares"),
        ("--recipe.images", 1, "recipe.people is 2 and recipe.images 1, and the loss 'triplet' compares"),
    ],
)
def test_a_dry_run_refuses_what_a_training_does(
    option: str, value: object, said: str, words: list[object], tmp_path: Path, refused: Refused
) -> None:
    words[1] = "bot"
    small = ("--recipe.height", 64, "--recipe.width", 32, "--recipe.people", 2, "--recipe.images", 2)
    both = [refused(*words, "--tier", "mini", *small, option, value, *more) for more in ((), ("--dry-run",))]
    assert all(said in sentence for sentence in both)
    assert both[0] == both[1]
    assert not (tmp_path / "out").exists()


def test_pairs_cost_twice_the_pictures(words: list[object], run: Run) -> None:
    memory = []
    for name in ("tiny", "paired"):
        words[1] = name
        code, out, _ = run(*words, "--dry-run", "--recipe.people", 4, "--recipe.height", 128, "--recipe.width", 64)
        assert code == 0
        memory.append(float(re.findall(r"^memory +(\S+) GiB a step", out, re.MULTILINE)[0]))
    assert 1.8 < memory[1] / memory[0] < 2.2


def test_a_warm_up_that_lasts_until_the_end_is_told(words: list[object], run: Run) -> None:
    for epochs, told in ((2, False), (1, True)):
        code, _, err = run(*words, "--dry-run", "--recipe.epochs", epochs)
        assert code == 0
        assert ("note: recipe.warmup is 1 and recipe.epochs 1, so recipe.lr is never reached; set" in err) == told


# --- Refusals ---


def test_options_of_another_schedule_than_the_tiers(words: list[object], run: Run, refused: Refused) -> None:
    words[1] = "bot"
    small = ("--tier", "mini", "--recipe.people", 2, "--recipe.images", 2, "--recipe.height", 64, "--recipe.width", 32)
    for given in ((), ("--dry-run",)):
        said = refused(*words, *small, *given, "--recipe.milestones", 3)
        assert "recipe.milestones is of the schedule step, and the schedule is cosine; set recipe.schedule to" in said
    assert run(*words, *small, "--dry-run", "--recipe.milestones", 3, "--recipe.schedule", "step")[0] == 0


def test_a_set_without_the_cues_that_a_method_needs(words: list[object], root: Path, refused: Refused) -> None:
    (root / "keypoints.npz").unlink()
    words[1] = "cued"
    said = refused(*words)
    assert "market1501 has no part labels and no keypoints for its pictures in" in said
    assert "`halfseen world render`" in said


def test_a_cue_that_a_set_has_not_and_no_other_either(words: list[object], root: Path, refused: Refused) -> None:
    (root / "keypoints.npz").unlink()
    words[1] = "cued"
    said = refused(*words, "--cue", "parts")
    assert "has no part labels and no keypoints for its pictures" in said
    assert "needs one of these; make keypoints.npz with" in said


def test_cues_are_chosen(words: list[object], refused: Refused, run: Run) -> None:
    words[1] = "cued"
    said = refused(*words, "--cue", "parts")
    assert "--cue parts asks for part labels, of which market1501 has none for its pictures in" in said
    assert said.endswith("; it has keypoints: choose --cue keypoints or auto")
    assert "cued does not look at fields; choose keypoints or parts" in refused(*words, "--cue", "fields")
    assert run(*words, "--cue", "keypoints")[0] == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--memory", "nan", "--memory is nan; give gigabytes, 0 or more"),
        ("--memory", "inf", "--memory is inf; give gigabytes, 0 or more"),
        ("--memory", -1, "--memory is -1.0; give gigabytes, 0 or more"),
        ("--seed", 2**63, f"--seed is {2**63}; give a whole number of at most 64 bits"),
    ],
)
def test_numbers_that_cannot_be(option: str, value: object, said: str, words: list[object], refused: Refused) -> None:
    assert said in refused(*words, option, value)


@pytest.mark.parametrize("option", ["--tier", "--row"])
def test_an_option_without_its_value(option: str, words: list[object], run: Run) -> None:
    code, _, err = run(*words, option)
    assert code == 2
    assert f"--{option[2:]}" in err
    assert "[--tier TIER]" not in err


def test_without_its_package_tensorboard_is_refused_before_a_folder_is_made(
    words: list[object], tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "--tensorboard needs a package that is not there" in refused(*words, "--tensorboard")
    assert not (tmp_path / "out").exists()


def test_too_few_people(words: list[object], refused: Refused) -> None:
    assert "a batch of 5 identities cannot be filled" in refused(*words, "--recipe.people", 5)


def test_a_folder_of_another_method(words: list[object], run: Run, refused: Refused) -> None:
    assert run(*words)[0] == 0
    words[1] = "cued"
    said = refused(*words)
    assert "out holds a training with method tiny (now cued), data.cue none (now keypoints), data.cue_digest" in said
    assert "ask for the same again, or choose another --out" in said


def test_a_set_that_cannot_be_found(words: list[object], refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no data set 'market'" in refused("train", "tiny", "--data", "market", "--root", words[5])
    monkeypatch.delenv("HALFSEEN_DATA", raising=False)
    assert "no folder is named for market1501" in refused("train", "tiny", "--data", "market1501")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(words: list[object], refused: Refused) -> None:
    assert "--device cuda: torch finds no such device" in refused(*words, "--device", "cuda")


def test_ctrl_c_says_how_to_go_on(words: list[object], refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt("stopped after 3 of 6 steps; the same command goes on from there")

    monkeypatch.setattr("halfseen.train.Training._run_epoch", stop)
    assert refused(*words) == "halfseen: stopped after 3 of 6 steps; the same command goes on from there"


def test_a_misspelt_option_is_not_looked_for_among_other_methods(capsys: pytest.CaptureFixture[str]) -> None:
    """`--config.fo` would be like BPBreID's `--config.foreground`."""
    with pytest.raises(SystemExit):
        parse(["pirt", "--data", "street", "--config.fo", "7"])
    said = capsys.readouterr().err
    assert "--config.fo" in said
    assert "foreground" not in said
