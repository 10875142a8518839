"""What is to be rendered: one Shot for each picture, decided by a seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, replace
from enum import IntEnum, StrEnum
from itertools import cycle

from halfseen.types import InputError, Occlusion
from halfseen.world.bodies.poses import Activity
from halfseen.world.cameras import FRAME, Camera
from halfseen.world.dice import Dice
from halfseen.world.people import Person


class Thing(IntEnum):
    """What may stand in front of a person."""

    NONE = 0
    POLE = 1
    CAR = 2
    BUSH = 3
    BOARD = 4
    BICYCLE = 5
    TABLE = 6
    LUGGAGE = 7
    TREE = 8


@dataclass(frozen=True)
class Stance:
    """Somebody somewhere: turned by `yaw` radians (0 faces the camera), in a `phase` 0..1 of an activity; `style` are
    eight numbers 0..1 in which people and moments differ."""

    person: Person
    activity: Activity
    phase: float
    yaw: float
    style: tuple[float, ...]


@dataclass(frozen=True)
class Shot:
    """All that decides one picture.

    `camera`: index into the cameras; the person stands `ahead` metres before it and `aside` (−1..1) of the floor's
    width there. `occlusion` says whether a `thing` (NPO) or the `passer` (NTP) stands in front, which shall cover
    `covered` (0..1) of the body. `jitter`: how far the four edges (left, top, right, bottom) of the box lie off, in its
    width and height, positive is outwards. `keep`: the share of the box's height that is kept from its top (1: all).
    `light`: four numbers −1..1 by which the light of the moment differs. `seed`: noise and what else is left to chance.
    """

    pid: int
    camera: int
    stance: Stance
    ahead: float
    aside: float
    occlusion: Occlusion
    thing: Thing
    passer: Stance | None
    covered: float
    jitter: tuple[float, float, float, float]
    keep: float
    light: tuple[float, float, float, float]
    seed: int


class Role(StrEnum):
    """What a picture is for."""

    TRAIN = "train"
    QUERY = "query"  # occluded
    GALLERY = "gallery"
    QUERY_HOLISTIC = "query_holistic"
    QUERY_PARTIAL = "query_partial"


FOLDERS = {role: role.value for role in Role} | {Role.TRAIN: "bounding_box_train", Role.GALLERY: "bounding_box_test"}

Kind = tuple[Role, Occlusion]
THINGS = tuple(thing for thing in Thing if thing is not Thing.NONE)

_HOLISTIC, _NPO, _NTP = Occlusion.HOLISTIC, Occlusion.NPO, Occlusion.NTP
# 9 holistic, 7 behind things, 4 behind people, each spread evenly: no 8 in a row without all three
TRAINING = tuple({"h": _HOLISTIC, "o": _NPO, "p": _NTP}[letter] for letter in "hohpohohphohophohohp")
MOST = 11 / 20  # of these are occluded
ROUND = 8  # pictures of a test person of which `plan` makes one query of each kind
EXTRAS = (_HOLISTIC, _NPO, _HOLISTIC, _NTP)  # further pictures of the gallery, in turn

ACTIVITIES = {
    Activity.WALK: 60, Activity.PHONE: 10, Activity.CARRY: 9, Activity.STAND: 8, Activity.TURN: 8,
    Activity.ARMS_CROSSED: 5,
}  # fmt: skip
STAYING = {Activity.STAND, Activity.TURN, Activity.ARMS_CROSSED}
# Ways to walk: the yaw and the share of a step that goes away from the camera and to its right.
HEADINGS = (
    (0.0, -1.0, 0.0), (math.pi, 1.0, 0.0), (math.pi / 2, 0.0, 1.0), (-math.pi / 2, 0.0, -1.0),
    (math.pi / 4, -0.7, 0.7), (-math.pi / 4, -0.7, -0.7), (3 * math.pi / 4, 0.7, 0.7), (-3 * math.pi / 4, 0.7, -0.7),
)  # fmt: skip
METRES, STRIDES = 0.05, 1 / 28  # that a walker makes in one frame (25 a second)
WIDEST = 0.8  # how far aside people pass


@dataclass(frozen=True)
class Setting:
    """What a world is asked to hold; `available` is the number of cameras there are.

    `images` is for each person, `height` and `width` are a picture's, `sharing` is `wardrobe.draw_people`'s, `covered`
    the least and the greatest share of a body that an occluder hides, `occluded` of the training pictures have one.
    """

    ids: int
    images: int
    cameras: int
    height: int = 256
    width: int = 128
    seed: int = 0
    sharing: float = 0.08
    covered: tuple[float, float] = (0.25, 0.65)
    occluded: float = 0.55
    available: InitVar[int] = 8

    def __post_init__(self, available: int) -> None:
        low, high = self.covered
        allowed = (
            (self.ids >= 4, f"{self.ids} people are too few: half are for training, a test needs 2; ask for 4 or more"),
            (self.images >= ROUND, f"{self.images} images per person are too few for a query of each kind that has "
             f"its positives in other cameras; ask for {ROUND} or more"),
            (self.cameras >= 2, f"{self.cameras} cameras are too few: people are to be found again in another one; "
             f"ask for 2 to {available}"),
            (self.cameras <= available, f"{self.cameras} cameras are more than there are; ask for 2 to {available}"),
            (32 <= self.height <= 1024 and 16 <= self.width <= 512, f"images of {self.height}x{self.width} "
             f"(height x width) cannot be drawn; ask for 32x16 to 1024x512"),
            (0 < self.sharing <= 0.5, f"a sharing of {self.sharing:g} is impossible; "
             f"ask for more than 0 and at most 0.5"),
            (0.05 <= low <= high <= 0.9, f"bodies cannot be covered from {low:g} to {high:g}; ask for two shares "
             f"between 0.05 and 0.9, the smaller first"),
            (0 <= self.occluded <= MOST, f"a share of {self.occluded:g} occluded is impossible; ask for 0 to {MOST:g}"),
        )  # fmt: skip
        for fine, sentence in allowed:
            if not fine:
                raise InputError(sentence)


@dataclass(frozen=True)
class Planned:
    """A picture to be: what it shows, what it is for, and its path in the set, in Market-1501's form."""

    shot: Shot
    role: Role
    name: str


def plan(setting: Setting, people: Sequence[Person], cameras: Sequence[Camera]) -> tuple[Planned, ...]:
    """Every picture of a set; the same arguments give the same plan.

    The first half of `people` (rounded up) is for training, the others for testing. Each walks past all cameras in an
    order and with headings of their own, and is pictured at each in turn, so that two pictures in a row are never of
    the same camera. For testing, each 8 pictures of a person in a row are, in this order,

        occluded query, NPO, holistic query, NTP, holistic, holistic, partial query, gallery

    (the last holistic, NPO, holistic or NTP in turn, and so are those left over by the eights; what is no query is
    gallery). Pictures next to each other have different cameras however many cameras there are. So with 8 images or
    more, each query of any kind has a holistic picture in another camera (of two in a row at most one is in its own),
    and each holistic query an NPO and an NTP one, its neighbours.
    """
    if len(people) != setting.ids or len(cameras) < setting.cameras:
        raise InputError(
            f"{len(people)} people and {len(cameras)} cameras were given to a plan of {setting.ids} people and "
            f"{setting.cameras} cameras; give as many people and no fewer cameras"
        )
    half = (setting.ids + 1) // 2
    things = {role: Dice("things", role, setting.seed).deck(THINGS) for role in Role}
    planned = []
    for row, person in enumerate(people):
        dice = Dice("plan", setting.seed, row)
        kinds = _train_kinds(dice, setting.images, setting.occluded) if row < half else _test_kinds(row, setting.images)
        others = [other for other in (people[:half] if row < half else people[half:]) if other is not person]
        walk = _walk(dice, row + 1, person, cameras[: setting.cameras], setting.images)
        for (frame, bare), (role, occlusion) in zip(walk, kinds, strict=True):
            shot = replace(
                bare,
                occlusion=occlusion,
                covered=0.0 if occlusion is _HOLISTIC else dice.between(*setting.covered),
                thing=next(things[role]) if occlusion is _NPO else Thing.NONE,
                passer=_passer(dice, others) if occlusion is _NTP else None,
                jitter=_jitter(dice),
                keep=dice.between(0.35, 0.75) if role is Role.QUERY_PARTIAL else 1.0,
                seed=dice.below(2**31),
            )
            name = f"{FOLDERS[role]}/{shot.pid:04d}_c{shot.camera + 1}s1_{frame:06d}_00.jpg"
            planned.append(Planned(shot, role, name))
    return tuple(planned)


def _train_kinds(dice: Dice, images: int, occluded: float) -> list[Kind]:
    first = dice.below(len(TRAINING))
    cards = [TRAINING[(first + card) % len(TRAINING)] for card in range(images)]
    hidden = [card for card, occlusion in enumerate(cards) if occlusion is not _HOLISTIC]
    for card in hidden[round(len(hidden) * occluded / MOST) :]:
        cards[card] = _HOLISTIC
    return [(Role.TRAIN, occlusion) for occlusion in dice.shuffled(cards)]


def _test_kinds(row: int, images: int) -> list[Kind]:
    extras = cycle(EXTRAS)
    kinds = []
    for number in range(images // ROUND):
        kinds += [
            (Role.QUERY, (_NPO, _NTP)[(row + number) % 2]),
            (Role.GALLERY, _NPO),
            (Role.QUERY_HOLISTIC, _HOLISTIC),
            (Role.GALLERY, _NTP),
            (Role.GALLERY, _HOLISTIC),
            (Role.GALLERY, _HOLISTIC),
            (Role.QUERY_PARTIAL, _HOLISTIC),
            (Role.GALLERY, next(extras)),
        ]
    return kinds + [(Role.GALLERY, next(extras)) for _ in range(images % ROUND)]


def _walk(dice: Dice, pid: int, person: Person, cameras: Sequence[Camera], images: int) -> list[tuple[int, Shot]]:
    """Frames and shots, with nobody and nothing in front, of a person who is pictured by each camera in turn."""
    order, headings = dice.shuffled(range(len(cameras))), dice.shuffled(HEADINGS)
    manner = Stance(person, Activity.WALK, 0.0, 0.0, _numbers(dice, 0, 1, 8))
    passages = []
    for turn, camera in enumerate(order):
        first = Shot(
            pid, camera, manner, ahead=0.0, aside=0.0, occlusion=_HOLISTIC, thing=Thing.NONE, passer=None, covered=0.0,
            jitter=(0.0, 0.0, 0.0, 0.0), keep=1.0, light=(0.0, 0.0, 0.0, 0.0), seed=0,
        )  # fmt: skip
        count = len(range(turn, images, len(order)))
        passages.append(_passage(dice, first, cameras[camera], headings[turn % len(headings)], count))
    return [passages[picture % len(order)][picture // len(order)] for picture in range(images)]


def _passage(
    dice: Dice, first: Shot, camera: Camera, heading: tuple[float, float, float], count: int
) -> list[tuple[int, Shot]]:
    """`count` pictures, some frames apart, of the person of `first` going by: one activity, direction and light."""
    turned, away, right = heading
    activity = dice.pick(ACTIVITIES)
    frame, gap = dice.below(900_000), 5 + dice.below(10)
    walking = 0.0 if activity in STAYING else gap * dice.between(0.85, 1.15)
    aspect, middle = FRAME[1] / FRAME[0], (camera.near + camera.far) / 2
    half_width = camera.spread * middle * aspect / (2 * camera.focal)
    ahead = _line(dice, (camera.near, camera.far), away * walking * METRES, count)
    aside = _line(dice, (-WIDEST, WIDEST), right * walking * METRES / half_width, count)
    yaw = _line(dice, (turned - 0.3, turned + 0.3), dice.between(-0.08, 0.08), count)
    phase, rate = dice.between(0, 1), (walking or gap / 4) * STRIDES
    light = _numbers(dice, -0.95, 0.95, 4)
    style = [0.7 * own + 0.3 * dice.between(0, 1) for own in first.stance.style]
    shots = []
    for number in range(count):
        stance = Stance(
            first.stance.person,
            activity,
            round((phase + number * rate) % 1, 4) % 1,
            yaw[number],
            tuple(round(0.9 * one + 0.1 * dice.between(0, 1), 4) for one in style),
        )
        sun, sky, tone, exposure = (round(one + dice.between(-0.05, 0.05), 4) for one in light)
        shot = replace(first, stance=stance, ahead=ahead[number], aside=aside[number], light=(sun, sky, tone, exposure))
        shots.append((frame + number * gap, shot))
    return shots


def _line(dice: Dice, ends: tuple[float, float], step: float, count: int) -> list[float]:
    """`count` places between `ends`, a `step` apart or, where there is no room for that, less."""
    low, high = ends
    way = max(low - high, min(high - low, step * (count - 1)))
    start = dice.between(low - min(way, 0.0), high - max(way, 0.0))
    places = (start + way * number / max(1, count - 1) for number in range(count))
    return [max(low, min(high, round(place, 4))) for place in places]


def _passer(dice: Dice, others: Sequence[Person]) -> Stance:
    heading, _, _ = HEADINGS[dice.below(len(HEADINGS))]
    return Stance(
        person=others[dice.below(len(others))],
        activity=dice.pick(ACTIVITIES),
        phase=dice.between(0, 0.9999),
        yaw=round(heading + dice.between(-0.3, 0.3), 4),
        style=_numbers(dice, 0, 1, 8),
    )


def _jitter(dice: Dice) -> tuple[float, float, float, float]:
    """As detectors' boxes lie: about right, sometimes loose, sometimes with a side, the feet or the head cut off."""
    left, top, right, bottom = (
        dice.between(*dice.pick({(-0.03, 0.03): 84, (0.03, 0.1): 10, (-0.12, -0.03): 6})) for _ in range(4)
    )
    return left, top, right, bottom


def _numbers(dice: Dice, low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(dice.between(low, high) for _ in range(count))
