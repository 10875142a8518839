"""What a camera makes of a scene: cloth and skin in the light, background, floor, and the finish of the sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from halfseen.world.cameras import Camera
from halfseen.world.light.fabrics import Materials, colours, materials, measured
from halfseen.world.light.finish import finish
from halfseen.world.light.floor import floor_light
from halfseen.world.light.moments import lights, sensors
from halfseen.world.light.raster import Hits, interpolate
from halfseen.world.light.shade import Light, folds, shade
from halfseen.world.light.shadows import ShadowMap, cast, lit
from halfseen.world.objects.things import thing_materials
from halfseen.world.plan import Shot
from halfseen.world.scenery.cutouts import crops, photo_crops
from halfseen.world.shapes import PARTS, SLOTS, Mesh, join
from halfseen.world.stage import Stage, chances
from halfseen.world.views import View, cropped

ANKLES = (15, 16)  # joints
SOFT = (
    0.01,
    0.06,
)  # metres over which a shadow's edge on a body fades: in the hardest light, and what softer light adds


@dataclass(frozen=True)
class World:
    """The cameras and their empty frames [C,3,h,w], painted once; `photos` (uint8 [3,·,·], each of its own size) take
    their place where there are some."""

    cameras: tuple[Camera, ...]
    frames: Tensor
    photos: tuple[Tensor, ...] = ()


def photograph(world: World, shots: Sequence[Shot], stage: Stage, seen: Hits, size: tuple[int, int]) -> Tensor:
    """uint8 [N,3,H,W]: the background, the floor and what is `seen` in twice the resolution, through the cameras."""
    device = world.frames.device
    light = lights(world.cameras, shots, device)
    scene = join([stage.person, stage.front])
    shadow = cast(scene.vertices, scene.faces, scene.shown, light.direction)
    layer = _layer(shots, stage, scene, seen, light, shadow)
    floor = floor_light(cropped(stage.view, stage.box, size), size, shadow, light, stage.joints[:, ANKLES])
    behind = _background(world, shots, stage, size) * floor[:, None].sqrt()
    enlarged = size[0] / (stage.box[:, 3] - stage.box[:, 1])
    return finish(layer[:, :3] + behind * (1 - layer[:, 3:]), sensors(world.cameras, shots, enlarged, size[0], device))


def _background(world: World, shots: Sequence[Shot], stage: Stage, size: tuple[int, int]) -> Tensor:
    device = world.frames.device
    if world.photos:
        return photo_crops(world.photos, chances(shots, device)[:, :4], size)
    cameras = torch.tensor([shot.camera for shot in shots], device=device)
    return crops(world.frames, cameras, stage.box, size)


def _layer(shots: Sequence[Shot], stage: Stage, scene: Mesh, seen: Hits, light: Light, shadow: ShadowMap) -> Tensor:
    """[N,4,H,W]: the colours of what is seen, and how much of each pixel it fills."""
    count, height, width = seen.shape
    passes = stage.passers + len(stage.person.faces)  # from this face on: people who pass by
    seen, share = _worth_shading(seen, scene, passes)
    shaded = _shaded(shots, stage, scene, seen, light, shadow, passes=passes)
    line = seen.pixel // width  # of all lines of all pictures
    pixel = line // 2 * (width // 2) + (seen.pixel - line * width) // 2
    layer = shaded.new_zeros(4, count * (height // 2) * (width // 2))
    for channel, values in zip(layer, (*shaded.t(), torch.ones_like(share)), strict=True):
        channel.index_add_(0, pixel, values * share)
    return layer.view(4, count, height // 2, width // 2).transpose(0, 1)


def _worth_shading(seen: Hits, scene: Mesh, passes: int) -> tuple[Hits, Tensor]:
    """Those of the hits that are shaded, and the share of a pixel each stands for.

    Where all four that make up a pixel show the same part of the same thing, one is enough.
    """
    kind = (
        scene.slot * len(PARTS) + scene.part + (torch.arange(len(scene.slot), device=seen.face.device) >= passes) * 999
    )
    kinds = torch.zeros(seen.shape, dtype=torch.int64, device=seen.face.device)
    kinds.view(-1)[seen.pixel] = kind.index_select(0, seen.face) + 1
    corner = kinds[:, ::2, ::2]
    alike = (corner == kinds[:, ::2, 1::2]) & (corner == kinds[:, 1::2, ::2]) & (corner == kinds[:, 1::2, 1::2])
    shares = torch.full(seen.shape, 0.25, device=seen.face.device)
    shares[:, ::2, ::2][alike] = 1.0
    for row, column in ((0, 1), (1, 0), (1, 1)):
        shares[:, row::2, column::2][alike] = 0.0
    share = shares.view(-1).index_select(0, seen.pixel)
    chosen = share.nonzero()[:, 0]
    return seen.take(chosen), share.index_select(0, chosen)


def _shaded(  # noqa: PLR0913  (all that light meets)
    shots: Sequence[Shot], stage: Stage, scene: Mesh, seen: Hits, light: Light, shadow: ShadowMap, *, passes: int
) -> Tensor:
    """The colours [M,3] on a screen of what is seen."""
    image, device = seen.image, seen.face.device
    values = torch.cat([scene.normals, scene.surface, scene.open[..., None]], dim=2)
    values = interpolate(seen, scene.faces, values)
    normal, surface, sky = _unit(values[:, :3]), values[:, 3:6], values[:, 6]
    view = cropped(stage.view, stage.box, seen.shape[1:])
    point, to_eye = _points(view, seen)
    slot = scene.slot.index_select(0, seen.face)
    wearer = image + len(shots) * (seen.face >= passes)  # those who pass by are the second half of the table
    worn = _worn(shots, stage, device)
    footprint = 2 * (stage.at - view.eye).norm(dim=1) / view.focal[:, 1]
    chance = chances(shots, device)[:, 0]
    return shade(
        colours(worn, wearer, slot, surface, footprint.repeat(2)),
        folds(surface, normal, wearer, slot, chance.repeat(2)),
        to_eye,
        open=sky,
        lit=lit(shadow, image, point, SOFT[0] + SOFT[1] * (1 - light.hardness), normals=normal),
        gloss=worn.gloss.flatten().index_select(0, wearer * len(SLOTS) + slot),
        light=light,
        image=image,
    )


def _worn(shots: Sequence[Shot], stage: Stage, device: torch.device) -> Materials:
    """What everybody and everything is made of [2N]: the people and the things, then those who pass by."""
    people = [shot.stance.person for shot in shots]
    passers = [(shot.passer or shot.stance).person for shot in shots]
    cloths = [thing_materials(shot.thing, shot.seed % 1009 / 1009) for shot in shots]
    worn = materials([*people, *passers], [*cloths, *cloths], device)
    return measured(worn, stage.person, stage.front)


def _points(view: View, seen: Hits) -> tuple[Tensor, Tensor]:
    """Where in the world the hits lie [M,3], and the directions [M,3] from there to the eye."""
    image, width = seen.image, seen.shape[2]
    line = seen.pixel // width
    about = torch.cat([view.centre, view.focal, view.eye, view.axes.flatten(1)], dim=1).t().index_select(1, image)
    x = (seen.pixel - line * width - about[0]) / about[2]
    y = (line - image * seen.shape[1] - about[1]) / about[3]
    right, down, ahead = about[7:].view(3, 3, -1)
    ray = right * x + down * y + ahead
    return (about[4:7] + ray * seen.depth).t(), _unit(-ray.t())


def _unit(vectors: Tensor) -> Tensor:
    """`vectors` [M,3] brought to length 1; columns stay columns in memory."""
    x, y, z = columns = vectors.t()
    length: Tensor = (x * x + y * y + z * z).clamp(min=1e-12).sqrt()
    return (columns / length).t()
