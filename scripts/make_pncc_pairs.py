#!/usr/bin/env python3
"""Make training pairs for the PNCC predictor: face crops and the true code, drawn from model parameters.

    python scripts/make_pncc_pairs.py faces FOLDER -o OUT [--every 19] [--start uda_ --start mask_]
    python scripts/make_pncc_pairs.py 300w-lp FOLDER --model BASEL.facemodel -o OUT
    python scripts/make_pncc_pairs.py synthetic -o OUT --count 200 [--seed 0]

`faces`: a folder with `faces.jsonl` and tar shards, or any folder of square face crops; each crop is fitted by its dense
landmarks (no photometric stage) and kept where the fit explains them. `300w-lp`: the release as it unpacks, drawn from its own
parameters; the Basel model is the user's (`facerecon convert-basel`). `synthetic`: the heads of `facerecon synthesise`, to 90
degrees of yaw to each side; an archive of that verb is a set of pairs by itself.

OUT gets shards that `facerecon.pncc.load_pairs` reads. A run that was stopped goes on where it stopped; another setting needs
another folder. One seed gives one set of files. `--sheet FILE.png` draws some of the pairs, to be looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import numpy as np

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

from facerecon.errors import FaceError, FaceReconError, FitError  # noqa: E402
from facerecon.gmda import MAP_SIZE  # noqa: E402
from facerecon.pncc import (  # noqa: E402
    PnccPairs, load_pairs, make_pairs, pose_to_crop, read_shard, shard_path, write_shard)
from facerecon.synthesis.archive import describe_model  # noqa: E402

SHARD = 100
# A fit is kept where its mean landmark distance is below this, in percent of the root of the landmark box's area: about 2 px of
# a 192 px crop. The median over real crops is 0.7.
LARGEST_RESIDUAL = 1.5
# Crops are fitted at this size; their landmarks need more pixels than the network sees.
FIT_SIZE = 192


@dataclasses.dataclass(frozen=True)
class Pair:
    """image (S, S, 3) uint8, code (128, 128, 3) in [0, 1], who it is, and facts for its row."""

    image: np.ndarray
    code: np.ndarray
    subject: str | None
    row: dict[str, Any]


class Source(Protocol):
    """Candidates for pairs: their names, what they are made of, and one pair or a FaceReconError for each."""

    names: tuple[str, ...]
    about: dict[str, Any]

    def make(self, index: int) -> Pair: ...


def true_code(model: Any, vertices: Any, pose: Any) -> np.ndarray:
    """The code (128, 128, 3) of a mesh as `facerecon pncc` draws it: neck and hair hide, only the face's region is shown."""
    from facerecon.render import ambient_light
    from facerecon.views import PhotoView

    return PhotoView(model, vertices, model.albedo_mean, ambient_light(), pose, (MAP_SIZE, MAP_SIZE)).pncc()


class FittedCrops:
    """Real crops, fitted by dense landmarks."""

    def __init__(self, folder: Path, *, size: int, every: int, starts: list[str], largest: float) -> None:
        import torch

        from facerecon.pipeline import FaceReconstructor
        from facerecon.training.crops import load_crops

        torch.set_num_threads(1)
        crops = load_crops(folder, size=FIT_SIZE, every=every)
        chosen = [i for i, name in enumerate(crops.names) if not starts or name.startswith(tuple(starts))]
        self._images, self._size, self._largest = crops.images[chosen], size, largest
        self.names = tuple(crops.names[i] for i in chosen)
        self._subjects = [crops.subjects[i] for i in chosen]
        self._fit = FaceReconstructor(stages="landmarks", texture="none", faces="largest")
        self.about = {"source": "faces", "size": size, "every": every, "starts": starts, "largest_residual_percent": largest,
                      "model": describe_model(self._fit.model), "crops": len(chosen)}

    def make(self, index: int) -> Pair:
        """Fit one crop."""
        import cv2
        import torch

        face = self._fit(self._images[index])[0]
        residual = face.fit["landmark_nme_percent"]
        away = np.abs((face.box[:2] + face.box[2:] - FIT_SIZE + 1) / 2).max()
        if "no_dense_landmarks" in face.flags or "pose_out_of_range" in face.flags or residual > self._largest:
            raise FitError(f"landmarks are {residual:.2f} % away, flags {face.flags}", code="fit_failed")
        if away > FIT_SIZE / 5:
            raise FaceError("the largest face is not the crop's", code="no_face")
        pose = face.pose.scaled_image(MAP_SIZE / FIT_SIZE)
        image = cv2.resize(self._images[index], (self._size, self._size), interpolation=cv2.INTER_AREA)
        row = {"pose": pose.to_dict(), "residual_percent": round(residual, 4)}
        return Pair(image, true_code(face.model, torch.from_numpy(face.vertices), pose), self._subjects[index], row)


class ReleasedFits:
    """300W-LP: its photos, and codes drawn from its parameters with the user's Basel model."""

    def __init__(self, folder: Path, model: Path, *, size: int, every: int) -> None:
        from facerecon.data.datasets import read_300w_lp
        from facerecon.evaluation.basel import load_dense_truth
        from facerecon.morphable import load_model

        self._samples, self._size = read_300w_lp(folder), size
        self._model, self._truth = load_model(model), load_dense_truth(model)
        self._indices = range(0, len(self._samples), every)
        self.names = tuple(self._samples.names[i] for i in self._indices)
        self.about = {"source": "300w-lp", "size": size, "every": every, "model": describe_model(self._model),
                      "truth": self._truth.title}

    def make(self, index: int) -> Pair:
        """Read one sample."""
        import torch

        from facerecon.data import load_image
        from facerecon.data.datasets.zhu import camera_from_zhu
        from facerecon.detection import CropRule, cut_square
        from facerecon.evaluation.truth import truth_from_sample
        from facerecon.geometry import ScaledOrthographicPose

        sample = self._samples[self._indices[index]]
        pixels = load_image(sample.image).pixels
        # The release's landmarks have no depth, which a truth wants; the shape does not depend on them.
        shape = self._truth.shapes([truth_from_sample(dataclasses.replace(sample, landmarks=np.zeros((68, 3))))])[0]
        rotation, translation, scale = camera_from_zhu(sample.pose_para, sample.image_height)
        pose = ScaledOrthographicPose(*(torch.tensor(part, dtype=torch.float32) for part in (rotation, translation, scale)))
        points = pose.project(torch.from_numpy(shape[self._truth.keypoints]).float()).numpy()
        box = np.concatenate([points.min(axis=0)[:2], points.max(axis=0)[:2]])
        crop = CropRule().crop(box, size=self._size, box_of="points")
        pose = pose_to_crop(pose, dataclasses.replace(crop, size=MAP_SIZE))
        # Views of one photo share a subject, so that a split keeps them together.
        subject = sample.name.replace("_Flip", "").rsplit("_", 1)[0]
        return Pair(cut_square(pixels, crop), true_code(self._model, torch.from_numpy(shape).float(), pose), subject,
                    {"pose": pose.to_dict()})


class SyntheticHeads:
    """Rendered heads of the open model with known parameters, each a person of its own.

    Args:
        size: side of the crops, px. count: how many. seed: of everything; head i of a seed does not depend on `count`.
    """

    def __init__(self, *, size: int, count: int, seed: int) -> None:
        import torch

        from facerecon.synthesis.source import HeadOptions

        torch.set_num_threads(1)
        self._source = HeadOptions(count, seed=seed, size=size).open()
        self.names = tuple(f"synthetic_{seed}_{index:06d}" for index in range(count))
        self.about = self._source.about

    def make(self, index: int) -> Pair:
        """Draw one head."""
        face = self._source.make(index)[0]
        pose = face.parameters.pose.scaled_image(MAP_SIZE / face.size)
        return Pair(face.image, face.maps["pncc"] / np.float32(255), face.subject, {"pose": pose.to_dict()})


def fill(folder: Path, source: Source, *, size: int, shard: int = SHARD, say=print) -> None:
    """Make the shards that are not there yet; a shard that is there must have been made with the same settings."""
    start, made = time.perf_counter(), 0
    for number, first in enumerate(range(0, len(source.names), shard)):
        path = shard_path(folder, number)
        if path.exists():
            if read_shard(path).about != source.about:
                raise SystemExit(f"{path} was made with other settings; choose an empty folder")
            continue
        indices = range(first, min(first + shard, len(source.names)))
        write_shard(path, _one_shard(source, indices, size))
        made += len(indices)
        spent = time.perf_counter() - start
        say(f"{indices[-1] + 1} of {len(source.names)} candidates, {spent / made:.3f} s each", file=sys.stderr)


def _one_shard(source: Source, indices: range, size: int) -> PnccPairs:
    kept: list[tuple[str, Pair]] = []
    dropped = []
    for index in indices:
        try:
            kept.append((source.names[index], source.make(index)))
        except FaceReconError as error:
            dropped.append({"name": source.names[index], "code": error.code})
    return make_pairs([pair.image for _, pair in kept], [pair.code for _, pair in kept], [name for name, _ in kept], size=size,
                      subjects=[pair.subject for _, pair in kept], about=source.about, rows=[pair.row for _, pair in kept],
                      dropped=dropped)


def sheet(pairs: PnccPairs, path: Path, *, count: int = 48, columns: int = 8) -> None:
    """A picture of some pairs: crop, code, and the crop with the code over it."""
    import cv2

    from facerecon.export import write_image

    cells = []
    for index in np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int):
        image = cv2.resize(pairs.images[index], (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_AREA)
        code, mask = pairs.maps[index], pairs.mask[index][..., None]
        cells.append(np.concatenate([image, code, np.where(mask, image // 2 + code // 2, image)], axis=0))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.concatenate(cells[first:first + columns], axis=1) for first in range(0, len(cells), columns)]
    write_image(path, np.concatenate(rows, axis=0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=("faces", "300w-lp", "synthetic"))
    parser.add_argument("folder", type=Path, nargs="?", help="of the photos; not for synthetic")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128, help="side of the crops, px")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo")
    parser.add_argument("--start", action="append", default=[], help="take crops whose name starts so; may be repeated")
    parser.add_argument("--largest", type=float, default=LARGEST_RESIDUAL, help="largest landmark residual of a fit, percent")
    parser.add_argument("--model", type=Path, help="a Basel .facemodel, for 300w-lp")
    parser.add_argument("--count", type=int, default=200, help="how many synthetic heads")
    parser.add_argument("--seed", type=int, default=0, help="of synthetic heads")
    parser.add_argument("--sheet", type=Path, help="draw some pairs into this PNG")
    arguments = parser.parse_args()
    if (arguments.folder is None) != (arguments.source == "synthetic"):
        parser.error("faces and 300w-lp need a folder of photos, synthetic takes none")
    if (arguments.model is None) == (arguments.source == "300w-lp"):
        parser.error("300w-lp, and nothing else, needs --model BASEL.facemodel (make it with facerecon convert-basel)")
    try:
        fill(arguments.output, make_source(arguments), size=arguments.size)
        pairs = load_pairs(arguments.output)
        reasons = ", ".join(f"{count} {code}" for code, count in sorted(Counter(row["code"] for row in pairs.dropped).items()))
        print(f"{arguments.output}: {len(pairs)} pairs, {len(pairs.dropped)} dropped ({reasons or 'none'})")
        if arguments.sheet is not None:
            sheet(pairs, arguments.sheet)
    except FaceReconError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 2
    return 0


def make_source(arguments: argparse.Namespace) -> Source:
    """The source that the command line names."""
    if arguments.source == "faces":
        return FittedCrops(arguments.folder, size=arguments.size, every=arguments.every, starts=arguments.start,
                           largest=arguments.largest)
    if arguments.source == "300w-lp":
        return ReleasedFits(arguments.folder, arguments.model, size=arguments.size, every=arguments.every)
    return SyntheticHeads(size=arguments.size, count=arguments.count, seed=arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
