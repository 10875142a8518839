"""The empty frames of the cameras: floor, walls, sky and what stands about, in true perspective and light."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from halfseen.world.cameras import Camera
from halfseen.world.light.moments import COOL, WARM
from halfseen.world.scenery.canvas import Canvas, Spots, soft
from halfseen.world.scenery.sites import SKY_AWAY, Card, Rays, Seen, Site, U, V, Y, block, met, rays, site

BLUR = 7.0  # how much wider than a pixel what a polished floor mirrors is
# Which way the surfaces face (u, y, v) and along which axes they are painted; a plane has the axis left over.
FACING = {
    Seen.FLOOR: ((0, 1, 0), (U, V), Y), Seen.WALL: ((0, 0, -1), (U, Y), V), Seen.LEFT: ((1, 0, 0), (V, Y), U),
    Seen.RIGHT: ((-1, 0, 0), (V, Y), U), Seen.CEILING: ((0, -1, 0), (U, V), Y),
}  # fmt: skip


def paint(camera: Camera, seed: int, height: int, device: torch.device | str = "cpu") -> Tensor:
    """The empty frame of `camera` [3,height,width], 0..1 as on a screen, before what the camera itself does to it."""
    here = site(camera, seed)
    sight = rays(here, height, device)
    light = _surroundings(here, sight).reshape(3, height, -1)
    for card in here.cards:
        _stand(light, here, sight, card)
    light = light / (1 + (light / 1.1).pow(4)).pow(0.25)  # what is too bright fades out slowly
    return _softened(light.clamp(0, 1).sqrt())


def _surroundings(here: Site, sight: Rays) -> Tensor:
    """[3,n]: the light that comes from floor, walls, ceiling and sky."""
    which, depth = met(here, sight)
    light = torch.zeros_like(sight.way)
    for kind in Seen:
        rows = (which == kind).nonzero()[:, 0]
        if len(rows):
            light[:, rows] = (
                _sky(here, sight[rows]) if kind == Seen.SKY else _surface(here, sight[rows], depth[rows], kind)
            )
    return light


def _sky(here: Site, sight: Rays) -> Tensor:
    u = SKY_AWAY * torch.atan2(sight.way[U], sight.way[V])
    span = torch.full_like(u, SKY_AWAY * math.hypot(*sight.right))
    canvas = Canvas(Spots(u, SKY_AWAY * sight.way[Y] / torch.hypot(sight.way[U], sight.way[V]), span, span))
    here.place.above(canvas, here.seed)
    return canvas.colour.square()


def _surface(here: Site, sight: Rays, depth: Tensor, kind: Seen) -> Tensor:
    """[3,n]: the light that comes from the points of one surface `depth` [n] metres away."""
    place = here.place
    facing, axes, normal = FACING[kind]
    point = sight.at(depth)
    canvas = Canvas(sight.spots(point, depth, axes, normal))
    painter = {Seen.FLOOR: place.floor, Seen.WALL: place.wall, Seen.CEILING: place.above}.get(kind, place.side)
    painter(canvas, here.seed * 16 + kind)
    light = _lit(here, canvas, point, [torch.full_like(depth, part) for part in facing])
    if axes[1] == Y:
        return light * (1 - 0.4 * (-point[Y] / 0.5).exp())  # little sky is seen from a wall's foot
    if kind == Seen.CEILING:
        return light
    corner = torch.stack([place.behind - point[V], point[U] - here.sides[0], here.sides[1] - point[U]]).amin(0)
    light = light * (1 - 0.4 * (-corner.clamp(min=0) / 0.5).exp()) * _shadows(here, point)
    return light + _gleam(here, sight) if place.gloss else light


def _lit(here: Site, canvas: Canvas, point: Tensor, normal: Sequence[Tensor]) -> Tensor:
    """[3,n]: what is painted at `point` [3,n], in the light of the place; `normal`: its three parts, each [n]."""
    u, y, v = here.light
    fall = point[Y].abs() / max(y, 0.25)  # what hides the sun from a point hides it from where its sunbeam would end
    floor = Spots(point[U] - fall * u, point[V] - fall * v, canvas.at.du, canvas.at.dv)
    towards = (normal[U] * u + normal[Y] * y + normal[V] * v).clamp(min=0)
    sun = here.camera.sun * here.place.shade(floor, here.seed) * towards
    sky = here.camera.sky * (0.8 + 0.2 * normal[Y]) + 0.12 * here.camera.sun * y  # some is thrown back by the floor
    warm, cool = (sun.new_tensor(tone)[:, None] for tone in (WARM, COOL))
    light = torch.lerp(sun * warm + sky * cool, torch.ones_like(warm), canvas.glow)
    return canvas.colour.square() * light


def _gleam(here: Site, sight: Rays) -> Tensor:
    """[3,n]: what a polished floor mirrors, the more the flatter one looks at it."""
    steep = -sight.way[Y] / (sight.way * sight.way).sum(0).sqrt()
    return here.place.gloss * (0.2 + 0.8 * (1 - steep).pow(3)) * _surroundings(here, sight.mirrored(BLUR))


def _shadows(here: Site, point: Tensor) -> Tensor:
    """[n] by what the floor's light is to be multiplied at `point` [3,n]: at the feet of things and behind them."""
    u, y, v = here.light
    dark = torch.ones_like(point[0])
    rows = (point[V] > -3).nonzero()[:, 0]
    for card in here.cards:
        kind = card.kind
        long = min(0.7 * kind.tall, 3.0) / max(y, 0.3)
        to_u, to_v = -u * long, -v * long
        away = point[U, rows] - card.u
        away = away - away.clamp(-0.8 * kind.half, 0.8 * kind.half)
        back = point[V, rows] - kind.behind
        share = ((away * to_u + back * to_v) / (to_u**2 + to_v**2 + 1e-6)).clamp(0, 1)
        near = torch.hypot(away - share * to_u, back - share * to_v)
        width = 0.25 + 0.3 * (1 - here.camera.hardness) * share
        cast = (0.35 + 0.35 * here.camera.hardness) * (1 - 0.5 * share) * (1 - soft(0, 1, near / width - 0.3))
        dark[rows] *= 1 - cast
    return dark


def _stand(light: Tensor, here: Site, sight: Rays, card: Card) -> None:
    """Paint a card, and what a polished floor mirrors of it, into `light` [3,h,w]."""
    place, kind = here.place, card.kind
    found = block(here, card, (light.shape[1], light.shape[2]))
    if found is None:
        return
    old = light[:, found[0], found[1]]
    part = Rays(here.eye, sight.way.reshape(light.shape)[:, found[0], found[1]].flatten(1), sight.right, sight.down)
    depth = ((kind.behind - here.eye[V]) / part.way[V]).clamp(min=0.1)
    point = part.at(depth)
    under = point[Y] < 0
    at = part.spots(point, depth, (U, Y), V)
    wide = torch.where(under, BLUR, 1.0)
    canvas = Canvas(Spots(at.u - card.u, at.v.abs(), at.du * wide, at.dv * wide))
    kind.draw(canvas, card.seed)
    side = 0.95 * canvas.side
    seen = _lit(here, canvas, point, [side, torch.full_like(side, 0.2), -(0.96 - side.square()).clamp(min=0).sqrt()])
    cover = canvas.cover * torch.where(under, 0.7 * place.gloss * (point[Y] / 1.5).exp(), 1.0)
    light[:, found[0], found[1]] = torch.lerp(old, seen.reshape_as(old), cover.reshape(old.shape[1:]))


def _softened(picture: Tensor) -> Tensor:
    """`picture` [3,h,w] through a lens that is not quite sharp."""
    row = F.pad(picture[None], (1, 1, 0, 0), mode="replicate")
    picture = 0.16 * row[..., :-2] + 0.68 * row[..., 1:-1] + 0.16 * row[..., 2:]
    column = F.pad(picture, (0, 0, 1, 1), mode="replicate")
    return (0.16 * column[..., :-2, :] + 0.68 * column[..., 1:-1, :] + 0.16 * column[..., 2:, :])[0]
