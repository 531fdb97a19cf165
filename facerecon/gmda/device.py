"""Where a network runs."""

from __future__ import annotations

import torch

from facerecon.checks import check_choice
from facerecon.errors import BackendError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device "cpu", "cuda", or "auto" for CUDA where there is one; BackendError `device_missing` for a GPU that is not there."""
    check_choice("device", name, DEVICES)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise BackendError("device 'cuda': no GPU that torch can use; use device='cpu'", code="device_missing")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
