"""Argument checks that name the argument, what was wanted and what was got.

The functions work on anything with `shape` (NumPy arrays, torch tensors) and import neither library, so that layer 0 stays
light. Each returns its argument, so a check can stand inside an expression.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from facerecon.errors import ArgumentError


def check_shape(name: str, array: Any, expected: Sequence[int | str | None]) -> Any:
    """Require a shape.

    Args:
        name: the argument's name, for the message.
        array: anything with a `shape`.
        expected: one entry per axis: an int is required exactly, a string or None accepts any length (a string names the
            axis in the message). A leading `"..."` accepts any number of leading axes.

    Raises:
        ArgumentError: `shape_invalid`.
    """
    got = tuple(getattr(array, "shape", ()))
    wanted = list(expected)
    free = bool(wanted) and wanted[0] == "..."
    axes = wanted[1:] if free else wanted
    fits = len(got) >= len(axes) if free else len(got) == len(axes)
    if fits and axes:
        fits = all(not isinstance(want, int) or want == have for want, have in zip(axes, got[len(got) - len(axes):]))
    if not fits or not hasattr(array, "shape"):
        text = ", ".join("*" if want is None else str(want) for want in wanted)
        raise ArgumentError(f"{name}: wanted shape ({text}), got {got or type(array).__name__}", code="shape_invalid")
    return array


def check_choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Require one of `choices`; raises ArgumentError `argument_invalid` that lists them."""
    if value not in choices:
        raise ArgumentError(f"{name}: wanted one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_range(name: str, value: float, low: float | None = None, high: float | None = None) -> float:
    """Require a finite number with low <= value <= high (None leaves a side open)."""
    wrong = isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
    if wrong or (low is not None and value < low) or (high is not None and value > high):
        bounds = f"{'-inf' if low is None else low} to {'inf' if high is None else high}"
        raise ArgumentError(f"{name}: wanted a number from {bounds}, got {value!r}")
    return value


def check_finite(name: str, array: Any) -> Any:
    """Require every element of a NumPy array or torch tensor to be finite; raises ArgumentError `nonfinite` with a count."""
    if hasattr(array, "isfinite"):
        finite = array.isfinite()
    else:
        import numpy as np

        finite = np.isfinite(array)
    if not bool(finite.all()):
        bad = int((~finite).sum())
        raise ArgumentError(f"{name}: wanted finite numbers, got {bad} NaN or infinite of {finite.reshape(-1).shape[0]}",
                            code="nonfinite")
    return array


def check_exclusive(**arguments: Any) -> None:
    """Require exactly one of the keyword arguments to be given (not None)."""
    given = [name for name, value in arguments.items() if value is not None]
    if len(given) != 1:
        raise ArgumentError(f"wanted exactly one of {', '.join(arguments)}, got {', '.join(given) or 'none'}")
