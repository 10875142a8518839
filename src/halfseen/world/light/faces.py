"""Faces, painted on the front of a head: eyes, brows, nose, mouth, beard and glasses, as they differ among people."""

from __future__ import annotations

import torch
from torch import Tensor

from halfseen.world.light.patterns import Spot, ellipse, inside

FACE_NUMBERS = ("eyes", "brows", "beard", "jaw", "glasses")  # of people.Head

# Metres above the middle of the head; eyes and brows lie _APART metres from the middle of the face.
_EYES, _BROWS, _NOSE, _MOUTH, _CHIN = 0.026, 0.047, -0.013, -0.046, -0.085
_APART = 0.032
_REACH = 0.115  # metres around from the middle, behind which there is only skin

_WHITE, _IRIS, _FRAME = (0.80, 0.78, 0.76), (0.10, 0.07, 0.06), (0.09, 0.08, 0.08)
_FLUSH = (1.03, 0.95, 0.94)  # how cheeks differ from other skin


def face(spot: Spot, three: Tensor, numbers: Tensor) -> Tensor:
    """Colours [3,P] of points on heads, made of `three` [3,3,P]: skin, brows, lips; `numbers` [5,P] as in FACE_NUMBERS.

    A point lies `spot.around` metres left of the middle of the face and `spot.along` above the middle of the head.
    """
    out = three[0].clone()
    at = ((spot.around.abs() < _REACH) & (spot.front > 0)).nonzero()[:, 0]
    x, y, blur = (values.index_select(0, at) for values in (spot.around, spot.along, spot.footprint))
    skin, hair, lips, numbers = (values.index_select(1, at) for values in (*three.unbind(0), numbers))
    eyes, brows, beard, jaw, glasses = numbers.unbind(0)
    aside = x.abs()
    colour = _modelled(skin, aside, y, jaw)
    colour = _bearded(colour, hair, beard, (aside, y, blur))
    colour = _mouthed(colour, lips, jaw, (aside, y, blur))
    colour = _eyed(colour, hair, (eyes, brows), (aside, y, blur))
    out[:, at] = _bespectacled(colour, glasses, (aside, y, blur))
    return out


def _modelled(skin: Tensor, aside: Tensor, y: Tensor, jaw: Tensor) -> Tensor:
    """Skin with the shadows of eye sockets, nose, lower lip and jaw, a bright ridge of the nose and flushed cheeks."""
    soft = torch.full_like(y, 0.014)
    sockets = ellipse(aside - _APART, y - _EYES - 0.006, (0.024, 0.015), soft)
    wing = ellipse(aside - 0.011, y - _NOSE - 0.012, (0.006, 0.020), soft * 0.6)
    under_nose = ellipse(aside, y - _NOSE + 0.006, (0.014, 0.006), soft * 0.5)
    under_lip = ellipse(aside, y - _MOUTH + 0.017, (0.016, 0.005), soft * 0.7)
    ridge = ellipse(aside, y - 0.008, (0.006, 0.024), soft * 0.6)
    jowl = inside(aside + 0.55 * (_CHIN + 0.035 - y) - 0.062 - 0.016 * jaw, soft * 2) * inside(-0.02 - y, soft * 2)
    bright = 1 - 0.24 * sockets - 0.14 * wing - 0.34 * under_nose - 0.16 * under_lip + 0.09 * ridge - 0.20 * jowl
    cheeks = ellipse(aside - 0.042, y + 0.014, (0.024, 0.020), soft * 2)
    return skin * (1 + cheeks * (_column(_FLUSH, y) - 1)) * bright


def _bearded(colour: Tensor, hair: Tensor, beard: Tensor, place: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """None below 0.5, then stubble, a moustache with a beard on the chin, and at last a full beard."""
    aside, y, blur = place
    edge = blur + 0.012
    line = -0.030 - 0.028 * inside(0.052 - aside, edge * 2)  # it climbs towards the ears
    cheeks = inside(line - y, edge)
    lip = ellipse(aside, y - _MOUTH - 0.013, (0.030, 0.008), edge)
    chin = ellipse(aside, y - _CHIN + 0.004, (0.030, 0.028), edge)
    full = torch.maximum(cheeks, torch.maximum(lip, chin)) * inside(0.1 - aside, edge)
    some = torch.where(beard > 0.8, full, torch.where(beard > 0.65, torch.maximum(lip, chin), full))
    thick = torch.where(beard > 0.65, 0.55 + beard - 0.65, (beard - 0.5).clamp(min=0) * 2.2)
    return _mixed(colour, hair, some * thick)


def _mouthed(colour: Tensor, lips: Tensor, jaw: Tensor, place: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    aside, y, blur = place
    wide = 0.021 + 0.006 * jaw
    mouth = ellipse(aside, y - _MOUTH + 0.001, (wide, 0.0075), blur)
    slit = ellipse(aside, y - _MOUTH, (wide + 0.002, 0.0022), blur)
    return _mixed(colour, lips, mouth) * (1 - 0.5 * slit)


def _eyed(colour: Tensor, hair: Tensor, numbers: tuple[Tensor, Tensor], place: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Whites, dark irises under dark lids, and brows; `numbers`: how open the eyes, how strong the brows."""
    aside, y, blur = place
    eyes, brows = numbers
    x = aside - _APART - 0.003 * (eyes - 0.5)
    high = 0.0045 + 0.0035 * eyes
    eye = ellipse(x, y - _EYES, (0.0145, high), blur)
    iris = ellipse(x, y - _EYES - 0.001, (0.0072, 0.0075), blur) * eye
    lid = ellipse(x, y - _EYES - high, (0.0165, 0.003), blur)
    colour = _mixed(colour, _column(_WHITE, y), 0.85 * eye)
    colour = _mixed(colour, _column(_IRIS, y), torch.maximum(iris, 0.7 * lid))
    thick = 0.003 + 0.0035 * brows
    outer, inner = (x - 0.006).clamp(min=0), (0.006 - x).clamp(min=0)
    arch = y - _BROWS + 0.35 * outer + (0.22 - 0.25 * eyes) * inner - 0.003 * (brows - 0.5)
    brow = inside(0.022 - (x + 0.001).abs(), blur) * inside(thick - arch.abs(), blur)
    return _mixed(colour, hair * 0.8, brow * (0.45 + 0.45 * brows))


def _bespectacled(colour: Tensor, glasses: Tensor, place: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    aside, y, blur = place
    x, up = aside - _APART, y - _EYES + 0.002
    outer, inner = ellipse(x, up, (0.0275, 0.0205), blur), ellipse(x, up, (0.0240, 0.0170), blur)
    bars = inside(0.0022 - (y - _EYES - 0.006).abs(), blur) * torch.maximum(
        inside(0.008 - aside, blur), inside(aside - 0.058, blur)
    )
    frame = torch.maximum(outer - inner, bars) * glasses
    return _mixed(colour * (1 - 0.12 * inner * glasses), _column(_FRAME, y), 0.9 * frame)


def _mixed(under: Tensor, over: Tensor, share: Tensor) -> Tensor:
    return under + share * (over - under)


def _column(colour: tuple[float, float, float], like: Tensor) -> Tensor:
    """[3,1] on the device of `like`."""
    return torch.tensor(colour, device=like.device)[:, None]
