"""One thread: small tensors on several threads of a busy machine wait for each other."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
