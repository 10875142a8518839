"""Pictures → `Embedding`, kept by content: what was encoded once is read the next time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from halfseen.data.augment import TEST, Augment
from halfseen.data.embeddings import Encoded, load_encoded, save_encoded
from halfseen.data.finding import find_cues
from halfseen.data.images import read_bytes
from halfseen.data.loading import CueSources, Loader, Pictures, threaded
from halfseen.data.transforms import normalise
from halfseen.heap import freed_kept
from halfseen.nets.backbones import Backbone
from halfseen.recipe import Method, Stage
from halfseen.streams import Behind, sent
from halfseen.types import Batch, Cues, Embedding, Facts, InputError, Paste, Progress, Sample, Splits
from halfseen.weights import Loaded

Precision: TypeAlias = Literal["float32", "bfloat16"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Look:
    """How pictures come to the network: in what size, how exactly, how many at a time, made by how many processes."""

    augment: Augment = TEST
    precision: Precision = "float32"
    batch: int = 64
    workers: int = 0


def encode(
    network: nn.Module,
    method: Method,
    samples: Sequence[Sample],
    look: Look,
    *,
    cues: CueSources | None = None,
    progress: Progress | None = None,
) -> Embedding:
    """What `network`, wherever it is, makes of `samples`; `cues` of theirs, if `method` needs some at test time."""
    if not samples or look.batch < 1:
        raise InputError(f"{len(samples)} pictures in batches of {look.batch} are nothing to encode; give some of each")
    device = next(network.parameters()).device

    def fetched(output: Any) -> Embedding:
        embedding = method.embed(output)
        return Embedding(embedding.vectors.cpu(), embedding.visibility.cpu(), embedding.replaced.cpu())

    needed = method.needs["test"]
    told = {*needed, "hidden"} if needed else needed  # no estimator would have seen what an edit covers
    parts: list[Embedding] = []
    behind, begun, done = Behind(device, fetched), 0, 0
    made = closing(_batches(samples, look, cues, device))
    with freed_kept(device.type), testing(network), torch.inference_mode(), made as batches:
        for batch in batches:
            images = normalised(network, sent(batch.images, device))
            with torch.autocast(device.type, torch.bfloat16, enabled=look.precision == "bfloat16"):
                output = network(images, declared(batch.cues, told, device))
            begun += len(images)
            for _, part in behind.add(output, last=begun == len(samples)):
                parts.append(part)
                done += len(part)
                if progress:
                    progress(done, len(samples))
    return Embedding.joined(parts)


def _batches(
    samples: Sequence[Sample], look: Look, cues: CueSources | None, device: torch.device
) -> Generator[Batch, None, None]:
    """All `samples` in their order, made by processes or threads while a GPU computes."""
    pictures, numbers = Pictures(samples, look.augment.at_test(), cues), range(len(samples))
    batches = [numbers[start : start + look.batch] for start in numbers[:: look.batch]]
    if look.workers:
        yield from Loader(pictures, [list(batch) for batch in batches], look.workers)
    else:
        yield from threaded(pictures, batches, ahead=1 if device.type == "cuda" else 0)


def encode_split(
    loaded: Loaded, weights: Path, splits: Splits, split: str, look: Look, *, progress: Progress | None = None
) -> Encoded:
    """A split of a set, encoded by what was `loaded` from the file `weights`, or read from the cache."""
    samples = splits.by_name[split]
    cues = cues_for(loaded.method, loaded.config, "test", splits, samples)
    device = next(loaded.network.parameters()).device.type
    config = getattr(loaded.network, "config", loaded.config)  # which may be another than the card's
    key = content_key(weights, samples, look, device=device, cues=cues, config=config)
    place = cache_folder() / f"{key}.safetensors"
    embedding = encode_once(loaded, samples, look, place, cues=cues, progress=progress)
    labelled = any(sample.occlusion for sample in samples)
    return Encoded(embedding, Facts.of(samples), splits.has_cameras, labelled)


def cues_for(
    method: Method, config: Any, stage: Stage, splits: Splits, samples: Sequence[Sample], only: str = "auto"
) -> CueSources:
    """The cues of `samples` that `method` may see at that stage; of several kinds `only` one, or the best."""
    needed = method.needs[stage]
    wanted = [cue for cue in needed if only in ("auto", cue)]
    if needed and not wanted:
        raise InputError(f"{method.name} does not look at {only}; choose {' or '.join(sorted(needed))}, or auto")
    grouping = config.grouping if "parts" in wanted else "eight"
    return find_cues(splits, samples, wanted, grouping, instead=needed - {*wanted})


def encode_once(
    loaded: Loaded,
    samples: Sequence[Sample],
    look: Look,
    place: Path,
    *,
    cues: CueSources | None = None,
    progress: Progress | None = None,
) -> Embedding:
    """`encode`, unless that was kept at `place` before; see `content_key`."""
    with suppress(InputError):  # not there, or damaged
        return load_encoded(place, camid=0).embedding
    embedding = encode(loaded.network, loaded.method, samples, look, cues=cues, progress=progress)
    with suppress(InputError, OSError):  # a full disk is no reason to throw the work away
        place.parent.mkdir(parents=True, exist_ok=True)
        save_encoded(place, Encoded(embedding, Facts.of(tuple(samples))))
    return embedding


def content_key(
    weights: Path, samples: Sequence[Sample], look: Look, *, device: str, cues: CueSources, config: Any = None
) -> str:
    """A name for what comes out: other weights, settings, pixels, edits, cues, sizes or code, another name."""
    digest = hashlib.sha256(_code_digest())
    digest.update(hashlib.sha256(weights.read_bytes()).digest())
    digest.update(repr((look.augment.at_test(), look.precision, device, torch.__version__, config)).encode())
    for row, sample in enumerate(samples):
        pictures = [sample.path, *(edit.source for edit in sample.edits if isinstance(edit, Paste))]
        rules = [replace(edit, source=Path()) if isinstance(edit, Paste) else edit for edit in sample.edits]
        digest.update(repr(rules).encode())
        for path in pictures:
            digest.update(hashlib.sha256(read_bytes(path)).digest())
        for grid in _cues_of(sample, row, cues):
            digest.update(grid.contiguous().numpy().tobytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where embeddings are kept: HALFSEEN_CACHE, or the system's folder for caches; for somebody without a home, as in
    some containers, nowhere."""
    if named := os.environ.get("HALFSEEN_CACHE"):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "halfseen"
    except RuntimeError:
        return Path(os.devnull, "halfseen")


def _cues_of(sample: Sample, row: int, cues: CueSources) -> Iterator[Tensor]:
    if cues.keypoints is not None:
        yield cues.keypoints[row]
    for source in (cues.fields, cues.parts):
        if source is not None:
            yield source(sample)


@cache
def _code_digest() -> bytes:
    """Of this package itself: an embedding of other code is another embedding."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


@contextmanager
def testing(network: nn.Module) -> Iterator[None]:
    """`network` behaves as at test time in here, and afterwards as before."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def chosen_device(name: Device) -> str:
    """`auto` is a GPU if there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no such device here; leave it out, or install torch for your GPU")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def normalised(network: nn.Module, images: Tensor) -> Tensor:
    """uint8 `images` [B,3,H,W] as the backbone of `network` wants them: float32 [B,3,H,W]."""
    backbone = cast(Backbone, network.get_submodule("backbone"))
    return normalise(images, backbone.mean, backbone.std)


def declared(cues: Cues, names: Collection[str], device: torch.device) -> Cues:
    """Of `cues` those in `names`, on `device`; a method is handed nothing that it did not declare."""
    return Cues(**{name: sent(cue, device) for name, cue in vars(cues).items() if name in names and cue is not None})


def handed(batch: Batch, names: Collection[str], device: torch.device) -> Batch:
    """`batch` on `device`, with its partner, and of their cues those in `names`."""
    partner = batch.partner and handed(batch.partner, names, device)
    images, pids, camids = (sent(tensor, device) for tensor in (batch.images, batch.pids, batch.camids))
    return Batch(images, pids, camids, declared(batch.cues, names, device), partner)


def with_twins(batch: Batch) -> tuple[Tensor, Cues]:
    """What a network sees of `batch`: images [B,3,H,W] and cues, those of its partner behind them, if it has one."""
    if batch.partner is None:
        return batch.images, batch.cues
    both = {name: (cue, vars(batch.partner.cues)[name]) for name, cue in vars(batch.cues).items() if cue is not None}
    cues = Cues(**{name: torch.cat(pair) for name, pair in both.items()})
    return torch.cat([batch.images, batch.partner.images]), cues
