"""The verbs of `halfseen world`: render, sheet."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from halfseen import printing
from halfseen.data.files import check_folder
from halfseen.data.images import SUFFIXES, save_image
from halfseen.painting import Job
from halfseen.rendering import Report, photos_in, render_set
from halfseen.types import InputError
from halfseen.world.cameras import CAMERAS
from halfseen.world.plan import Setting
from halfseen.world.render import build
from halfseen.world.sheet import sheet
from halfseen.world.wardrobe import draw_people

CROWD = 60  # people among whom a sheet's are: the fewer there are, the more of their looks they would share


@dataclass(frozen=True)
class RenderWorld:
    """Render people who do not exist, as a data set of which every part, joint and occlusion is known."""

    out: Positional[Path]
    """The folder to write: empty, new, or the beginning of the same world, which is carried on."""
    ids: int = 500
    """How many people; the first half of them is for training."""
    images: int = 20
    """How many pictures of each."""
    cameras: int = 6
    """How many cameras; each has a place, a light and a look of its own."""
    size: str = "256x128"
    """Height x width of the pictures."""
    seed: int = 0
    """The same seed draws the same people, places and labels everywhere (docs/commands.md: where the same bytes)."""
    sharing: float = 0.08
    """Of each part (head, upper, lower, shoes, things carried): how probably two people have the same look of it."""
    covered: tuple[float, float] = (0.25, 0.65)
    """The least and the greatest share of the body that an occluder is placed to hide; world.csv says what it hides."""
    occluded: float = 0.55
    """The share of the pictures for training that hide somebody in part: 0.1 as in Occluded-Duke, at most 0.55."""
    backgrounds: Path | None = None
    """A folder of your own photos, to stand behind the people instead of painted scenes."""
    workers: int | None = None
    """Processes (on a GPU: threads that write); left out: as many as there are cores."""
    device: str = "cpu"
    """cpu, or cuda to render in batches on a GPU."""

    def run(self) -> int:
        height, width = _size(self.size)
        setting = Setting(
            ids=self.ids,
            images=self.images,
            cameras=self.cameras,
            height=height,
            width=width,
            seed=self.seed,
            sharing=self.sharing,
            covered=self.covered,
            occluded=self.occluded,
            available=len(CAMERAS),
        )
        photos = photos_in(self.backgrounds) if self.backgrounds else ()
        with printing.progress_bar("rendering") as progress:
            report = render_set(Job(self.out, setting, photos, self.device), workers=self.workers, progress=progress)
        _print_report(report)
        return 0


@dataclass(frozen=True)
class DrawSheet:
    """Draw people before all cameras, free and occluded, into one picture to look at."""

    out: Positional[Path]
    """The picture to write: .png or .jpg."""
    people: int = 8
    """How many people."""
    cameras: int = 6
    """How many cameras."""
    size: str = "256x128"
    """Height x width of each picture in it."""
    seed: int = 0
    """Another seed draws other people."""

    def run(self) -> int:
        size = _size(self.size)
        if self.out.suffix.lower() not in SUFFIXES:  # before the work, not after it
            raise InputError(f"{self.out} does not end in one of {', '.join(SUFFIXES)}; choose one of these endings")
        check_folder(self.out)
        if self.people < 1:
            raise InputError(f"{self.people} people fill no sheet; give --people 1 or more")
        people = draw_people(max(CROWD, self.people), self.seed)[: self.people]
        world = build(self.cameras, self.seed, size[0])
        save_image(self.out, sheet(world, people, size, self.seed))
        printing.print_line(f"{self.out}: people × cameras, {self.people} × {self.cameras}")
        return 0


def _size(text: str) -> tuple[int, int]:
    """Height and width."""
    match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,3})", text.strip().lower())
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (32 <= height <= 1024 and 16 <= width <= 512):  # as Setting has it
        raise InputError(f"--size is {text!r}; give height x width in pixels, from 32x16 to 1024x512, like 256x128")
    return height, width


def _print_report(report: Report) -> None:
    images = sum(count for _, count in report.roles.values())
    done = f"{report.rendered:,} rendered now" if report.rendered else "complete already, so nothing was rendered"
    title = f"{report.out}: {images:,} images, {done}"
    rows = [[role, f"{people:,}", f"{count:,}"] for role, (people, count) in report.roles.items()]
    printing.print_table(title, ("role", "people", "images"), rows)
    sharing = ", ".join(f"{part} {share:.1%}" for part, share in report.sharing.items())
    printing.print_line(f"two people have the same look of: {sharing}")
    printing.print_line(f"where something hides the body: {report.covered:.1%} of it on average")
    printing.print_line(f"now try\nhalfseen data check world --root {shlex.quote(str(report.out))}")
