"""The papers' numbers, once more and by hand: a slip in a recipe, a configuration or a row of a table shows here."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from torch import nn

from halfseen.data.augment import AreaAndAspect, Sides, draw
from halfseen.methods import METHODS, bot, bpbreid, pcb, pgfl_kd, pirt, vit
from halfseen.nets.purification import Agent
from halfseen.ops.distance import Single, VisibleParts
from halfseen.recipe import learning_rate
from halfseen.training.settings import AUGMENTS, augment_of
from halfseen.training.tiers import in_tier

OFF, ID, TRI, BOTH = (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)  # weights of identity and triplet
SMALL, LARGE = AreaAndAspect((0.02, 1 / 3)), AreaAndAspect((0.02, 0.4), (0.3, 1 / 0.3))

NAMES = ("bot", "pcb", "vit", "bpbreid")
RECIPES: dict[str, tuple[Any, ...]] = {  # of each in turn; None where the schedule has no such thing
    "height": (256, 384, 256, 256),
    "width": (128, 128, 128, 128),
    "augment": ("bot", "flip", "transreid", "bpbreid"),
    "people": (16, 16, 16, 16),
    "images": (4, 4, 4, 4),
    "epochs": (120, 60, 120, 120),
    "optimiser": ("adam", "sgd", "sgd", "adam"),
    "lr": (3.5e-4, 0.1, 0.008, 3.5e-4),
    "speeds": ((), (("backbone", 0.1),), (), ()),
    "bias_lr": (1.0, 1.0, 2.0, 1.0),
    "weight_decay": (5e-4, 5e-4, 1e-4, 5e-4),
    "nesterov": (False, False, False, False),
    "warmup": (10, 0, 5, 10),
    "warmup_from": (0.1, None, 0.01, 0.1),
    "schedule": ("step", "step", "cosine", "step"),
    "milestones": ((40, 70), (40,), None, (40, 70)),
    "gamma": (0.1, 0.1, None, 0.1),
    "flat": (None, None, 0, None),
    "final": (None, None, 0.002, None),
    "twins": (False, False, False, False),
}
CONFIGS: dict[str, Any] = {
    "bot": bot.Config(backbone="resnet50", last_stride=1, pooling="mean", smoothing=0.1, margin=0.3),
    "pcb": pcb.Config(
        backbone="resnet50",
        last_stride=1,
        stripes=6,
        reduction=256,
        shared=True,
        dropout=0.0,
        gilt={"global": OFF, "concat": OFF, "parts": (6.0, 0.0)},
        smoothing=0.0,
        margin=0.3,
        test="pooled",
    ),
    "vit": vit.Config(
        backbone="vit_base_patch16_224.orig_in21k_ft_in1k",
        patch_stride=None,
        drop_path=0.1,
        smoothing=0.0,
        margin=None,
        test="before",
    ),
    "bpbreid": bpbreid.Config(
        backbone="resnet50",
        last_stride=1,
        parts=8,
        reduction=512,
        attention="learned",
        foreground="mask",
        visibility="threshold",
        threshold=0.4,
        gilt={"global": ID, "foreground": ID, "concat": ID, "parts": TRI},
        triplet="averaged",
        margin=0.3,
        smoothing=0.1,
        pixel_weight=0.35,
        test=("foreground", "parts"),
        on_empty="inf",
    ),
}
DISTANCES = {
    "bot": Single("cosine"),
    "pcb": VisibleParts("unit-euclid"),
    "vit": Single("cosine"),
    "bpbreid": VisibleParts("unit-euclid", weight="product", on_empty="inf"),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_method_is_as_published(name: str) -> None:
    method, place = METHODS[name], NAMES.index(name)
    told = {field: values[place] for field, values in RECIPES.items() if values[place] is not None}
    assert {field: getattr(method.recipe, field) for field in told} == told
    assert method.recipe.clip is None
    assert method.config() == CONFIGS[name]
    assert method.distance == method.of(method.config()).distance == DISTANCES[name]


POSED: dict[str, Any] = {
    "pgfl_kd": pgfl_kd.Config(
        backbone="resnet50",
        last_stage="shared",
        merge="sum",
        scale=10.0,
        gap="grid",
        attention="dot",
        reid=("global", "enhanced", "fused"),
        lambda_cl=0.25,
        parts_loss="contrastive",
        lengths="own",
        lambda_mcl=0.25,
        temperature=1.0,
        margin=0.3,
        smoothing=0.1,
        test="global",
    ),
    "pirt": pirt.Config(
        backbone="resnet50_ibn_a",
        last_stride=1,
        reduction=None,
        pose=True,
        intra=True,
        units=3,
        project=True,
        threshold=0.001,
        smoothing=0.1,
        margin=None,
        nearest=100,
        metric="cosine",
        confidence="both",
        cut="sum",
        unshared=0.0,
    ),
}
UNPOSED: dict[str, Any] = {"lambda_cl": 0, "lambda_mcl": 0}
POSED_ROWS: dict[str, dict[str, dict[str, Any]]] = {  # where each differs from the method itself
    "pgfl_kd": {
        "6-baseline": {"reid": ("global",), **UNPOSED},
        "6-aligned": {"reid": ("global", "aligned"), **UNPOSED},
        "6-interaction": {"reid": ("global", "fused"), **UNPOSED},
        "6-contrastive": {"reid": ("global", "fused"), "lambda_cl": 0},
        "6-enhanced": {"lambda_cl": 0},
        "6-consistency": {},
        "7-consistency": {"parts_loss": "consistency"},
        "7-contrastive": {},
        "8-baseline": {"reid": ("global",), **UNPOSED},
        "8-global": {},
        "8-aligned": {"test": "aligned"},
        "8-fused": {"test": "fused"},
        "8-foreground": {"test": "foreground"},
        "8-enhanced": {"test": "enhanced"},
    },
    "pirt": {
        "code": {"project": False, "metric": "unit-euclid", "cut": "first"},
        "3-baseline": {"pose": False, "intra": False, "units": 0},
        "3-pose": {"intra": False, "units": 0},
        "3-pose-intra": {"units": 0},
        "3-pose-intra-inter": {},
        "4-1-unit": {"units": 1},
        "4-2-units": {"units": 2},
        "4-3-units": {},
        "4-4-units": {"units": 4},
        "5-both": {},
        "5-query": {"confidence": "query"},
        "5-gallery": {"confidence": "gallery"},
        "5-none": {"confidence": "none"},
        "ours-unshared": {"unshared": 1.0},
    },
}


@pytest.mark.parametrize("name", POSED)
def test_the_methods_that_poses_guide_are_as_published_and_so_are_their_rows(name: str) -> None:
    method = METHODS[name]
    assert method.config() == POSED[name]
    assert method.rows == {row: replace(POSED[name], **changes) for row, changes in POSED_ROWS[name].items()}


def test_what_no_field_names_in_pirt_is_as_published() -> None:
    inter = pirt.InterPart(2048, 3)
    layers = inter.encoder.layers
    assert isinstance(layers, nn.ModuleList)
    assert len(layers) == 3
    for layer in layers:
        assert isinstance(layer, nn.TransformerEncoderLayer)
        assert (layer.linear1.out_features, layer.self_attn.num_heads, layer.dropout.p) == (512, 8, 0.1)
    assert pirt.IntraPart(64, project=True).dropout.p == 0.3


# --- How pictures are seen ---

# flip, pad, erase, its rectangle and what it shows, how pictures are resized, whether a flip exchanges left and right
SEEN: dict[str, tuple[Any, ...]] = {
    "none": (0.0, 0, 0.0, LARGE, "mean", "bilinear", True),
    "flip": (0.5, 0, 0.0, LARGE, "mean", "bilinear", True),
    "bot": (0.5, 10, 0.5, LARGE, "mean", "bilinear", True),
    "bpbreid": (0.0, 10, 0.5, Sides((0.15, 0.65)), "mean", "bilinear", True),
    "transreid": (0.5, 10, 0.5, SMALL, "noise", "bicubic", True),
    "tsd": (0.5, 10, 0.5, SMALL, "noise", "bicubic", False),
    "tsd-paper": (0.0, 10, 0.5, SMALL, "noise", "bicubic", True),
    "ogfr": (0.5, 10, 0.0, SMALL, "noise", "bicubic", True),
}


@pytest.mark.parametrize("name", SEEN)
def test_the_names_of_augmentations_mean_what_papers_say(name: str) -> None:
    names = ("flip", "pad", "erase", "rectangle", "fill", "interpolation", "swap_sides")
    assert {field: getattr(AUGMENTS[name], field) for field in names} == dict(zip(names, SEEN[name], strict=True))


def test_D3_bpbreid_never_flips_in_any_tier() -> None:
    for recipe in (bpbreid.RECIPE, in_tier(bpbreid.METHOD, "mini")[1]):
        augment = augment_of(recipe, "eight")
        draws = [draw(augment, number) for number in range(300)]
        assert not any(one.flip for one in draws)
        assert any(one.dx for one in draws)
        assert any(one.erase for one in draws)


# --- The rows of tables ---


def gilt(*rows: tuple[float, float]) -> dict[str, Any]:
    """The weights of global, foreground, concat and parts."""
    return {"gilt": dict(zip(("global", "foreground", "concat", "parts"), rows, strict=True))}


PARTS_ALONE = {"test": ("parts",)}
BPBREID: dict[str, dict[str, Any]] = {
    "1-resnet50": {},
    "1-resnet50-ibn": {"backbone": "resnet50_ibn_a"},
    "1-hrnet": {"backbone": "hrnet_w32"},
    "1-holistic": {"parts": "five_v"},
    "code": {"foreground": "grid", "visibility": "argmax", "on_empty": "max+1"},
    "code-market": gilt(ID, BOTH, ID, TRI)
    | {"parts": "five_v", "foreground": "grid", "visibility": "argmax", "on_empty": "max+1"},
    "2-full": {},
    "2-fixed-attention": {"attention": "fixed"},
    "2-no-visibility": {"visibility": "none"},
    "2-triplet-per-part": {"triplet": "per-part"},
    "3-global": {"parts": 6, "test": ("global",)},
    "3-foreground": {"parts": 6, "test": ("foreground",)},
    "3-concat": {"parts": 6, "test": ("concat",)},
    "3-head": {"parts": 6, "test": ("head",)},
    "3-torso": {"parts": 6, "test": ("torso",)},
    "3-left_arm": {"parts": 6, "test": ("left_arm",)},
    "3-right_arm": {"parts": 6, "test": ("right_arm",)},
    "3-legs": {"parts": 6, "test": ("legs",)},
    "3-feet": {"parts": 6, "test": ("feet",)},
    "3-parts": {"parts": 6, "test": ("parts",)},
    "3-foreground-parts": {"parts": 6},
    "4-gilt": {},
    "4-both-everywhere": gilt(BOTH, BOTH, BOTH, BOTH),
    "4-identity-on-parts-too": gilt(ID, ID, ID, BOTH),
    "4-triplet-on-holistic-too": gilt(BOTH, BOTH, BOTH, TRI),
    "4-identity-everywhere": gilt(ID, ID, ID, ID),
    "4-triplet-everywhere": gilt(TRI, TRI, TRI, TRI),
    "4-turned-round": gilt(TRI, TRI, TRI, ID),
    "4-identity-without-global": gilt(OFF, ID, ID, TRI),
    "4-identity-without-foreground": gilt(ID, OFF, ID, TRI) | PARTS_ALONE,
    "4-identity-without-concat": gilt(ID, ID, OFF, TRI),
    "4-identity-on-global": gilt(ID, OFF, OFF, TRI) | PARTS_ALONE,
    "4-identity-on-foreground": gilt(OFF, ID, OFF, TRI),
    "4-identity-on-concat": gilt(OFF, OFF, ID, TRI) | PARTS_ALONE,
    "4-identity-on-holistic-alone": gilt(ID, ID, ID, OFF),
}
PCB: dict[str, dict[str, Any]] = {
    "pcb": {},
    "pcb-own-reductions": {"shared": False, "test": "reduced"},
    "identity-on-parts": {"gilt": {"global": OFF, "concat": OFF, "parts": ID}, "test": "parts"},
    "gilt": {"gilt": {"global": OFF, "concat": ID, "parts": TRI}, "test": "parts"},
    "gilt-with-global": {"gilt": {"global": ID, "concat": ID, "parts": TRI}, "test": "parts"},
    "both-everywhere": {"gilt": {"global": BOTH, "concat": BOTH, "parts": BOTH}, "test": "parts"},
}


def differences(row: Any) -> dict[str, Any]:
    """What of a configuration is not as by default."""
    own, default = ({field.name: getattr(one, field.name) for field in fields(row)} for one in (row, type(row)()))
    return {name: value for name, value in own.items() if value != default[name]}


@pytest.mark.parametrize(("rows", "told"), [(bpbreid.ROWS, BPBREID), (pcb.ROWS, PCB)], ids=["bpbreid", "pcb"])
def test_rows_differ_from_the_default_in_what_their_names_say(rows: dict[str, Any], told: dict[str, Any]) -> None:
    assert {name: differences(row) for name, row in rows.items()} == told


# --- The small tier ---

SHARED: dict[str, Any] = {"height": 192, "width": 96, "people": 16, "images": 4, "optimiser": "adam", "bias_lr": 1.0}
FALL: dict[str, Any] = {"warmup": 1, "schedule": "cosine", "flat": 0, "final": 0.002, "speeds": (), "nesterov": False}
HALVES = (
    ("backbone.network.blocks", 0.5),
    ("decoder", 0.5),
    ("teacher.top", 0.5),
    ("teacher.trunk.network.blocks", 0.5),
    ("teacher.purifier.policy", 0.1),
)


@pytest.mark.parametrize("name", METHODS)
def test_in_the_mini_tier_all_methods_learn_in_the_same_way(name: str) -> None:
    method = METHODS[name]
    assert in_tier(method, "full") == (method.config(), method.recipe)
    config, recipe = in_tier(method, "mini")
    transformer = name in ("vit", "tsd", "ogfr")
    backbone = "vit_tiny_lite0_s16_224" if transformer else "tf_efficientnet_lite0"
    waiting = {"agent": Agent(warmup=30)} if name == "ogfr" else {}
    assert config == replace(method.config(), backbone=backbone, **waiting)
    steps: dict[str, Any] = {"epochs": 8, "speeds": HALVES} if transformer else {"epochs": 5}
    assert recipe == replace(method.recipe, lr=3e-3, **{**SHARED, **FALL, **steps})


def test_C10_rates_of_the_mini_tier() -> None:
    recipe = in_tier(METHODS["bot"], "mini")[1]
    at = [learning_rate(recipe, epoch) for epoch in (0, 0.5, 1, 3, 5)]
    assert at == pytest.approx([3e-4, 1.65e-3, 3e-3, 3e-3 * 0.501, 6e-6])
