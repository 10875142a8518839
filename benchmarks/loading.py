"""How fast training pictures are made, on one thread: `python benchmarks/loading.py`.

Ours (read, resize, flip, pad and crop, erase, 17 keypoints moved along, collated into batches of 64) against what is
usually written with torchvision (Pillow decodes; Resize, RandomHorizontalFlip, Pad, RandomCrop, RandomErasing; no
keypoints; stacked alike). Both read the same synthetic JPEG files, drawn into a temporary folder, and take turns.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torchvision.transforms import v2

from halfseen.data.augment import BOT
from halfseen.data.images import save_image
from halfseen.data.loading import CueSources, Loader, Pictures
from halfseen.data.transforms import MEAN_COLOUR
from halfseen.types import Sample

SEED, PICTURES, BATCH, RUNS = 0, 1024, 64, 5
SIZES = ((256, 128), (128, 64))  # height, width of the files; both become 256 x 128


def draw_pictures(folder: Path, height: int, width: int) -> list[Sample]:
    """Blotches with a little noise, as detailed as crops of cameras are: 13 kB at 256 x 128, 5 kB at 128 x 64."""
    generator = torch.Generator().manual_seed(SEED)
    samples = []
    for i in range(PICTURES):
        blotches = torch.randint(0, 256, (1, 3, 16, 8), generator=generator).float()
        image = F.interpolate(blotches, (height, width), mode="bicubic")[0]
        image += 3 * torch.randn(image.shape, generator=generator)
        path = folder / f"{i:04}.jpg"
        save_image(path, image.clamp(0, 255).byte())
        samples.append(Sample(path, path.name, i // 4, i % 6))
    return samples


def ours(samples: list[Sample], height: int, width: int) -> Callable[[], None]:
    scale = torch.tensor([width, height, 1.0])
    keypoints = torch.rand(PICTURES, 17, 3, generator=torch.Generator().manual_seed(SEED)) * scale
    batches = [list(range(start, start + BATCH)) for start in range(0, PICTURES, BATCH)]
    loader = Loader(Pictures(samples, BOT, CueSources(keypoints), seed=SEED), batches)

    def run() -> None:
        for _ in loader:
            pass

    return run


def reference(samples: list[Sample]) -> Callable[[], None]:
    transform = v2.Compose(
        [
            v2.Resize((256, 128)),
            v2.RandomHorizontalFlip(0.5),
            v2.Pad(10),
            v2.RandomCrop((256, 128)),
            v2.PILToTensor(),
            v2.RandomErasing(0.5, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), value=list(MEAN_COLOUR)),
        ]
    )

    def run() -> None:
        torch.manual_seed(SEED)
        for start in range(0, PICTURES, BATCH):
            images = []
            for sample in samples[start : start + BATCH]:
                with Image.open(sample.path) as picture:
                    images.append(transform(picture.convert("RGB")))
            torch.stack(images)

    return run


def rate(run: Callable[[], None]) -> float:
    """Images a second."""
    start = time.perf_counter()
    run()
    return PICTURES / (time.perf_counter() - start)


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [line.split(":")[1].strip() for line in about.read_text().splitlines() if line.startswith("model name")]
        cpu = f"{names[0]} x {len(names)}" if names else cpu
    return f"{cpu}, {platform.system()}, Python {platform.python_version()}"


def shown(name: str, rates: list[float]) -> str:
    return f"  {name:11} {statistics.median(rates):7,.0f} images/s  ({min(rates):,.0f} to {max(rates):,.0f})"


def main() -> None:
    torch.set_num_threads(1)
    print(f"{machine()}, torch {torch.__version__}, torchvision {torchvision.__version__}")
    print(f"1 thread, seed {SEED}, {PICTURES} JPEG files, median of {RUNS} runs (slowest to fastest), to 256 x 128")
    for height, width in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            samples = draw_pictures(Path(folder), height, width)
            runs = (ours(samples, height, width), reference(samples))
            for run in runs:  # the first round loads decoders and files
                run()
            pairs = [(rate(runs[0]), rate(runs[1])) for _ in range(RUNS)]
        mine, theirs = (list(rates) for rates in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"from {height} x {width}:")
        print(shown("ours", mine))
        print(shown("torchvision", theirs))
        print(f"  ratio       {ratio:7.2f}")


if __name__ == "__main__":
    main()
