"""A benchmark in AFLW2000-3D's own file layout, small and made up, with a Basel-shaped model that anyone may have."""

from __future__ import annotations

import numpy as np
import pytest

from facerecon.evaluation.placement import MeanFace
from facerecon.evaluation.predict import DatasetSpec
from facerecon.evaluation.truth import DenseTruth, truth_from_sample

VERTICES = 53215
IMAGES = 12


def made_up_model() -> DenseTruth:
    """A dome in the topology of the Basel face, 3 shape and 2 expression components; coefficients as the data set stores them."""
    from facerecon.morphable.basel.common import KEYPOINTS
    from facerecon.morphable.basel.patches import patch_plane

    generator = np.random.default_rng(5)
    plane = patch_plane(VERTICES)
    # Steep enough in the middle that nothing is symmetric, and as large as a head.
    z = 90 - 0.0016 * (plane ** 2).sum(axis=1) + 18 * np.exp(-((plane - [5, -10]) ** 2).sum(axis=1) / 600)
    mean = np.stack([0.5 * plane[:, 0], 0.62 * plane[:, 1], z], axis=1)
    waves = [np.sin(mean / 45 @ generator.normal(size=(3, 3)) + phase) for phase in range(5)]
    return DenseTruth(mean=mean, identity=np.stack(waves[:3]) * 2e-5, expression=np.stack(waves[3:]) * 0.8,
                      keypoints=KEYPOINTS, title="made up, 3 of 199 + 2 of 29")


@pytest.fixture(scope="session")
def basel_file(tmp_path_factory, dense):
    """The made-up model as a file of the kind that `convert-basel` writes, coefficients scaled to N(0,1)."""
    from facerecon.morphable.basel.assemble import at_vertices, outward
    from facerecon.morphable.basel.patches import patch_faces
    from facerecon.morphable.modelcheck import SCHEMA, topology_sha256
    from facerecon.morphable.modelfile import ModelData, write_model

    count = len(dense.mean)
    faces = outward(dense.mean, patch_faces(dense.mean))
    scales = {"identity": [1e5, 2e5, 3e5], "expression": [1.5, 0.5]}
    bases = [dense._basis[part].reshape(-1, count, 3) * np.array(scale, np.float32)[:, None, None]
             for part, scale in ((slice(0, 3), scales["identity"]), (slice(3, 5), scales["expression"]))]
    header = {"schema": SCHEMA, "name": "made-up", "units": "mm", "licence": "none", "source": "test", "expression_range": None,
              "expression_names": ["a", "b"], "topology_sha256": topology_sha256(faces),
              "basel": {"kind": "test", "topology": "bfm53215", "parameters": "zhu", "raw_scale": scales}}
    data = ModelData(mean=dense.mean.astype(np.float32), faces=faces, identity_basis=bases[0], expression_basis=bases[1],
                     albedo_mean=np.full((count, 3), 0.5, np.float32), albedo_basis=np.zeros((1, count, 3), np.float32),
                     uv=np.zeros((count, 2), np.float32), uv_faces=faces, albedo_texture=np.zeros((4, 4, 3), np.uint8),
                     symmetry=np.arange(count), masks={}, embeddings={"ibug68": at_vertices(dense.keypoints, faces, count)},
                     header=header)
    return write_model(tmp_path_factory.mktemp("model") / "basel.facemodel", data)


def write_sample(folder, name, *, pose, shape, expression, landmarks, pixels=None) -> None:
    """One image with its .mat: the nine keys of AFLW2000-3D in their shapes and types."""
    import cv2
    import scipy.io

    if pixels is None:
        pixels = np.full((450, 450, 3), 90, np.uint8)
    cv2.imwrite(str(folder / f"{name}.jpg"), pixels[..., ::-1])
    scipy.io.savemat(folder / f"{name}.mat", {
        "Shape_Para": np.asarray(shape, dtype=np.float64).reshape(199, 1), "Exp_Para": np.asarray(expression).reshape(29, 1),
        "Tex_Para": np.zeros((199, 1)), "Pose_Para": np.asarray(pose, dtype=np.float64).reshape(1, 7),
        "Illum_Para": np.zeros((1, 10)), "Color_Para": np.ones((1, 7), np.float32), "pt2d": np.full((2, 21), -1.0),
        "pt3d_68": np.asarray(landmarks), "roi": np.array([[1, 1, 450, 450]], np.int16)})


def made_up_benchmark(folder, dense: DenseTruth, count: int = IMAGES) -> None:
    """`count` faces, yaws spread over the three bins, landmarks in agreement with the parameters."""
    from facerecon.data.datasets.zhu import project_zhu

    generator = np.random.default_rng(6)
    for index in range(count):
        shape, expression = np.zeros(199), np.zeros(29)
        shape[:3], expression[:2] = generator.normal(size=3) * 1e5, generator.normal(size=2)
        yaw = (index % 3 * 30 + generator.uniform(2, 28)) * (-1) ** index
        pose = np.array([*np.radians([generator.uniform(-15, 15), yaw, generator.uniform(-15, 15)]),
                         *generator.uniform(215, 235, 2), generator.uniform(-50, 50), 1.2e-3])
        mesh = dense.mean + np.tensordot(shape[:3], dense._basis[:3].reshape(3, -1, 3), 1) + np.tensordot(
            expression[:2], dense._basis[3:].reshape(2, -1, 3), 1)
        landmarks = project_zhu(mesh[dense.keypoints], pose, 450, pixel_origin="matlab1")
        write_sample(folder, f"image{10 * index + 2:05d}", pose=pose, shape=shape, expression=expression, landmarks=landmarks.T)


@pytest.fixture(scope="session")
def dense():
    return made_up_model()


@pytest.fixture(scope="session")
def benchmark_folder(tmp_path_factory, dense):
    folder = tmp_path_factory.mktemp("aflw")
    made_up_benchmark(folder, dense)
    return folder


@pytest.fixture(scope="session")
def truths(benchmark_folder):
    return [truth_from_sample(sample) for sample in DatasetSpec(str(benchmark_folder)).open()]


@pytest.fixture(scope="session")
def sparse_miss(dense):
    return MeanFace(dense.mean[dense.keypoints])
