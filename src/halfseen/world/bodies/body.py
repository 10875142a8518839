"""Bodies: people with all that they wear, as one mesh that has every garment there is and shows those that are worn."""

from __future__ import annotations

from collections.abc import Sequence

from halfseen.world.bodies.casts import hands, shafts, shoes
from halfseen.world.bodies.collars import collars
from halfseen.world.bodies.figure import figure
from halfseen.world.bodies.garments import around_trunk, coat, seat, top
from halfseen.world.bodies.hair import hair, headwear
from halfseen.world.bodies.head import bare_head, mount, neck
from halfseen.world.bodies.limbs import arms_of, legs_of
from halfseen.world.bodies.poses import Skeleton
from halfseen.world.bodies.sheets import sew
from halfseen.world.bodies.sleeves import bare_arms, bare_legs, sleeve, trousers
from halfseen.world.people import Person
from halfseen.world.shapes import Mesh


def body(people: Sequence[Person], skeleton: Skeleton) -> Mesh:
    """N `people`, dressed, in the poses of `skeleton`."""
    who = figure(people, skeleton.points.device)
    arms, legs, head = arms_of(skeleton), legs_of(skeleton), mount(who, skeleton)
    trunk = [around_trunk(who, skeleton, legs, layer(who)) for layer in (top, coat, seat)]
    sleeves = sleeve(who, arms, outer=False) + sleeve(who, arms, outer=True)
    bare = bare_arms(who, arms) + hands(who, skeleton, arms) + bare_legs(who, legs)
    lower = trousers(who, legs) + shoes(who, skeleton) + shafts(who, legs)
    above = [
        *collars(who, skeleton),
        neck(who, skeleton),
        *bare_head(who, head),
        *hair(who, head),
        *headwear(who, head),
    ]
    return sew([*trunk, *sleeves, *bare, *lower, *above])
