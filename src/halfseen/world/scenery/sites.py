"""A place as one camera sees it: what each line of sight meets, and how much of it a pixel spans.

Lengths are in metres: u along the wall of the place, y up, v beyond a line that people do not cross (they are below 0).
The place is turned against the camera about the corner of the people's area that is nearest to the wall.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from halfseen.world.cameras import FRAME, Camera, place
from halfseen.world.scenery.canvas import Spots
from halfseen.world.scenery.places import PLACES, Place, Row

U, Y, V = range(3)
SKY_AWAY = 100.0  # metres to what is painted as sky
NEVER = 1e4


class Seen(IntEnum):
    """What a pixel of an empty frame shows, standing things aside."""

    FLOOR = 0
    WALL = 1  # behind, across the picture
    LEFT = 2
    RIGHT = 3
    CEILING = 4
    SKY = 5


@dataclass(frozen=True)
class Card:
    """A thing of the row `kind`, painted flat, with its middle `u` metres along."""

    kind: Row
    u: float
    seed: int


@dataclass(frozen=True)
class Site:
    """`eye`: where the camera is; `turn`: radians; `sides`: where the left and right wall are (u); `light`: the
    direction to the sun, of length 1; `cards`: what stands about, the farthest first."""

    camera: Camera
    place: Place
    seed: int
    eye: tuple[float, float, float]
    turn: float
    sides: tuple[float, float]
    light: tuple[float, float, float]
    cards: tuple[Card, ...] = ()

    def turned(self, right: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor]:
        """A direction of the camera's floor as u and v."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        return right * cos + ahead * sin, ahead * cos - right * sin


@dataclass(frozen=True)
class Rays:
    """n lines of sight from `eye`: `way` [3,n] is where they go for each metre along the camera's axis; that of the
    next pixel to the right, or below, goes `right`, or `down`, further."""

    eye: tuple[float, float, float]
    way: Tensor
    right: tuple[float, float, float]
    down: tuple[float, float, float]

    def __getitem__(self, rows: Tensor) -> Rays:
        return replace(self, way=self.way[:, rows])

    def mirrored(self, blur: float) -> Rays:
        """As a floor throws them back, `blur` times as wide: from an eye below it."""
        flip = self.way.new_tensor([1.0, -1.0, 1.0])[:, None]
        u, y, v = self.eye
        right, down = ((blur * a, -blur * b, blur * c) for a, b, c in (self.right, self.down))
        return Rays((u, -y, v), self.way * flip, right, down)

    def at(self, depth: Tensor) -> Tensor:
        """[3,n]: where they are after `depth` [n] metres along the camera's axis."""
        return self.way * depth + self.way.new_tensor(self.eye)[:, None]

    def spots(self, point: Tensor, depth: Tensor, axes: tuple[int, int], normal: int) -> Spots:
        """`point` [3,n] of a plane across the axis `normal`, painted along two `axes`."""
        spans = []
        for axis in axes:
            steps = [
                step[axis] - self.way[axis] * (step[normal] / self.way[normal]) for step in (self.right, self.down)
            ]
            spans.append(depth * torch.hypot(*steps))
        return Spots(point[axes[0]], point[axes[1]], *spans)


def site(camera: Camera, seed: int) -> Site:
    """The place that `camera` watches; what is left to chance there depends on `seed`."""
    here = PLACES[camera.scene]
    turn = math.radians(here.turn)
    cos, sin = math.cos(turn), math.sin(turn)
    corner, _ = place(camera, camera.far, -math.copysign(1, turn))

    def moved(x: float, ahead: float) -> tuple[float, float]:
        return x * cos + ahead * sin, ahead * cos - x * sin

    ends = [place(camera, ahead, aside) for ahead in (camera.near, camera.far) for aside in (-1, 1)]
    along = [moved(x - corner, -z - camera.far)[0] for x, z in ends]
    x, y, z = (part / math.hypot(*camera.light) for part in camera.light)
    light_u, light_v = moved(x, -z)
    eye_u, eye_v = moved(-corner, -camera.far)
    sides = (min(along) - here.beside, max(along) + here.beside)
    bare = Site(camera, here, seed % 2**31, (eye_u, camera.height, eye_v), turn, sides, (light_u, y, light_v))
    return replace(bare, cards=tuple(_cards(bare)))


def rays(here: Site, height: int, device: torch.device | str = "cpu") -> Rays:
    """Through the middles of the pixels of a frame `height` pixels high, row by row."""
    width = round(height * FRAME[1] / FRAME[0])
    focal = here.camera.focal * height
    sin, cos = math.sin(here.camera.pitch), math.cos(here.camera.pitch)
    down = ((torch.arange(height, device=device) - (height - 1) / 2) / focal)[:, None].expand(-1, width).flatten()
    right = ((torch.arange(width, device=device) - (width - 1) / 2) / focal).repeat(height)
    u, v = here.turned(right, cos - down * sin)
    turn_cos, turn_sin = math.cos(here.turn) / focal, math.sin(here.turn) / focal
    return Rays(
        here.eye,
        torch.stack([u, -sin - down * cos, v]),
        right=(turn_cos, 0.0, -turn_sin),
        down=(-sin * turn_sin, -cos / focal, -sin * turn_cos),
    )


def met(here: Site, sight: Rays) -> tuple[Tensor, Tensor]:
    """What each line of sight meets first: a number of `Seen` [n], and after how many metres along the axis [n]."""
    (u, y, v), tall = sight.eye, here.place.tall
    walls = [_reach(sight.way[V], here.place.behind - v)]
    walls += [_reach(sight.way[U], side - u) for side in here.sides]
    walls = [torch.where(y + sight.way[Y] * depth <= tall, depth, NEVER) for depth in walls]
    ceiling = _reach(sight.way[Y], tall - y) if here.place.indoors else torch.full_like(walls[0], NEVER)
    floor = _reach(sight.way[Y], -y) if y > 0 else torch.full_like(ceiling, NEVER)
    depth, which = torch.stack([floor, *walls, ceiling]).min(0)
    return torch.where(depth < NEVER, which, int(Seen.SKY)), depth


def _reach(way: Tensor, distance: float) -> Tensor:
    """After how many steps of `way` [n] the `distance` is covered."""
    steps = distance / torch.where(way == 0, 1e-9, way)
    return torch.where(steps > 0, steps, NEVER)


def block(here: Site, card: Card, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """The rows and columns of a frame of `size` in which `card` (and what the floor mirrors of it) is, if any."""
    height, width = size
    low = -card.kind.tall if here.place.gloss else 0.0
    ends = [(u, y) for u in (-card.kind.half, card.kind.half) for y in (low, card.kind.tall)]
    corners = [_pixel(here, card.u + u, y, card.kind.behind, size) for u, y in ends]
    across, down = zip(*corners, strict=True)
    rows = slice(max(math.floor(min(down)), 0), min(math.ceil(max(down)) + 1, height))
    columns = slice(max(math.floor(min(across)), 0), min(math.ceil(max(across)) + 1, width))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _pixel(here: Site, u: float, y: float, v: float, size: tuple[int, int]) -> tuple[float, float]:
    """Where a point of the place is seen in a frame of `size`: x and y in pixels."""
    cos, sin = math.cos(here.turn), math.sin(here.turn)
    u, y, v = u - here.eye[U], y - here.eye[Y], v - here.eye[V]
    right, ahead = u * cos - v * sin, v * cos + u * sin
    pitch_cos, pitch_sin = math.cos(here.camera.pitch), math.sin(here.camera.pitch)
    depth = max(ahead * pitch_cos - y * pitch_sin, 0.1)
    down = -y * pitch_cos - ahead * pitch_sin
    focal = here.camera.focal * size[0]
    return right / depth * focal + (size[1] - 1) / 2, down / depth * focal + (size[0] - 1) / 2


def _cards(here: Site) -> list[Card]:
    """All things of a place that may be in the picture, the farthest first."""
    cards = []
    for number, kind in enumerate(sorted(here.place.clutter, key=lambda row: -row.behind)):
        dice = random.Random(f"{here.camera.name} {here.seed} {number}")
        low, high = _extent(here, kind)
        if 2 * kind.half > high - low:  # long ones need not fit in
            cards.append(Card(kind, (low + high) / 2, dice.randrange(2**20)))
            continue
        for count in range(math.ceil(low / kind.step), math.floor(high / kind.step) + 1):
            u = count * kind.step + dice.uniform(-0.5, 0.5) * max(kind.step - 2 * kind.half, 0.1)
            if dice.random() < kind.often:
                cards.append(Card(kind, u, dice.randrange(2**20)))
    return cards


def _extent(here: Site, kind: Row) -> tuple[float, float]:
    """From where to where (u) things of a row may stand: in sight of the camera and between the side walls."""
    (eye_u, _, eye_v), half_width = here.eye, 1.15 * FRAME[1] / (2 * FRAME[0] * here.camera.focal)
    cos, sin = math.cos(here.turn), math.sin(here.turn)
    ends = []
    for right in (-half_width, half_width):
        slope = (right * cos + sin) / max(cos - right * sin, 0.05)
        ends.append(eye_u + slope * (kind.behind - eye_v))
    room = min(kind.half, 3.0)  # what is longer may end in a wall
    return max(ends[0] - room, here.sides[0] + room), min(ends[1] + room, here.sides[1] - room)
