#!/usr/bin/env python3
"""Train the weights that ship, from raw crops to files with cards, in stages that can be stopped at any moment.

    python scripts/train_weights.py --faces FACES -o OUT [--seed 0] [--only data|encoder|landmarks|pncc]

FACES is a crop archive (`faces.jsonl` and its shards). The stages:

1. data: photos with their fit (`synthesise --fitted`), photos turned aside (`--profile`) and heads to learn from, of the people
   of the training and validation splits; turned photos and heads to test on, of test people and of another seed;
2. encoder: recipe encoder-128 on the three archives, and twice more from there, at half the rate, with rougher crops, at last
   with more photos turned aside and fewer heads;
3. landmarks, pncc: recipes landmarks-128 and pncc-128 on the same archives, each from the autoencoder that ships, and once
   more from there, at half the rate.

Each network is left in OUT/ship, in half precision; those of landmarks and PNCC leave their decoder to the autoencoder's file.

Each stage leaves its result whole in OUT, says how many photos gave what, and is skipped when it is there. Killed, the same
command goes on: archives at the next block, a training at its last checkpoint. Other options need another OUT. Once the data
are there, `--only` trains one network, so that several can learn side by side.

Processor seconds on one core: a fitted photo 0.15, a turned photo 0.8 (four views), a head 0.04, a step of the encoder 0.45, of
the landmark network 0.7, of the PNCC network 0.4.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

from stages import Interrupted, Stages, exit_status  # noqa: E402

ONLY = ("data", "encoder", "landmarks", "pncc")
# Test faces are never drawn from the seed of those to learn from.
TEST_SEED = 104_729
AUTOENCODER = "autoencoder-128"
RECIPE = "encoder-128"
SHARES = {"fitted": 0.45, "turned": 0.3, "heads": 0.25}
# What the later runs do otherwise: a detector's boxes of turned heads are rougher than boxes of true landmarks.
MORE = ("learning_rate=5e-4", "augmentation.translate=0.12", "augmentation.scale=[0.8, 1.25]")
# Drawn heads help at first and stand in the way later; large pose is learnt from photos turned aside.
LAST_SHARES = {"fitted": 0.4, "turned": 0.5, "heads": 0.1}
# Second runs of the other networks.
HALF_RATE = {"landmarks": ("learning_rate=1e-3", "encoder_learning_rate=5e-4"),
             "pncc": ("learning_rate=5e-4", "encoder_learning_rate=3e-4")}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Options of a run.

    Attributes:
        faces: crop archive. output: folder of everything. seed: of data, weights and order.
        size: side of the pictures, px.
        fitted, turned: every how many-th photo is fitted, and turned. views: of each turned photo, at most.
        heads: to learn from. test_turned: every how many-th photo of test people is turned, and test_heads: heads to test on.
        steps: of the encoder; 0: the recipe's. more, last: steps of its second and third run; 0: none.
        landmark_steps, pncc_steps: of these networks; 0: the recipe's. landmark_more, pncc_more: of their second runs; 0: none.
        set: changes of the recipes, such as "batch_size=16".
        workers: processes that make data. threads: of the training; 0: all cores.
    """

    faces: Path
    output: Path
    seed: int = 0
    size: int = 160
    fitted: int = 2
    turned: int = 8
    views: int = 4
    heads: int = 6000
    test_turned: int = 6
    test_heads: int = 400
    steps: int = 0
    more: int = 4500
    last: int = 10_500
    landmark_steps: int = 0
    landmark_more: int = 3500
    pncc_steps: int = 0
    pncc_more: int = 2500
    set: tuple[str, ...] = ()
    workers: int = 1
    threads: int = 0


class Run(NamedTuple):
    """A run of a recipe: its `key` in stage records, steps (0: the recipe's, or, but for the first run, none), sources, changes."""

    key: str
    steps: int
    sources: tuple[str | Path, ...]
    changes: tuple[str, ...] = ()


class Weights:
    """The stages of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._stages = plan, Stages(plan.output)
        self._data, self._tests = plan.output / "data", plan.output / "test"

    def run(self, only: Sequence[str] = ONLY) -> None:
        """The data, and of the networks those of `ONLY` that are named."""
        plan, data = self._plan, self._make_data()
        fitted, turned = self._data / "fitted", self._data / "turned"
        if "encoder" in only:
            first, last = (tuple(f"{self._data / archive}={share}" for archive, share in shares.items())
                           for shares in (SHARES, LAST_SHARES))
            runs = [Run("steps", plan.steps, first), Run("more", plan.more, first, MORE), Run("last", plan.last, last, MORE)]
            self._make("encoder", data, runs, init=None, ship=self._ship_encoder)
        for name, steps, more, sources in (("landmarks", plan.landmark_steps, plan.landmark_more, (fitted, turned)),
                                           ("pncc", plan.pncc_steps, plan.pncc_more, (self._data,))):
            if name in only:
                runs = [Run("steps", steps, sources), Run("more", more, sources, HALF_RATE[name])]
                self._make(name, data, runs, init=AUTOENCODER, ship=lambda last: self._ship_adapted(name, last))

    def _make(self, name: str, data: dict[str, Any], runs: Sequence[Run], *, init: str | None,
              ship: Callable[[str], dict[str, Any]]) -> None:
        """A network's runs, each from where the last ended, and its file."""
        plan = self._plan
        done: dict[str, Any] = {}
        for turn, run in enumerate(runs):
            if done and not run.steps:
                continue
            place = f"{name}-{run.key}" if done else name
            told = {**done, run.key: run.steps, "set": list(plan.set)} if done else {
                "data": data, "steps": run.steps, "set": list(plan.set), "seed": plan.seed}
            start = plan.output / list(done)[-1] / "weights.safetensors" if done else init
            done[place] = self._stages.run(place, told, lambda: self._train(place, f"{name}-128", run, turn=turn, init=start))
        self._stages.run(f"ship-{name}", done, lambda: ship(list(done)[-1]))

    def _make_data(self) -> dict[str, Any]:
        plan = self._plan
        learnt = {"people": "train,validation", "stage": "colours"}
        asked = {
            "fitted": {"fitted": plan.faces, "every": plan.fitted, **learnt},
            "turned": {"profile": plan.faces, "every": plan.turned, "views": plan.views, **learnt},
            "heads": {"count": plan.heads},
            "test-turned": {"profile": plan.faces, "every": plan.test_turned, "views": 2, "people": "test", "stage": "colours",
                            "seed": plan.seed + TEST_SEED},
            "test-heads": {"count": plan.test_heads, "seed": plan.seed + TEST_SEED},
        }
        return {name: self._stages.run(f"data-{name}", {"size": plan.size, **_plain(options)},
                                       lambda: self._archive(name, options)) for name, options in asked.items()}

    def _archive(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        from facerecon.cli.synthesise import fill_archive
        from facerecon.data.blocks import block_paths, read_block
        from facerecon.files import sha256_file

        plan = self._plan
        folder = self._tests / name.removeprefix("test-") if name.startswith("test-") else self._data / name
        folder.mkdir(parents=True, exist_ok=True)
        faces, dropped = fill_archive(folder, workers=plan.workers, quiet=False,
                                      **{"seed": plan.seed, "size": plan.size, "maps": ("pncc",), **options})
        reasons: dict[str, int] = {}
        for path in block_paths(folder):
            for one in read_block(path)[1]["dropped"]:
                reasons[one["code"]] = reasons.get(one["code"], 0) + 1
        return {"faces": faces, "dropped": dropped, "reasons": dict(sorted(reasons.items())),
                "index": sha256_file(folder / "faces.jsonl")}

    def _train(self, place: str, recipe_name: str, run: Run, *, turn: int, init: Path | str | None) -> dict[str, Any]:
        """One run; the number of its turn gives it another order, and other light, noise and occluders."""
        import torch

        from facerecon.training import load_material, load_recipe, train

        plan = self._plan
        if plan.threads:
            torch.set_num_threads(plan.threads)
        recipe = load_recipe(recipe_name, [*([f"steps={run.steps}"] if run.steps else []), *run.changes, *plan.set])
        material = load_material(recipe, run.sources, seed=plan.seed, licence="Apache-2.0")
        result = train(recipe, material, plan.output / place, init=init, resume=True, seed=plan.seed + turn)
        if not result.finished:
            raise Interrupted(place)
        return {"steps": result.steps, "skipped": result.skipped, "samples": len(material.training), "metrics": result.metrics}

    def _ship_encoder(self, run: str) -> dict[str, Any]:
        from facerecon.mofa import load_encoder, save_encoder

        # Not the mean of the runs: on validation people that was better between the first two, and worse with the last.
        file = load_encoder(self._plan.output / run / "weights.safetensors")
        return _told(save_encoder(self._shipped(f"{RECIPE}.safetensors"), file.encoder, file.facts, tensor_type="float16"))

    def _ship_adapted(self, name: str, run: str) -> dict[str, Any]:
        from facerecon.assets import locate
        from facerecon.files import write_atomic
        from facerecon.gmda import load_network, save_network

        decoder = f"{AUTOENCODER}/decoder.safetensors"
        write_atomic(self._shipped(decoder), locate(f"weights/{decoder}").read_bytes())
        loaded = load_network(self._plan.output / run / "weights.safetensors")
        return _told(save_network(self._shipped(f"{name}-128.safetensors"), loaded.network, task=loaded.header["task"],
                                  metadata=loaded.header["metadata"], tensor_type="float16", decoder=self._shipped(decoder)))

    def _shipped(self, name: str) -> Path:
        path = self._plan.output / "ship" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _told(path: Path) -> dict[str, Any]:
    from facerecon.files import sha256_file

    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    # The crops are told by the hash of the index that they give, not by where they lie.
    return {name: value for name, value in options.items() if not isinstance(value, Path)}


def parse(arguments: list[str] | None = None) -> tuple[Plan, list[str]]:
    parser = argparse.ArgumentParser(prog="train_weights", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Plan):
        flags = ["-o", "--output"] if field.name == "output" else ["--" + field.name.replace("_", "-")]
        if field.name == "set":
            parser.add_argument(*flags, action="append", default=[], help="change of the recipe, key=value; may be repeated")
            continue
        required = field.default is dataclasses.MISSING
        parser.add_argument(*flags, type=Path if required else int, required=required,
                            **{} if required else {"default": field.default})
    parser.add_argument("--only", choices=ONLY, action="append", help="the data and this network alone; may be repeated")
    given = vars(parser.parse_args(arguments))
    only = given.pop("only") or list(ONLY)
    return Plan(**{**given, "set": tuple(given["set"])}), only


def main(arguments: list[str] | None = None) -> int:
    plan, only = parse(arguments)
    return exit_status(lambda: Weights(plan).run(only))


if __name__ == "__main__":
    # Workers start by importing this file.
    sys.exit(main())
