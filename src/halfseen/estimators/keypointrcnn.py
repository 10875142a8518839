"""Keypoint R-CNN of torchvision: finds every person in the picture, and the joints of each.

Weights are torchvision's (COCO, from its hub, some 230 MB) or a file of the same state dict. Its scores of joints are
logits without a scale; Detectron draws joints from 2 upwards, which becomes a half here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from halfseen.estimators.people import Estimate, People
from halfseen.types import InputError

LONG_SIDE, SHORT_SIDE = 800, 400  # a person who fills so high a picture is well within the range of its anchors
SURE, LIKELY = 0.5, 0.1  # of people: all who are sure, or else the one who is at least likely
DRAWN = 2.0  # the logit from which Detectron draws a joint
AT_ONCE = 4


def about(weights: Path | None) -> str:
    """The network and whose weights."""
    return f"torchvision keypointrcnn_resnet50_fpn, {_digest(weights) if weights else 'COCO_V1'}"


def load(weights: Path | None, device: str) -> Estimate:
    """The network with weights from torchvision's hub, or from a file."""
    network = (_from_file(weights) if weights else _from_hub()).eval().to(device)

    def estimate(images: Sequence[Tensor]) -> list[People]:
        found: list[People] = []
        with torch.inference_mode():
            for start in range(0, len(images), AT_ONCE):
                batch = [image.to(device).float() / 255 for image in images[start : start + AT_ONCE]]
                found += [people_in(answer) for answer in network(batch)]
        return found

    return estimate


def people_in(answer: Mapping[str, Tensor]) -> People:
    """Of what the network says of one picture: `scores` [n], `keypoints` [n,17,3] and `keypoints_scores` [n,17]."""
    scores = answer["scores"]
    kept = scores >= min(SURE, max(LIKELY, float(scores.max()))) if len(scores) else scores > 0
    places = answer["keypoints"][kept][..., :2] - 0.5  # it counts from the corner of the first pixel
    joints = (answer["keypoints_scores"][kept] - DRAWN).sigmoid()
    return torch.cat([places, joints[..., None]], dim=-1).float().cpu()


def build(**options: object) -> nn.Module:
    """The network as torchvision builds it, for pictures in which one person fills most."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn  # noqa: PLC0415  (takes a second)

    size = {"min_size": SHORT_SIDE, "max_size": LONG_SIDE}
    network: nn.Module = keypointrcnn_resnet50_fpn(**size, weights_backbone=None, progress=False, **options)
    return network


def _from_hub() -> nn.Module:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch tells what it fetches
            return build(weights="COCO_V1")
    except OSError as error:  # no network, no room, no such file
        raise InputError(
            f"the weights of Keypoint R-CNN could not be fetched from torchvision's hub ({error}); fetch "
            f"keypointrcnn_resnet50_fpn_coco-fc266e95.pth elsewhere and name it with --weights"
        ) from error


def _from_file(path: Path) -> nn.Module:
    network = build(weights=None)
    reason = "no file of tensors"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        reason = ""
        network.load_state_dict(state)
    except Exception as error:  # whatever torch and pickle raise on what is none of theirs; their advice is dangerous
        reason = reason or " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: no weights of torchvision's keypointrcnn_resnet50_fpn ({reason}); give a file of its state dict"
        ) from None
    return network


def _digest(path: Path) -> str:
    try:
        return f"weights {sha256(path.read_bytes()).hexdigest()[:12]}"
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check --weights") from error
