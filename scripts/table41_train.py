"""Stages 1 to 4 of `table41`: pairs, PNCC networks, annotation of the training folder, encoders."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_pncc_pairs
import numpy as np
import torch
from table41_plan import Plan
from stages import Interrupted, Stages

from facerecon.data import load_image
from facerecon.data.shards import read_shard_tar, write_shard_tar
from facerecon.export.images import encode_image
from facerecon.files import sha256_file
from facerecon.pncc import PnccPredictor, load_pairs
from facerecon.training import load_material, load_recipe, train
from facerecon.training.crops import INDEX_NAME, crop_rows
from facerecon.training.mofa_codes import with_predicted_codes
from facerecon.training.mofa_material import MofaMaterial, MofaSet

KINDS = ("few", "full")
PNCC_RECIPE, MOFA_RECIPE, MOFA_PNCC_RECIPE = "pncc-cpu-128", "mofa-cpu-128", "mofa-pncc-cpu-128"
AUTOENCODER, WEIGHTS = "autoencoder-128", "weights.safetensors"


@dataclasses.dataclass(frozen=True)
class Networks:
    """Weights of the five networks: encoders by "mofa", "mofa-few", "mofa-full", PNCC networks by "few" and "full"."""

    encoders: dict[str, Path]
    pncc: dict[str, Path]


class Training:
    """Makes what the table compares; each step is a stage of its own."""

    def __init__(self, plan: Plan, stages: Stages) -> None:
        self._plan, self._stages = plan, stages
        self._pairs = plan.output / "pairs"
        self._heads = self._pairs / "synthetic"

    def run(self) -> Networks:
        """All stages, in order."""
        plan = self._plan
        source = {"faces": _listing(plan.faces), "size": plan.size, "seed": plan.seed}
        heads = self._stages.run("pairs-synthetic", {"heads": plan.heads, "size": plan.size, "seed": plan.seed},
                                 self._draw_heads)
        real = self._stages.run("pairs-real", {**source, "every": plan.pairs}, self._fit_crops)
        data = {**source, "pairs": [heads, real]}
        pncc, encoders = {}, {}
        for kind in KINDS:
            steps, samples = (plan.few_steps, plan.few) if kind == "few" else (plan.full_steps, 0)
            self._stages.run(f"pncc-{kind}", {**data, "steps": steps, "samples": samples},
                             lambda: self._train_pncc(kind, steps, samples))
            pncc[kind] = plan.output / f"pncc-{kind}" / WEIGHTS
        learnt = {**data, "real": plan.real, "share": plan.share, "unlabelled": plan.unlabelled}
        trained = {**learnt, "steps": plan.steps, "batch": plan.batch, "self_supervised": plan.self_supervised}
        codes = {kind: self._stages.run(f"annotate-{kind}", {**learnt, "weights": sha256_file(pncc[kind])},
                                        lambda: self._annotate(kind, pncc[kind])) for kind in KINDS}
        for name in ("mofa", *(f"mofa-{kind}" for kind in KINDS)):
            kind = name.partition("-")[2]
            options = {**trained, "codes": codes[kind]["sha256"]} if kind else trained
            self._stages.run(name, options, lambda: self._train_mofa(name, kind, pncc.get(kind)))
            encoders[name] = plan.output / name / WEIGHTS
        return Networks(encoders, pncc)

    def _draw_heads(self) -> dict[str, Any]:
        draw_heads(self._heads, self._plan.heads, seed=self._plan.seed, size=self._plan.size, workers=self._plan.workers)
        return {"heads": self._plan.heads}

    def _fit_crops(self) -> dict[str, Any]:
        with _threads(1):
            source = make_pncc_pairs.FittedCrops(self._plan.faces, size=self._plan.size, every=self._plan.pairs, starts=[],
                                                 largest=make_pncc_pairs.LARGEST_RESIDUAL)
            make_pncc_pairs.fill(self._pairs / "real", source, size=self._plan.size)
        pairs = load_pairs(self._pairs / "real")
        return {"candidates": len(source.names), "pairs": len(pairs), "sha256": pairs.sha256}

    def _train_pncc(self, kind: str, steps: int, samples: int) -> dict[str, Any]:
        recipe = load_recipe(PNCC_RECIPE, [f"steps={steps}", f"samples={samples}", *_pace(steps)])
        material = load_material(recipe, self._pairs, seed=self._plan.seed)
        return self._train(recipe, material, f"pncc-{kind}", init=AUTOENCODER)

    @functools.cached_property
    def _material(self) -> MofaMaterial:
        """What the three encoders learn from, without codes."""
        recipe = self._mofa_recipe(MOFA_RECIPE)
        sources = [f"{self._plan.faces}={1 - self._plan.share}", f"{self._heads}={self._plan.share}"]
        return load_material(recipe, sources, seed=self._plan.seed, cache=self._plan.output / "landmarks.jsonl")

    def _annotate(self, kind: str, weights: Path) -> dict[str, Any]:
        """The maps that the network sees in every training picture, as `codes=WEIGHTS` of the recipe makes them: tars of PNG."""
        predictor, material = PnccPredictor.load(weights, device=self._plan.device), self._material
        predictor.task.check_model(material.model)
        digest, empty, count = hashlib.sha256(material.training.sha256.encode()), 0, 0
        with _threads(self._plan.threads):
            for part, samples in self._parts():
                maps = with_predicted_codes(samples, predictor).maps
                pictures = ((_member(index), encode_image(code, "png", compression=1)) for index, code in enumerate(maps))
                digest.update(sha256_file(write_shard_tar(self._code_path(kind, part), pictures)).encode())
                # A map without a face is kept: the encoders shall learn from the same pictures.
                empty, count = empty + int((~maps.any((1, 2, 3))).sum()), count + len(maps)
        return {"pictures": count, "empty": empty, "sha256": digest.hexdigest()}

    def _train_mofa(self, name: str, kind: str, weights: Path | None) -> dict[str, Any]:
        if weights is None:
            return self._train(self._mofa_recipe(MOFA_RECIPE), self._material, name)
        recipe = self._mofa_recipe(MOFA_PNCC_RECIPE, f"codes={weights}")
        return self._train(recipe, self._with_codes(kind), name)

    def _mofa_recipe(self, name: str, *changes: str):
        plan = self._plan
        known = ["terms.parameters=0", "terms.vertices=0"] if plan.self_supervised else []
        return load_recipe(name, [
            f"steps={plan.steps}", f"batch_size={plan.batch}", f"samples={plan.real}", f"unlabelled={plan.unlabelled}",
            f"warmup={min(100, plan.steps // 10)}", *_pace(plan.steps), *known, *changes])

    def _parts(self) -> Iterator[tuple[str, Any]]:
        for split in ("training", "validation"):
            chosen = getattr(self._material, split)
            for index, samples in enumerate(() if chosen is None else chosen.parts):
                yield f"{split}-{index}", samples

    def _with_codes(self, kind: str) -> MofaMaterial:
        coded = {}
        for part, samples in self._parts():
            names = [_member(index) for index in range(len(samples))]
            maps = [load_image(content).pixels for _, content in read_shard_tar(self._code_path(kind, part), names)]
            coded[part] = dataclasses.replace(samples, maps=np.stack(maps)) if maps else samples

        def split(name: str) -> MofaSet | None:
            whole = getattr(self._material, name)
            return whole and MofaSet(tuple(coded[f"{name}-{index}"] for index in range(len(whole.parts))), whole.shares)

        return dataclasses.replace(self._material, training=split("training"), validation=split("validation"))

    def _code_path(self, kind: str, part: str) -> Path:
        return self._plan.output / "codes" / kind / f"{part}.tar"

    def _train(self, recipe, material, name: str, *, init=None) -> dict[str, Any]:
        with _threads(self._plan.threads):
            result = train(recipe, material, self._plan.output / name, init=init, resume=True, device=self._plan.device,
                           seed=self._plan.seed)
        if not result.finished:
            raise Interrupted(name)
        return {"steps": result.steps, "skipped": result.skipped, "samples": len(material.training), "metrics": result.metrics}


def draw_heads(folder: Path, count: int, *, seed: int, size: int, workers: int) -> None:
    """`facerecon synthesise -n COUNT -o FOLDER --seed SEED --size SIZE --maps pncc`; goes on where it was stopped."""
    from facerecon.cli.synthesise import fill_archive

    folder.mkdir(parents=True, exist_ok=True)
    fill_archive(folder, count=count, seed=seed, size=size, workers=workers)


def _pace(steps: int) -> list[str]:
    """Look at validation data twice, keep a checkpoint about every minute, make no pictures."""
    return [f"validate_every={max(1, steps // 2)}", "pictures_every=0", f"checkpoint_every={max(1, min(100, steps // 2))}"]


def _listing(faces: Path) -> str:
    """Hash of what the folder lists: the index of an archive, or the names of photos."""
    if (faces / INDEX_NAME).is_file():
        return sha256_file(faces / INDEX_NAME)
    return hashlib.sha256("\n".join(row.name for row in crop_rows(faces)).encode()).hexdigest()


def _member(index: int) -> str:
    return f"{index:06d}.png"


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(count or cores)
    try:
        yield
    finally:
        torch.set_num_threads(before)
