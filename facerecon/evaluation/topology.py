"""From the topology of a prediction to the 53,215 vertices of the Basel face, where dense metrics live."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from facerecon.morphable.basel.open_head import Places

BFM_VERTICES = 53215


@functools.lru_cache(maxsize=1)
def open_to_basel() -> Places:
    """Where the Basel vertices lie on the open head; `carry` maps (V, 3) of the open head to (53215, 3)."""
    from facerecon.evaluation.basel import load_model_data
    from facerecon.morphable.basel.open_head import places_by_registration

    return places_by_registration(load_model_data("open"), np.arange(BFM_VERTICES), np.zeros((BFM_VERTICES, 3)))


@functools.lru_cache(maxsize=1)
def open_face_vertices() -> np.ndarray:
    """Region `open_face`: the Basel vertices whose place on the open head lies in its face mask (no neck, no ears)."""
    from facerecon.evaluation.basel import load_model_data
    from facerecon.morphable.basel.open_head import carry_mask

    masks = load_model_data("open").masks
    if "face" not in masks:
        raise ModelError("the open model has no mask named face; region open_face cannot be made from it")
    return np.flatnonzero(carry_mask(masks["face"], open_to_basel()))


class ToBasel:
    """Map of a prediction's vertices to the 53,215, and which of these it covers.

    Args:
        topology: "bfm53215", "bfm38365", "bfm35709" or "open-head".
        region_files: the folder with index files, which the two smaller Basel topologies need.
    """

    def __init__(self, topology: str, region_files: str | None = None) -> None:
        self.topology, self.index, self.map = topology, None, None
        self.available = np.ones(BFM_VERTICES, dtype=bool)
        if topology == "open-head":
            self.map = open_to_basel()
            self.vertex_count = int(self.map.corners.max()) + 1
        elif topology in ("bfm38365", "bfm35709"):
            from facerecon.evaluation.regions import needs, topology_indices

            if region_files is None:
                region = {"bfm38365": "noneck38365", "bfm35709": "front35709"}[topology]
                raise ModelError(f"predictions in topology {topology}: {needs(region)}", code="model_missing")
            self.index = topology_indices(topology, region_files)
            self.available[:] = False
            self.available[self.index] = True
        elif topology != "bfm53215":
            raise ArgumentError(f"topology: wanted bfm53215, bfm38365, bfm35709 or open-head, got {topology!r}")

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) -> (53215, 3) float64; vertices that the topology lacks are zero (restrict the region by `available`)."""
        if self.map is not None:
            if len(vertices) < self.vertex_count:
                raise ArgumentError(f"vertices: wanted those of the open head, got {len(vertices)}", code="shape_invalid")
            return self.map.carry(np.asarray(vertices, dtype=np.float64))
        wanted = BFM_VERTICES if self.index is None else len(self.index)
        check_shape("vertices", vertices, (wanted, 3))
        if self.index is None:
            return np.asarray(vertices, dtype=np.float64)
        full = np.zeros((BFM_VERTICES, 3))
        full[self.index] = vertices
        return full
