"""Deviations of the raw coefficients over the fits of 300W-LP, which the 3DDFA packages store to whiten their targets.

A whitening file holds {param_mean, param_std} or {mean, std} over 62 numbers: a 3 x 4 camera matrix, 40 shape and 10 expression
coefficients. Only the deviations of the coefficients are used: the model's mean stays the mean face.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.morphable.basel import common
from facerecon.morphable.basel.files import load_pickle

_CAMERA = 12
# For files that come without deviations (3DDFA's param_whitening.pkl, MIT).
FITTED_SHAPE = np.array([
    587900, 347700, 269400, 267700, 159300, 150100, 111200, 92210, 115100, 83360, 88280, 71010, 69410, 49620, 57230, 45340, 48210,
    38290, 44810, 48100, 36480, 28730, 31580, 35190, 31330, 25190, 24480, 27280, 24100, 20610, 19270, 19850, 17350, 23360, 16270,
    15820, 14750, 13780, 13890, 13990], dtype=np.float64)
FITTED_EXPRESSION = np.array([1.507, 1.388, 0.5376, 0.5282, 0.1931, 0.2361, 0.2542, 0.3519, 0.1462, 0.2411])


def read_whitening(path: str | os.PathLike[str], *, sizes: tuple[int, int] = (40, 10)) -> tuple[np.ndarray, np.ndarray]:
    """(deviations of the shape coefficients, deviations of the expression coefficients), in the raw units of Shape_Para and
    Exp_Para; `sizes` says how many of each the file holds after the camera's twelve numbers."""
    where = Path(path).name
    values = load_pickle(path)
    if not isinstance(values, dict):
        raise common.corrupt(f"{where}: wanted a dictionary, got {type(values).__name__}")
    deviations = common.entry(values, ("param_std", "std"), where).reshape(-1)
    if len(deviations) != _CAMERA + sum(sizes):
        raise common.corrupt(f"{where}: wanted {_CAMERA} + {sizes[0]} + {sizes[1]} deviations, got {len(deviations)}")
    deviations = common.deviations_of("param_std", deviations, where, at_least=len(deviations))
    return deviations[_CAMERA:_CAMERA + sizes[0]], deviations[_CAMERA + sizes[0]:]
