"""The verb `halfseen serve`: a gallery over HTTP, with one page to search it by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional, UseAppendAction

from halfseen import printing
from halfseen.data.files import shown
from halfseen.gallery.places import Place, local
from halfseen.service.packages import all_there
from halfseen.types import InputError

if TYPE_CHECKING:
    from halfseen.gallery.search import Search
    from halfseen.gallery.store import Gallery
    from halfseen.service.running import Certificate
    from halfseen.service.settings import Settings

SHOWN = 3  # faults of the log; of more there is no end


@dataclass(frozen=True)
class Serve:
    """Serve a gallery over HTTP, with a page to search it by, to this machine alone unless told otherwise."""

    gallery: Positional[Place]
    """What `halfseen index` wrote: its folder, or its address in an object store."""
    model: Path | None = None
    """The weights that the gallery was made with; left out: those that come with halfseen."""
    host: str = "127.0.0.1"
    """The address to listen at. Any but a loopback address needs --tokens."""
    port: int = 8765
    """The port to listen at; 0: any that is free."""
    tokens: Path | None = None
    """A file with a line `name token` for each who may search, readable for you alone."""
    certificate: Path | None = None
    """A certificate in PEM, for HTTPS."""
    key: Path | None = None
    """The private key of --certificate."""
    folder: UseAppendAction[tuple[Path, ...]] = ()
    """A folder whose pictures may be shown as they are; of others the gallery's thumbnails are. May be repeated."""
    keep: Path | None = None
    """A folder to keep uploads in, of those who ask for it; left out: no upload is ever kept."""
    log: Path | None = None
    """The file that says who searched and leafed for what when; left out: searches.jsonl in the gallery's folder."""
    megabytes: int = 16
    """The largest request."""
    megapixels: int = 40
    """The largest picture."""
    rate: int = 240
    """Searches, shelves leafed through and part maps a minute of one client; 0: any number."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if there is one."""
    cluster: str | None = None
    """A Ray cluster whose machines hold the vectors, each some: host:port, auto (the one of this machine), or local."""

    def run(self) -> int:
        _check_packages()
        from halfseen.gallery.indexing.model import open_model  # noqa: PLC0415  (timm takes two seconds)
        from halfseen.gallery.store import Gallery  # noqa: PLC0415
        from halfseen.service.app import make_app  # noqa: PLC0415
        from halfseen.service.log import check_log  # noqa: PLC0415
        from halfseen.service.running import address, listen, serve  # noqa: PLC0415

        settings, certificate = self._settings(), self._certificate()
        for fault in check_log(settings.log)[:SHOWN]:
            printing.print_note(f"note: {fault}")
        model = open_model(self.model, self.device)
        gallery = Gallery.open(self.gallery, model.facts)
        with closing(listen(self.host, self.port)) as ear, self._search(gallery) as search:
            app = make_app(gallery, model, settings, search)
            printing.print_line(
                f"{address(ear, certificate)} shows {printing.counted(len(gallery), 'sighting')} until Ctrl-C; who "
                f"searches is noted in {shown(settings.log)}"
            )
            serve(app, ear, certificate)
        return 0

    @contextmanager
    def _search(self, gallery: Gallery) -> Iterator[Search | None]:
        """What the cluster makes of it, if there is one."""
        if not self.cluster:
            yield None
            return
        from halfseen.gallery.machines import joined  # noqa: PLC0415
        from halfseen.gallery.sharded import Sharded  # noqa: PLC0415

        with joined(self.cluster):
            yield Sharded(gallery)

    def _settings(self) -> Settings:
        from halfseen.service.settings import Settings  # noqa: PLC0415
        from halfseen.service.tokens import read_tokens  # noqa: PLC0415

        if self.keep is not None and not self.keep.is_dir():
            raise InputError(f"--keep {shown(self.keep)} is no folder; make it first, for your eyes alone")
        if not (self.log or local(self.gallery)):
            raise InputError(
                f"{shown(self.gallery)} lies in an object store, where nothing can be written to the end of a file; "
                f"name one of this machine with --log, to note who searches"
            )
        return Settings(
            log=self.log or Path(self.gallery, "searches.jsonl"),
            host=self.host,
            tokens=read_tokens(self.tokens) if self.tokens else {},
            folders=self.folder,
            keep=self.keep,
            upload=self.megabytes * 2**20,
            pixels=self.megapixels * 10**6,
            rate=self.rate,
        )

    def _certificate(self) -> Certificate | None:
        from halfseen.service.running import Certificate  # noqa: PLC0415

        if self.certificate and self.key:
            return Certificate(self.certificate, self.key)
        if self.certificate or self.key:
            raise InputError("--certificate and --key go together; give both, or none")
        if self.tokens:
            printing.print_note("note: without --certificate whoever listens on the way can read tokens and pictures")
        return None


def _check_packages() -> None:
    if not all_there():
        raise InputError("serving needs packages that are not there; run `pip install 'halfseen[search,serve]'`")
