"""What all Basel readers give, and the checks that they share."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.errors import ModelError

FULL, TRIMMED = 53490, 53215
MICROMETRE, DECIMETRE = 1e-3, 100.0
# iBUG-68 points as vertices of the 53,215-vertex topology; the same in the packages of Zhu, Guo and Deep3D.
KEYPOINTS = np.array([
    21873, 22149, 21653, 21036, 43236, 44918, 46166, 47135, 47914, 48695, 49667, 50924, 52613, 33678, 33005, 32469, 32709,
    38695, 39392, 39782, 39987, 40154, 40893, 41059, 41267, 41661, 42367, 8161, 8177, 8187, 8192, 6515, 7243, 8204, 9163, 9883,
    2215, 3886, 4920, 5828, 4801, 3640, 10455, 11353, 12383, 14066, 12653, 11492,
    5522, 6025, 7495, 8215, 8935, 10395, 10795, 9555, 8836, 8236, 7636, 6915, 5909, 7384, 8223, 9064, 10537, 8829, 8229, 7629])
LICENCE = "Basel Face Model: non-commercial academic use, no redistribution (University of Basel)"
_HEAD_MM = (100.0, 600.0)


@dataclasses.dataclass(frozen=True)
class RawModel:
    """One Basel file in one form: millimetres, y up, bases times their standard deviations.

    Attributes:
        kind: which reader made it. source: file names. units: what the file was in, and how that is known.
        mean_shape: (V, 3), mean face. mean_expression: (V, 3) to be added for the model's mean, or None when `mean_shape`
            holds it already.
        identity: (K, V, 3), expression: (E, V, 3), per standard deviation.
        identity_scale: (K,), expression_scale: (E,): raw coefficient of the file's own kind for one standard deviation.
        parameters: "zhu" when raw coefficients are Shape_Para and Exp_Para of 300W-LP and AFLW2000-3D, else None.
        faces: (F, 3) from 0 in any winding, or None.
        keypoints: (68,) vertices of the iBUG points, or None. landmarks: {name: (3,) mm} where the file has named places.
        trimmed: (V,) index of every vertex among the 53,215, -1 for none; None when unknown.
        texture_mean: (V, 3) and texture_basis (A, V, 3) as RGB in [0, 1], or None.
        masks: {name: (V,) bool} that the file holds. uv: (V, 2) or None.
        notes: what a user should know about the conversion.
    """

    kind: str
    source: str
    units: str
    mean_shape: np.ndarray
    mean_expression: np.ndarray | None
    identity: np.ndarray
    expression: np.ndarray
    identity_scale: np.ndarray
    expression_scale: np.ndarray
    parameters: str | None = None
    faces: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    landmarks: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    trimmed: np.ndarray | None = None
    texture_mean: np.ndarray | None = None
    texture_basis: np.ndarray | None = None
    masks: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    uv: np.ndarray | None = None
    licence: str = LICENCE
    notes: tuple[str, ...] = ()

    @property
    def mean(self) -> np.ndarray:
        """(V, 3) mean face with its mean expression."""
        return self.mean_shape if self.mean_expression is None else self.mean_shape + self.mean_expression


def corrupt(text: str) -> ModelError:
    """A refusal of a file that is damaged or not what its name says."""
    return ModelError(f"{text}; copy the file again or give the right one", code="model_corrupt")


def entry(values: dict, names: tuple[str, ...], where: str) -> np.ndarray:
    """The first of several names that a file has, as a numeric array; raises ModelError when none is there."""
    for name in names:
        if name in values:
            value = np.asarray(values[name])
            if value.dtype.kind not in "fiub":
                raise corrupt(f"{where}: {name}: wanted numbers, got {value.dtype}")
            return value
    have = ", ".join(sorted(str(name) for name in values)[:12])
    raise corrupt(f"{where}: wanted {' or '.join(names)}, got {have or 'nothing'}")


def finite(name: str, value: np.ndarray, where: str) -> np.ndarray:
    """Require finite numbers."""
    if not np.isfinite(value).all():
        raise corrupt(f"{where}: {name}: {int((~np.isfinite(value)).sum())} numbers are NaN or infinite")
    return value


def vertices_of(name: str, value: np.ndarray, where: str, *, count: int | None = None) -> np.ndarray:
    """A column of interleaved x, y, z as (V, 3) float64."""
    flat = np.asarray(value, dtype=np.float64).reshape(-1)
    if len(flat) == 0 or len(flat) % 3 or (count is not None and len(flat) != 3 * count):
        raise corrupt(f"{where}: {name}: wanted {'3V' if count is None else 3 * count} numbers, got {value.shape}")
    return finite(name, flat.reshape(-1, 3), where)


def basis_of(name: str, value: np.ndarray, where: str, *, count: int) -> np.ndarray:
    """Components in columns (3V, K) as (K, V, 3), a view where possible; (K, 3V) is refused, since K may be anything."""
    value = np.asarray(value)
    if value.ndim != 2 or value.shape[0] != 3 * count:
        raise corrupt(f"{where}: {name}: wanted ({3 * count}, components), got {value.shape}")
    return finite(name, value, where).T.reshape(value.shape[1], count, 3)


def deviations_of(name: str, value: np.ndarray, where: str, *, at_least: int) -> np.ndarray:
    """Standard deviations as (K,) float64: finite and above zero."""
    flat = finite(name, np.asarray(value, dtype=np.float64).reshape(-1), where)
    if len(flat) < at_least:
        raise corrupt(f"{where}: {name}: wanted {at_least} standard deviations, got {len(flat)}")
    flat = flat[:at_least]
    if len(flat) and flat.min() <= 0:
        raise corrupt(f"{where}: {name}: wanted standard deviations above zero, got {flat.min():g}")
    return flat


def scaled(basis: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(K, V, 3) times a factor per component, as float32."""
    return (np.asarray(basis, dtype=np.float32) * np.asarray(factors, dtype=np.float32)[:, None, None]).astype(np.float32, copy=False)


def check_unit_columns(name: str, basis: np.ndarray, where: str) -> None:
    """Require components of length one, which tells a raw basis from one that is multiplied by its deviations."""
    length = np.sqrt(np.einsum("kvc,kvc->k", basis, basis, dtype=np.float64))
    if len(length) and (length.min() < 0.9 or length.max() > 1.1):
        raise corrupt(f"{where}: {name}: wanted components of length 1, got {length.min():.3g} to {length.max():.3g}")


def faces_of(name: str, value: np.ndarray, where: str, *, count: int) -> np.ndarray:
    """Triangles as (F, 3) int64 from 0, whether they are stored (F, 3) or (3, F), from 0 or from 1."""
    value = np.asarray(value)
    if value.ndim != 2 or 3 not in value.shape or value.size == 0:
        raise corrupt(f"{where}: {name}: wanted triangles (F, 3) or (3, F), got {value.shape}")
    if value.shape[1] != 3:
        value = value.T
    return indices_of(name, value, where, count=count)


def indices_of(name: str, value: np.ndarray, where: str, *, count: int, base: int | None = None) -> np.ndarray:
    """Indices as int64 from 0, shape kept.

    Args:
        base: the file's first index; None finds it: 0 or `count` among the numbers decides, and without either the files are
            MATLAB's (1). Numbers stored as floats must be whole.
    """
    value = finite(name, np.asarray(value), where)
    whole = value.astype(np.int64)
    if value.dtype.kind == "f" and (np.abs(value) > 2**31).any() or not np.array_equal(whole, value):
        raise corrupt(f"{where}: {name}: wanted whole numbers")
    if base is None:
        base = 0 if whole.size and whole.min() == 0 else 1
    whole = whole - base
    if whole.size and (whole.min() < 0 or whole.max() >= count):
        raise corrupt(f"{where}: {name}: wanted indices from {base} to {count - 1 + base}, got {whole.min() + base} to "
                      f"{whole.max() + base}")
    return whole


def keypoints_of(name: str, value: np.ndarray, where: str, *, count: int, base: int | None = None) -> np.ndarray:
    """The 68 keypoints as vertices from 0: (68,) indices, or (204,) indices of interleaved coordinates (3i, 3i+1, 3i+2)."""
    flat = np.asarray(value).reshape(-1)
    if len(flat) == 204:
        rows = indices_of(name, flat, where, count=3 * count, base=0).reshape(68, 3)
        if (rows[:, 0] % 3).any() or (np.diff(rows, axis=1) != 1).any():
            raise corrupt(f"{where}: {name}: wanted 3i, 3i+1, 3i+2 in every row")
        return rows[:, 0] // 3
    if len(flat) != 68:
        raise corrupt(f"{where}: {name}: wanted 68 or 204 indices, got {len(flat)}")
    return indices_of(name, flat, where, count=count, base=base)


def check_not_shape_twice(identity: np.ndarray, expression: np.ndarray, where: str) -> None:
    """Refuse expressions that are the first shape components again: some published files hold such a copy by mistake."""
    columns = min(len(identity), len(expression))
    if columns and np.array_equal(identity[:columns], expression[:columns]):
        raise ModelError(f"{where}: w_exp equals the first {columns} shape components; this is a known faulty export, use the "
                         f"expression basis of the package", code="model_invalid")


def check_size(mean: np.ndarray, where: str) -> None:
    """Require a head between 10 and 60 cm tall, which catches a wrong unit."""
    height = float(np.ptp(mean[:, 1]))
    if not _HEAD_MM[0] <= height <= _HEAD_MM[1]:
        raise ModelError(f"{where}: the mean face is {height:.4g} mm tall; the file is not in the unit that its kind has")


def trimmed_index(vertex_count: int, index: np.ndarray | None, where: str) -> np.ndarray | None:
    """(V,) place of every vertex among the 53,215; known for the two large topologies, from `index` (0-based) for others."""
    from facerecon.morphable.basel.patches import trim_index

    if vertex_count == TRIMMED:
        return np.arange(TRIMMED)
    if vertex_count == FULL:
        place = np.full(FULL, -1, dtype=np.int64)
        place[trim_index()] = np.arange(TRIMMED)
        return place
    if index is None:
        return None
    if len(index) != vertex_count or len(np.unique(index)) != vertex_count:
        raise corrupt(f"{where}: the index file has {len(index)} entries for {vertex_count} vertices")
    return index


def texture_of(mean: np.ndarray, basis: np.ndarray | None, deviations: np.ndarray | None, divisor: float) -> tuple:
    """Texture as ((V, 3) in [0, 1], (A, V, 3) per standard deviation or None)."""
    if basis is None or deviations is None:
        return mean / divisor, None
    return mean / divisor, scaled(basis, deviations / divisor)
