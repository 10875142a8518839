"""The verb `halfseen index`: pictures and films → a gallery.

What needs networks or the extra `search` is imported when it is needed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional, UseAppendAction

from halfseen import printing
from halfseen.data.files import shown
from halfseen.gallery.places import Place
from halfseen.printing import counted
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.indexing.index import Report, Settings
    from halfseen.gallery.indexing.sources import Found
    from halfseen.gallery.store import Gallery


@dataclass(frozen=True)
class Index:
    """Put pictures of people, and the people in films, into a gallery that can be searched."""

    paths: Positional[tuple[Path, ...]]
    """Folders, pictures of one person each, films, or tables (CSV, Parquet) with path, camera, time, track."""
    gallery: Place
    """The gallery: a folder, or an object store's address such as s3://bucket/street; it is made if there is none."""
    model: Path | None = None
    """The weights to encode with; left out: those that come with halfseen."""
    pattern: UseAppendAction[tuple[str, ...]] = ()
    """How names tell camera, time and track, such as '{camera}/{time:%Y%m%d_%H%M%S}_*.jpg'. May be repeated: the first
    that fits counts."""
    detector: Literal["hog", "mobilenet", "resnet"] = "hog"
    """Who finds people in films: OpenCV, which needs no download, or a network of torchvision."""
    weights: Path | None = None
    """mobilenet, resnet: a file of the network's state dict; left out: from torchvision's hub."""
    smallest: float = 0.11
    """The least height of a person in a film, as a share of the frame's."""
    every: float = 0.3
    """Seconds between two looks at a film."""
    crops: int = 4
    """How many pictures of a passage are kept at most."""
    batch: int = 64
    """Pictures encoded together."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    autocast: bool = False
    """Encode in bfloat16 where that is safe."""
    again: bool = False
    """Files that are known, or were forgotten, too: what is stored of them now takes the place of what was."""
    watch: bool = False
    """Go on looking for new files until Ctrl-C."""
    unprepared: bool = False
    """Do not keep large galleries a second time as searches want them in memory, by which they open at once."""
    cluster: str | None = None
    """A Ray cluster whose machines read and encode: host:port, auto (the one of this machine), or local."""
    json: bool = False
    """Print the report as JSON; with --watch a line for each time that something is added."""

    def run(self) -> int:
        from halfseen.gallery.indexing.index import index  # noqa: PLC0415
        from halfseen.gallery.indexing.model import open_model  # noqa: PLC0415
        from halfseen.gallery.indexing.sources import check, find  # noqa: PLC0415
        from halfseen.gallery.indexing.watching import watch  # noqa: PLC0415
        from halfseen.gallery.opening import is_there, open_or_make  # noqa: PLC0415

        settings = self._settings()
        if self.watch and self.again:
            raise InputError("--again is for one time; leave out --watch, and watch afterwards")
        if self.watch and self.cluster:
            raise InputError("--watch is for one machine; leave out --cluster, or index from time to time")
        if not self.paths:
            raise InputError("what is to be indexed? give folders, pictures, films or tables")
        check(self.paths)  # before there is a gallery for them
        found = None if self.watch else find(self.paths, settings.patterns)
        if found and not (found.sources or is_there(self.gallery)):
            return self._end_early(found, settings)
        model = open_model(self.model, self.device, "bfloat16" if self.autocast else "float32")
        gallery = open_or_make(self.gallery, model.facts)
        if found is None:
            watch(self.paths, gallery, model, settings, lambda report: self._end(report, gallery))
        if self.cluster:
            from halfseen.gallery.indexing.cluster import index_on  # noqa: PLC0415

            report = index_on(self.cluster, found, gallery, model, settings, device=self.device)
        else:
            report = index(found, gallery, model, settings)
        self._end(report, gallery)
        return 2 if report.faults and not (report.added or report.known) else 0

    def _settings(self) -> Settings:
        from halfseen.gallery.indexing.index import Settings  # noqa: PLC0415
        from halfseen.gallery.indexing.patterns import Pattern  # noqa: PLC0415
        from halfseen.gallery.indexing.video import TAKEN  # noqa: PLC0415

        return Settings(
            patterns=tuple(map(Pattern, self.pattern)),
            detector=self.detector,
            weights=self.weights,
            smallest=self.smallest,
            every=self.every,
            crops=self.crops,
            batch=self.batch,
            again=self.again,
            bars=printing.progress_bar,
            say=lambda fault: printing.print_note(f"{'in part' if TAKEN in fault else 'left out'}: {fault}"),
            note=lambda note: printing.print_note(f"note: {note}"),
        )

    def _end_early(self, found: Found, settings: Settings) -> int:
        """There is nothing to make a gallery of."""
        from halfseen.gallery.indexing.index import Report  # noqa: PLC0415

        for note in found.notes:
            settings.note(note)
        for fault in found.faults:
            settings.say(fault)
        self._print(Report(faults=found.faults), None)
        return 2

    def _end(self, report: Report, gallery: Gallery) -> None:
        """Tell, and prepare."""
        from halfseen.gallery.loading import prepare  # noqa: PLC0415

        self._print(report, gallery)
        if not self.unprepared:
            try:
                with printing.progress_bar("preparing for search") as progress:
                    prepare(gallery, progress)
            except InputError as error:
                printing.print_note(str(error))  # what was indexed is there all the same

    def _print(self, report: Report, gallery: Gallery | None) -> None:
        """None: there is no gallery, as there was nothing for one."""
        holds = 0 if gallery is None else len(gallery)
        if self.json:
            told = {"gallery": self.gallery, "holds": holds, **asdict(report)}
            del told["unread"]  # they are among the faults
            printing.print_line(json.dumps(told))
            return
        new = [counted(report.pictures, "picture")] if report.pictures or not report.films else []
        if report.films:
            new.append(f"{counted(report.passages, 'passage')} in {counted(report.films, 'film')}")
        known = f"; {counted(report.known, 'file')} known before" if report.known else ""
        faults = f"; {counted(len(report.faults), 'fault')}" if report.faults else ""
        where = shown(self.gallery)
        rate = f", {report.added / report.seconds:.0f} a second" if report.added else ""
        printing.print_line(
            f"{' and '.join(new)} → {counted(report.added, 'sighting')}{rate}{known}{faults}; "
            f"{f'no gallery is made at {where}' if gallery is None else f'{where} holds {holds:,}'}"
        )
        if report.otherwise:
            printing.print_note(
                f"of those known before, {counted(report.otherwise, 'file')} or more have another camera, time or "
                f"track now than is stored; --again stores all anew"
            )
        elif report.known and not holds:
            printing.print_note("what was forgotten stays so; --again takes it in anew")
