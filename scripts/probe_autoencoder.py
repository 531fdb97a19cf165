"""How much of a face's geometry an autoencoder's code holds: landmarks read from it by ridge regression.

    python scripts/probe_autoencoder.py FACES WEIGHTS [WEIGHTS ...]

FACES is a crop archive with landmarks, WEIGHTS an autoencoder's file or folder, or `autoencoder-128`. The regression learns from the
training people and is scored on the validation people (NME, inter-ocular, %), with the ridge that is best for them: a measure for
comparing autoencoders in a minute, not a result. Rows of comparison: the mean shape, a network of random weights, and as many
principal components of the pictures as the codes have numbers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

COUNTS = (50, 0)  # 0: all
RIDGES = 10.0 ** np.arange(0, 5.5, 0.5)
SMALL, COMPONENTS = 32, 99


def codes_of(network, images: np.ndarray) -> np.ndarray:
    """(N, latent) codes of (N, S, S, 3) uint8 crops."""
    import torch

    from facerecon.gmda import normalise

    found = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(images), 64):
            batch = torch.from_numpy(images[start:start + 64]).permute(0, 3, 1, 2).float() / 255
            found.append(network.encoder(normalise(batch).contiguous(memory_format=torch.channels_last)).latent.float())
    return torch.cat(found).numpy()


def principal_codes(train: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the reduced pictures."""
    import cv2

    flat = [np.stack([cv2.resize(image, (SMALL, SMALL), interpolation=cv2.INTER_AREA).ravel() for image in images]) / 255.0
            for images in (train, other)]
    mean = flat[0].mean(0)
    axes = np.linalg.svd(flat[0] - mean, full_matrices=False)[2][:COMPONENTS]
    return (flat[0] - mean) @ axes.T, (flat[1] - mean) @ axes.T


def lowest_error(codes: np.ndarray, points: np.ndarray, other: np.ndarray, truth: np.ndarray) -> float:
    """NME % on `other` of ridge regression from codes to points, at the best ridge."""
    mean, spread = codes.mean(0), codes.std(0) + 1e-6
    codes, other = (codes - mean) / spread, (other - mean) / spread
    target = points.reshape(len(points), -1)
    kernel, errors = codes @ codes.T, []
    for ridge in RIDGES:
        weights = np.linalg.solve(kernel + ridge * np.eye(len(codes)), target - target.mean(0))
        errors.append(nme(other @ codes.T @ weights + target.mean(0), truth))
    return min(errors)


def nme(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance over the distance of the outer eye corners, %."""
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    return float(100 * (np.linalg.norm(found.reshape(truth.shape) - truth, axis=2).mean(1) / eyes).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("weights", nargs="+")
    options = parser.parse_args()
    from facerecon.gmda import build_autoencoder, load_network
    from facerecon.training import load_crops
    from facerecon.training.crops import subject_split
    from facerecon.assets import weights_path

    crops = load_crops(options.faces, size=128, only_labelled=True)
    train, other = (crops.take(subject_split(crops, split)) for split in ("train", "validation"))
    networks = {"random weights": build_autoencoder(image_size=128).eval()}
    networks |= {name: load_network(weights_path(name)).network for name in options.weights}
    rows = {f"{COMPONENTS} principal components": principal_codes(train.images, other.images)}
    rows |= {name: (codes_of(network, train.images), codes_of(network, other.images)) for name, network in networks.items()}
    order = np.random.default_rng(0).permutation(len(train))
    print("| code | " + " | ".join(f"{count or len(train)} samples" for count in COUNTS) + " |\n|---|" + "---|" * len(COUNTS))
    mean = np.repeat(train.points.mean(0, keepdims=True), len(other), 0)
    print(f"| none: the mean shape | | {nme(mean, other.points):.2f} |")
    for name, (codes, theirs) in rows.items():
        cells = []
        for count in COUNTS:
            chosen = order[:count or None]
            cells.append(f"{lowest_error(codes[chosen], train.points[chosen], theirs, other.points):.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
