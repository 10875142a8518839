"""ViTPose, as transformers has it: the joints of one person whose box is known. Here the box is the picture.

Pictures of these sets were cut out around one person, which is what ViTPose wants. It says nothing of anybody else.
Weights are a model's name on the Hugging Face hub (usyd-community/vitpose-base-simple) or a folder that
transformers saved. The picture is laid into the network's frame with a quarter of room around it, first pixel on first
pixel (as the authors do), and the peaks of the heatmaps are laid back the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from halfseen.estimators.people import Estimate, People, loading, needed, peaks
from halfseen.ops.groupings import JOINTS
from halfseen.types import InputError

MODEL = "usyd-community/vitpose-base-simple"
ROOM = 1.25  # the frame's size over the box's
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COCO = 0  # of the expert heads that the "plus" models have
AT_ONCE = 16


def about(weights: Path | None) -> str:
    """The version of transformers and whose weights."""
    version = needed("transformers", "pose")
    if weights is None:
        return f"transformers {version} {MODEL}"
    config = weights / "config.json"
    if not config.is_file():
        raise InputError(f"{weights}: holds no config.json; --weights of vitpose is a folder that transformers saved")
    digest = sha256()
    for path in sorted(weights.iterdir()):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return f"transformers {version} ViTPose, weights {digest.hexdigest()[:12]}"


def load(weights: Path | None, device: str) -> Estimate:
    """The network with weights from the hub, or from a folder."""
    with loading("transformers", "pose"):
        from transformers import VitPoseForPoseEstimation, logging  # noqa: PLC0415  (an extra)

    logging.disable_progress_bar()  # there is one already
    try:
        network = VitPoseForPoseEstimation.from_pretrained(str(weights or MODEL)).eval().to(device)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"ViTPose could not be loaded from {weights or MODEL} ({reason}); give a folder with --weights"
        ) from error
    if network.config.num_labels != len(JOINTS):
        raise InputError(
            f"{weights or MODEL} knows {network.config.num_labels} joints; take a ViTPose with COCO's {len(JOINTS)}"
        )
    backbone = network.config.backbone_config
    height, width = backbone.image_size
    experts = getattr(backbone, "num_experts", 1) > 1

    def estimate(images: Sequence[Tensor]) -> list[People]:
        found: list[People] = []
        with torch.inference_mode():
            for start in range(0, len(images), AT_ONCE):
                some = images[start : start + AT_ONCE]
                pixels = torch.stack([laid_in(image, (height, width)) for image in some]).to(device)
                which = {"dataset_index": torch.full((len(some),), COCO, device=device)} if experts else {}
                maps = network(pixels, **which).heatmaps.float().cpu()
                pairs = zip(maps, some, strict=True)
                found += [
                    laid_back(peaks(each), each.shape[-2:], image.shape[-2:], (height, width)) for each, image in pairs
                ]
        return found

    return estimate


def frame_of(size: Sequence[int], frame: tuple[int, int]) -> tuple[float, float]:
    """Height and width, in pixels of a picture of `size`, of what the network's `frame` holds of it and around it."""
    scale = ROOM * max(size[0] / frame[0], size[1] / frame[1])
    return scale * frame[0], scale * frame[1]


def laid_in(image: Tensor, frame: tuple[int, int]) -> Tensor:
    """`image` uint8 [3,H,W] in the middle of the network's `frame`, black around it, normalised: float32 [3,h,w]."""
    height, width = frame_of(image.shape[1:], frame)
    across, down = width / max(1, image.shape[2] - 1), height / max(1, image.shape[1] - 1)
    scale = torch.tensor([[across, 0.0, 0.0], [0.0, down, 0.0]])
    grid = F.affine_grid(scale[None], [1, 3, *frame], align_corners=True)
    pixels = F.grid_sample(image[None].float(), grid, align_corners=True)[0] / 255
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def laid_back(found: Tensor, cells: Sequence[int], size: Sequence[int], frame: tuple[int, int]) -> People:
    """`found` [17,3], column, row and value on a grid of `cells`, as the one person [1,17,3] of a picture of `size`."""
    height, width = frame_of(size, frame)
    x = (size[1] - 1) / 2 + (found[:, 0] / (cells[1] - 1) - 0.5) * width
    y = (size[0] - 1) / 2 + (found[:, 1] / (cells[0] - 1) - 0.5) * height
    return torch.stack([x, y, found[:, 2].clamp(0, 1)], dim=-1)[None]
