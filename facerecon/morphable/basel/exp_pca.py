"""Exp_Pca.bin and std_exp.txt of Guo et al. 2018 ("CoarseData"): 79 expression components over the 53,215 vertices.

Little-endian: int32 K; float32[3V] mean; float32[K 3V], one component after the other. Micrometres after multiplication by the
deviations. These are not Zhu's 29 components: Exp_Para of 300W-LP and AFLW2000-3D does not fit them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facerecon.morphable.basel import common
from facerecon.morphable.basel.files import check_file

_MOST = 1000


def read_exp_pca(binary_path: str | os.PathLike[str], deviation_path: str | os.PathLike[str], *,
                 vertex_count: int = common.TRIMMED) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean (V, 3) mm, components (K, V, 3) mm per standard deviation, deviations (K,))."""
    path = Path(binary_path)
    head = check_file(path)
    count = int(np.frombuffer(head[:4].ljust(4, b"\0"), "<i4")[0])
    size, wanted = path.stat().st_size, 4 + 4 * 3 * vertex_count * (count + 1)
    if not 0 < count <= _MOST or size != wanted:
        raise common.corrupt(f"{path.name}: {count} components of {vertex_count} vertices make {wanted} bytes, the file has {size}")
    numbers = np.fromfile(path, "<f4", offset=4)
    common.finite("components", numbers, path.name)
    check_file(Path(deviation_path))
    try:
        deviations = np.array(Path(deviation_path).read_text(encoding="ascii").split(), dtype=np.float64)
    except ValueError as error:
        raise common.corrupt(f"{Path(deviation_path).name}: wanted a text of numbers ({error})") from error
    deviations = common.deviations_of("std_exp", deviations, Path(deviation_path).name, at_least=count)
    mean = numbers[:3 * vertex_count].reshape(vertex_count, 3).astype(np.float64) * common.MICROMETRE
    components = numbers[3 * vertex_count:].reshape(count, vertex_count, 3)
    return mean, common.scaled(components, deviations * common.MICROMETRE), deviations
