"""Length units of mesh files. Model space is millimetres; GLB is metres by its standard."""

from __future__ import annotations

from facerecon.checks import check_choice, check_range

UNITS = {"mm": 1.0, "cm": 0.1, "m": 0.001}
"""How many of a unit one millimetre is."""


def units_per_mm(units: str, scale: float = 1.0) -> float:
    """The factor from model millimetres to `units`.

    Args:
        units: "mm", "cm" or "m".
        scale: extra factor on the geometry, such as a known size over the model's; one photo alone cannot tell size.

    Raises:
        ArgumentError: `argument_invalid` for another unit, or a scale that is not a finite number above zero.
    """
    check_choice("units", units, tuple(UNITS))
    return UNITS[units] * check_range("scale", float(scale), 1e-9, 1e9)
