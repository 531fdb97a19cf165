"""The length unit of a mesh file: given, written in the file, or told by the size of a head, and always stated."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError

MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}
# A face scan or a head is between these, along the diagonal of its box.
SMALLEST_MM, LARGEST_MM = 100.0, 700.0


@dataclasses.dataclass(frozen=True)
class MeshUnits:
    """A unit and how it is known.

    Attributes:
        units: "mm", "cm", "m" or "um". to_mm: factor on the coordinates. source: a sentence for the report.
    """

    units: str
    to_mm: float
    source: str


def find_units(vertices: np.ndarray, *, given: str | None = None, comments: tuple[str, ...] = (), name: str = "mesh") -> MeshUnits:
    """The unit of a head mesh.

    Args:
        given: the user's word; it wins, and is checked against nothing.
        comments: header lines of the file; "units: mm" is what this package writes.
        name: for the messages.

    Raises:
        ArgumentError: when nothing says the unit and no unit makes the mesh as large as a face or a head.
    """
    if given is not None:
        check_choice("units", given, MM_PER_UNIT)
        return MeshUnits(given, MM_PER_UNIT[given], f"{given} (given)")
    for line in comments:
        word = line.partition("units:")[2].split()
        if word and word[0].strip(",;.") in MM_PER_UNIT:
            units = word[0].strip(",;.")
            return MeshUnits(units, MM_PER_UNIT[units], f"{units} (written in the file)")
    diagonal = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    for units, factor in MM_PER_UNIT.items():
        if SMALLEST_MM <= diagonal * factor <= LARGEST_MM:
            return MeshUnits(units, factor, f"{units} (detected: the diagonal of {diagonal:.4g} is {diagonal * factor:.0f} mm then)")
    raise ArgumentError(f"{name}: its box has a diagonal of {diagonal:.4g}, a head in none of {', '.join(MM_PER_UNIT)}; give its unit "
                        f"with --{name}-units")
