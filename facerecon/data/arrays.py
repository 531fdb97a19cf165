"""NumPy arrays and torch tensors as photos, by one documented rule for layout, type and range."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from facerecon.checks import check_choice
from facerecon.data.colour import composite
from facerecon.errors import ImageError

_CHANNELS = (1, 3, 4)


def is_tensor(source: Any) -> bool:
    """Whether `source` is a torch tensor; does not import torch (who holds a tensor has imported it)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def array_to_rgb(source: Any, *, layout: str = "auto", channel_order: str = "rgb", value_range: str = "auto") -> np.ndarray:
    """A new uint8 RGB array (H, W, 3) from a NumPy array or torch tensor, which is not changed.

    Args:
        source: (H, W), or with 1, 3 or 4 channels last ("hwc") or first ("chw"). Four channels are RGBA with straight alpha.
        layout: "hwc", "chw", or "auto": where both readings are possible, NumPy is read as "hwc" and torch as "chw".
        channel_order: "rgb" or "bgr" (OpenCV).
        value_range: how real numbers are read: "1" for [0, 1], "255" for [0, 255], or "auto": [0, 1] when no value exceeds
            1.001, else [0, 255]. Integers are always read as they are: uint8 direct, bool as 0 and 255, uint16 shifted right
            by 8, wider ones must lie in [0, 255].

    Raises:
        ImageError: `array_nonfinite`; `array_invalid` for another shape, type or range.
    """
    check_choice("layout", layout, ("auto", "hwc", "chw"))
    check_choice("channel_order", channel_order, ("rgb", "bgr"))
    check_choice("value_range", value_range, ("auto", "1", "255"))
    prefer_first = is_tensor(source)
    array = _to_numpy(source)
    array = _channels_last(array, layout, prefer_first)
    pixels = _to_uint8(array, value_range)
    if channel_order == "bgr" and pixels.shape[2] >= 3:
        pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]
    if pixels.shape[2] == 4:
        return composite(pixels)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.array(pixels, dtype=np.uint8, order="C", copy=True)


def _to_numpy(source: Any) -> np.ndarray:
    if is_tensor(source):
        tensor = source.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        return tensor.resolve_conj().resolve_neg().numpy()
    return np.asarray(source)


def _channels_last(array: np.ndarray, layout: str, prefer_first: bool) -> np.ndarray:
    if array.ndim == 2:
        return array[..., None]
    if array.ndim != 3:
        raise ImageError(f"image array: wanted (H, W), (H, W, C) or (C, H, W) with C one of {_CHANNELS}, got shape "
                         f"{array.shape}; give one photo at a time", code="array_invalid")
    last, first = array.shape[2] in _CHANNELS, array.shape[0] in _CHANNELS
    if layout == "auto":
        layout = "chw" if first and (prefer_first or not last) else "hwc"
    if not (first if layout == "chw" else last):
        raise ImageError(f"image array: wanted {_CHANNELS} channels in layout {layout!r}, got shape {array.shape}",
                         code="array_invalid")
    return array.transpose(1, 2, 0) if layout == "chw" else array


def _to_uint8(array: np.ndarray, value_range: str) -> np.ndarray:
    if array.size == 0:
        raise ImageError(f"image array: wanted pixels, got shape {array.shape}", code="array_invalid")
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise ImageError(f"image array: wanted {array.dtype} values from 0 to 255, got {low} to {high}; convert to uint8",
                             code="array_invalid")
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return _real_to_uint8(array, value_range)
    raise ImageError(f"image array: wanted integers or real numbers, got dtype {array.dtype}", code="array_invalid")


def _real_to_uint8(array: np.ndarray, value_range: str) -> np.ndarray:
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):
        bad = int(array.size - np.isfinite(array).sum())
        raise ImageError(f"image array: wanted finite values, got {bad} NaN or infinite", code="array_nonfinite")
    unit = value_range == "1" or (value_range == "auto" and high <= 1.001)
    top, slack = (1.0, 0.001) if unit else (255.0, 0.5)
    if low < -slack or high > top + slack:
        raise ImageError(f"image array: wanted values from 0 to {top:g}, got {low:g} to {high:g}; undo its normalisation "
                         "first", code="array_invalid")
    scaled = np.multiply(array, 255.0 if unit else 1.0, dtype=np.float32)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
