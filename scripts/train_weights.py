#!/usr/bin/env python3
"""Train the weights that ship, from raw crops to files with cards, in stages that can be stopped at any moment.

    python scripts/train_weights.py --faces FACES -o OUT [--seed 0] [--until data|encoder|ship]

FACES is a crop archive (`faces.jsonl` and its shards). The stages:

1. data: photos with their fit (`synthesise --fitted`), photos turned aside (`--profile`) and heads to learn from, of the people
   of the training and validation splits; turned photos and heads to test on, of test people and of another seed;
2. encoder: recipe encoder-128 on the three archives, and once more from there, with rougher crops and at half the rate;
3. ship: the mean of both runs' weights (Wortsman et al.: Model soups, ICML 2022), in half precision, in OUT/ship.

Each stage leaves its result whole in OUT, says how many photos gave what, and is skipped when it is there. Killed, the same
command goes on: archives at the next block, a training at its last checkpoint. Other options need another OUT.

Processor seconds on one core: a fitted photo 0.15, a turned photo 0.8 (four views), a head 0.04, a step of the encoder 0.45.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

from stages import Interrupted, Stages, exit_status  # noqa: E402

UNTIL = ("data", "encoder", "ship")
# Test faces are never drawn from the seed of those to learn from.
TEST_SEED = 104_729
RECIPE = "encoder-128"
# What the second run does otherwise: a detector's boxes of turned heads are rougher than boxes of true landmarks.
MORE = ("learning_rate=5e-4", "augmentation.translate=0.12", "augmentation.scale=[0.8, 1.25]")
SHARES = {"fitted": 0.45, "turned": 0.3, "heads": 0.25}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Options of a run.

    Attributes:
        faces: crop archive. output: folder of everything. seed: of data, weights and order.
        size: side of the pictures, px.
        fitted, turned: every how many-th photo is fitted, and turned. views: of each turned photo, at most.
        heads: to learn from. test_turned: every how many-th photo of test people is turned, and test_heads: heads to test on.
        steps: of the encoder; 0: the recipe's. more: steps of the second run; 0: none. set: changes of the recipe, such as
            "width=1.0".
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
    set: tuple[str, ...] = ()
    workers: int = 1
    threads: int = 0


class Weights:
    """The stages of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._stages = plan, Stages(plan.output)
        self._data, self._tests = plan.output / "data", plan.output / "test"

    def run(self, until: str) -> None:
        """All stages up to one of `UNTIL`."""
        data = self._make_data()
        if until == "data":
            return
        plan = self._plan
        told = {"data": data, "steps": plan.steps, "set": list(plan.set), "seed": plan.seed}
        runs = {"encoder": self._stages.run("encoder", told, self._train)}
        if plan.more:
            told = {**runs, "more": plan.more, "set": list(plan.set)}
            runs["encoder-more"] = self._stages.run("encoder-more", told, self._train_more)
        if until == "ship":
            self._stages.run("ship", runs, lambda: self._ship(list(runs)))

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

    def _train(self) -> dict[str, Any]:
        plan = self._plan
        return self._run_recipe("encoder", [f"steps={plan.steps}"] if plan.steps else [], seed=plan.seed)

    def _train_more(self) -> dict[str, Any]:
        # Another seed is another order, and other light, noise and occluders.
        return self._run_recipe("encoder-more", [f"steps={self._plan.more}", *MORE],
                                seed=self._plan.seed + 1, init=self._plan.output / "encoder" / "weights.safetensors")

    def _run_recipe(self, name: str, changes: list[str], *, seed: int, init: Path | None = None) -> dict[str, Any]:
        import torch

        from facerecon.training import load_material, load_recipe, train

        plan = self._plan
        if plan.threads:
            torch.set_num_threads(plan.threads)
        recipe = load_recipe(RECIPE, [*changes, *plan.set])
        sources = [f"{self._data / archive}={share}" for archive, share in SHARES.items()]
        material = load_material(recipe, sources, seed=plan.seed, licence="Apache-2.0")
        result = train(recipe, material, plan.output / name, init=init, resume=True, seed=seed)
        if not result.finished:
            raise Interrupted(name)
        return {"steps": result.steps, "skipped": result.skipped, "samples": len(material.training), "metrics": result.metrics}

    def _ship(self, runs: list[str]) -> dict[str, Any]:
        from facerecon.files import sha256_file
        from facerecon.mofa import load_encoder, save_encoder

        files = [load_encoder(self._plan.output / run / "weights.safetensors") for run in runs]
        states = [file.encoder.state_dict() for file in files]
        # The second run began at the first: both lie in one valley, and between them it is lower than at either.
        files[-1].encoder.load_state_dict({name: sum(state[name] for state in states) / len(states)
                                           if value.is_floating_point() else value for name, value in states[-1].items()})
        goal = self._plan.output / "ship" / "encoder-128.safetensors"
        goal.parent.mkdir(parents=True, exist_ok=True)
        save_encoder(goal, files[-1].encoder, files[-1].facts, tensor_type="float16")
        return {"file": goal.name, "bytes": goal.stat().st_size, "sha256": sha256_file(goal)}


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    # The crops are told by the hash of the index that they give, not by where they lie.
    return {name: value for name, value in options.items() if not isinstance(value, Path)}


def parse(arguments: list[str] | None = None) -> tuple[Plan, str]:
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
    parser.add_argument("--until", choices=UNTIL, default="ship")
    given = vars(parser.parse_args(arguments))
    until = given.pop("until")
    return Plan(**{**given, "set": tuple(given["set"])}), until


def main(arguments: list[str] | None = None) -> int:
    plan, until = parse(arguments)
    return exit_status(lambda: Weights(plan).run(until))


if __name__ == "__main__":
    # Workers start by importing this file.
    sys.exit(main())
