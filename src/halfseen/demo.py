"""A benchmark drawn in memory, to try everything on a machine that has nothing: figures in coloured clothes.

Nobody is real and no network is used: an image is described by the mean colours of its parts, which `ops.parts` finds
from the figure's known joints. That is enough to see what the protocols measure and what visible parts are worth.
Clothes repeat across people on purpose: only their combination tells who it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from halfseen import printing
from halfseen.data.embeddings import Encoded, save_encoded
from halfseen.data.images import save_image
from halfseen.data.variants import paste
from halfseen.evaluate import evaluate, reranked
from halfseen.ops.distance import Distance, Single, VisibleParts
from halfseen.ops.groupings import GROUPINGS
from halfseen.ops.parts import fields, group, hide, visibility
from halfseen.ops.pooling import pool
from halfseen.ops.rerank import KReciprocal
from halfseen.types import Embedding, Facts, InputError, Occluder, Occlusion, Progress

HEIGHT, WIDTH = 128, 64
GRID = (64, 32)
CAMERAS, LOOKS = 4, 3  # each person walks past each camera and is seen there so many times
MOST = 10_000  # people that fit the memory of a large machine
SEEN = 0.35  # a part is visible if its map reaches this

# joints of a standing figure, COCO order, as fractions of the image: x, y
STANDING = torch.tensor(
    [[.50, .10], [.52, .085], [.48, .085], [.55, .10], [.45, .10], [.64, .22], [.36, .22], [.70, .36], [.30, .36],
     [.72, .49], [.28, .49], [.58, .50], [.42, .50], [.59, .71], [.41, .71], [.60, .91], [.40, .91]]
)  # fmt: skip
NECK, PELVIS, CROWN, CHIN = 17, 18, 19, 20  # points that painting adds to the joints
# limbs to draw, from the back to the front: two points, radius as a fraction of the width, garment
LIMBS = (
    (11, 13, .085, 2), (12, 14, .085, 2), (13, 15, .07, 3), (14, 16, .07, 3), (15, 15, .075, 6), (16, 16, .075, 6),
    (NECK, CHIN, .06, 5), (11, 12, .11, 2), (7, 9, .05, 4), (8, 10, .05, 4), (5, 7, .07, 1), (6, 8, .07, 1),
    (5, 6, .09, 1), (5, 11, .10, 1), (6, 12, .10, 1), (NECK, PELVIS, .14, 1),
    (CROWN, CROWN, .115, 0), (CHIN, CHIN, .09, 5),
)  # fmt: skip
GARMENTS = 7  # hair, top, thighs, shins, forearms, face, shoes
WARDROBE = 6  # how many colours each garment comes in


@dataclass(frozen=True)
class Drawn:
    """Figures: `images` uint8 [N,3,H,W], `keypoints` [N,17,3], `hidden` bool [N,H,W] and who and how in `facts`."""

    images: Tensor
    keypoints: Tensor
    hidden: Tensor
    facts: Facts


def draw_benchmark(people: int, seed: int) -> tuple[Drawn, Drawn]:
    """Query and gallery; in each a third is hidden by things, a third by passers-by, and a third not at all."""
    if not 2 <= people <= MOST:
        raise InputError(f"{people} people cannot be drawn and told apart; draw 2 to {MOST:,}")
    dice = torch.Generator().manual_seed(seed % 2**63)
    pids, camids, looks = (
        grid.flatten() for grid in torch.meshgrid(*map(torch.arange, (people, CAMERAS, LOOKS)), indexing="ij")
    )
    keypoints = _pose(len(pids), dice)
    images = _paint(keypoints, _dress(people, dice)[pids], _light(dice)[camids], dice)
    occlusion = torch.tensor([Occlusion.HOLISTIC, Occlusion.NPO, Occlusion.NTP])[(pids + camids + looks) % 3]
    images, hidden = _occlude(images, pids, occlusion, dice)
    drawn = Drawn(images, keypoints, hidden, Facts(pids, camids, occlusion))
    asked = (looks == 0) & (camids % 2 == 0)
    return _rows(drawn, asked), _rows(drawn, ~asked)


def describe(drawn: Drawn) -> Embedding:
    """Mean and spread of the colours of the whole picture and of eight parts: [N,9,6]."""
    maps = group(fields(drawn.keypoints, (HEIGHT, WIDTH), GRID), GROUPINGS["eight"])
    seen = hide(maps, drawn.hidden)
    everywhere = seen.new_ones(len(seen), 1, *GRID)
    colours = torch.nn.functional.interpolate(drawn.images.float() / 255, GRID, mode="area")
    weights = torch.cat([everywhere, seen.square()], dim=1)
    mean = pool(colours, weights, "mask")
    spread = (pool(colours.square(), weights, "mask") - mean.square()).clamp(min=0).sqrt()
    middle = mean[:, 1:].mean((0, 1))
    shown = (visibility(seen) > SEEN).float()
    return Embedding(torch.cat([mean - middle, spread], dim=2), torch.cat([torch.ones(len(seen), 1), shown], dim=1))


def run_demo(people: int, seed: int, out: Path | None) -> None:
    """Draw, describe, score in several ways, print."""
    query, gallery = draw_benchmark(people, seed)
    sides = [Encoded(describe(drawn), drawn.facts) for drawn in (query, gallery)]
    printing.print_line(
        f"{people} people drawn (seed {seed}): {len(query.facts)} queries, {len(gallery.facts)} gallery images, "
        f"{CAMERAS} cameras, two in three hidden by a thing (NPO) or a passer-by (NTP)."
    )
    printing.print_line("No network here: an image is described by the mean colours of its parts.\n")
    rows: list[list[str]] = []
    with printing.progress_bar("scoring") as progress:
        for what, distance, choose in WAYS:
            rows += _score(what, distance, [choose(side) for side in sides], progress)
    columns = ("matching", "protocol", "mAP", "mINP", *(f"R{r}" for r in printing.RANKS), "queries", "pos.")
    printing.print_table("Scores in per cent", columns, rows, words=2)
    if out:
        _save(out, query, gallery, sides)


def _whole(side: Encoded) -> Encoded:
    return Encoded(_parts(side.embedding, slice(0, 1)), side.facts)


def _all_parts(side: Encoded) -> Encoded:
    parts = _parts(side.embedding, slice(1, None))
    return Encoded(Embedding(parts.vectors, torch.ones_like(parts.visibility)), side.facts)


def _visible_parts(side: Encoded) -> Encoded:
    return Encoded(_parts(side.embedding, slice(1, None)), side.facts)


def _parts(embedding: Embedding, parts: slice) -> Embedding:
    return Embedding(embedding.vectors[:, parts], embedding.visibility[:, parts])


WAYS: tuple[tuple[str, Distance | KReciprocal, Callable[[Encoded], Encoded]], ...] = (
    ("whole picture", Single("unit-euclid"), _whole),
    ("all parts", VisibleParts(), _all_parts),
    ("visible parts", VisibleParts(), _visible_parts),
    ("re-ranked", reranked(VisibleParts()), _visible_parts),
)


def _score(what: str, distance: Distance | KReciprocal, sides: list[Encoded], progress: Progress) -> list[list[str]]:
    scores = evaluate(*sides, distance=distance, progress=progress)
    cells = [printing.score_row(name, score) for name, score in scores.items()]
    return [[what if i == 0 else "", *row[:-2], row[-1]] for i, row in enumerate(cells)]  # no query is ever skipped


def _save(out: Path, query: Drawn, gallery: Drawn, sides: list[Encoded]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made: {error.strerror}; choose another folder") from error
    for name, side in zip(("query", "gallery"), sides, strict=True):
        save_encoded(out / f"{name}.safetensors", _visible_parts(side))
    save_image(out / "people.png", contact_sheet(query.images, gallery.images))
    printing.print_line(
        f"\nwrote {out}/query.safetensors, gallery.safetensors and people.png; now try\n"
        f"halfseen evaluate --query {out}/query.safetensors --gallery {out}/gallery.safetensors"
    )


def contact_sheet(*images: Tensor, columns: int = 16, rows: int = 3) -> Tensor:
    """The first pictures of each batch [N,3,H,W], `rows` rows of each → uint8 [3,·,·]."""
    picked = torch.cat([batch[: columns * rows] for batch in images])
    picked = picked[: len(picked) // columns * columns] if len(picked) >= columns else picked
    columns = min(columns, len(picked))
    framed = torch.nn.functional.pad(picked, (2, 2, 2, 2), value=255)
    lines = [torch.cat(list(line), dim=2) for line in torch.split(framed, columns)]
    return torch.cat(lines, dim=1)


def _rows(drawn: Drawn, rows: Tensor) -> Drawn:
    return Drawn(drawn.images[rows], drawn.keypoints[rows], drawn.hidden[rows], drawn.facts[rows.nonzero()[:, 0]])


def _dress(people: int, dice: torch.Generator) -> Tensor:
    """Colours [people,garments,3]; shins are as often of the trousers' colour as bare, forearms likewise."""
    wardrobe = torch.rand(GARMENTS, WARDROBE, 3, generator=dice)
    skin = torch.tensor([0.87, 0.68, 0.55]) * (0.45 + 0.55 * torch.rand(people, 1, generator=dice))
    choice = torch.randint(0, WARDROBE, (people, GARMENTS), generator=dice)
    worn = wardrobe[torch.arange(GARMENTS), choice]
    bare = torch.rand(people, 2, 1, generator=dice) < 0.5
    worn[:, 3] = torch.where(bare[:, 0], skin, worn[:, 2])
    worn[:, 4] = torch.where(bare[:, 1], skin, worn[:, 1])
    worn[:, 5] = skin
    worn[:, 0] *= 0.5
    return worn


def _light(dice: torch.Generator) -> Tensor:
    """Each camera's colour cast [cameras,3]."""
    return 0.85 + 0.3 * torch.rand(CAMERAS, 3, generator=dice)


def _pose(count: int, dice: torch.Generator) -> Tensor:
    """Keypoints [count,17,3]: steps, swinging arms, and boxes that sit a little off."""
    points = STANDING.repeat(count, 1, 1)
    stride = (torch.rand(count, 1, generator=dice) - 0.5) * 0.22
    points[:, [13, 15], 0] += stride * torch.tensor([0.5, 1.0])
    points[:, [14, 16], 0] -= stride * torch.tensor([0.5, 1.0])
    points[:, [7, 9], 0] -= stride * torch.tensor([0.3, 0.8])
    points[:, [8, 10], 0] += stride * torch.tensor([0.3, 0.8])
    points += (torch.rand(count, 1, 2, generator=dice) - 0.5) * torch.tensor([0.12, 0.04])
    points *= torch.tensor([WIDTH, HEIGHT])
    return torch.cat([points - 0.5, torch.ones(count, 17, 1)], dim=2)


def _paint(keypoints: Tensor, colours: Tensor, light: Tensor, dice: torch.Generator) -> Tensor:
    """uint8 images [N,3,H,W] of figures in `colours` [N,garments,3] under `light` [N,3]."""
    count = len(keypoints)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    at = torch.stack([x, y], dim=-1).float()
    wall, floor = (0.25 + 0.5 * torch.rand(2, count, 3, 1, 1, generator=dice)).unbind()
    image = torch.where(y > 0.8 * HEIGHT, floor, wall * (1.1 - 0.4 * y / HEIGHT))
    points = torch.cat([keypoints[..., :2], _added_points(keypoints[..., :2])], dim=1)
    for first, second, radius, garment in LIMBS:
        a, b = (points[:, point, None, None] for point in (first, second))
        along = b - a
        share = ((at - a) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)
        away = (at - a - share.clamp(0, 1)[..., None] * along).norm(dim=-1) / (radius * WIDTH)
        shade = (1.08 - 0.22 * away.square()).clamp(min=0.5)[:, None]
        cover = ((1 - away) * radius * WIDTH).clamp(0, 1)[:, None]
        image = image * (1 - cover) + colours[:, garment, :, None, None] * shade * cover
    image = image * light[:, :, None, None] + 0.02 * torch.randn(image.shape, generator=dice)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _added_points(joints: Tensor) -> Tensor:
    """NECK, PELVIS, CROWN and CHIN [N,4,2] of `joints` [N,17,2]."""
    neck, pelvis, nose = joints[:, [5, 6]].mean(1), joints[:, [11, 12]].mean(1), joints[:, 0]
    down = nose.new_tensor([0.0, 0.015 * HEIGHT])
    return torch.stack([neck, pelvis, nose - down, nose + down], dim=1)


def _occlude(images: Tensor, pids: Tensor, occlusion: Tensor, dice: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paste a thing or a passer-by, cut from another person's picture, where `occlusion` [N] says so."""
    things = (Occluder.TALL_LEFT, Occluder.TALL_RIGHT, Occluder.WIDE_TOP, Occluder.WIDE_BOTTOM)
    out, hidden = images.clone(), torch.zeros(len(images), HEIGHT, WIDTH, dtype=torch.bool)
    other = (pids + torch.randint(1, int(pids.max()) + 1, pids.shape, generator=dice)) % (pids.max() + 1)
    seeds = torch.randint(0, 2**31, pids.shape, generator=dice)
    sources = other * (CAMERAS * LOOKS) + seeds % (CAMERAS * LOOKS)
    for row in (occlusion != Occlusion.HOLISTIC).nonzero()[:, 0].tolist():
        seed = int(seeds[row])
        kind = Occluder.PEDESTRIAN if occlusion[row] == Occlusion.NTP else things[seed % len(things)]
        out[row], hidden[row] = paste(images[row], images[int(sources[row])], kind, seed)
    return out, hidden
