"""The few-shot experiments on real photos: which networks learn landmarks from 10, 50, 200 and all labelled faces.

    python scripts/gmda_experiments.py run FACES AUTOENCODER OUT [--only sizes,kinds,tuning,active,long] [--part 0/2] [--seeds 0,1,2]
    python scripts/gmda_experiments.py tables OUT

FACES is a crop archive (`faces.jsonl` and its shards), AUTOENCODER the weights that `facerecon train autoencoder-cpu-128` wrote
for it. Every run is one file in OUT, so that `run` may be killed and called again, and several parts may work side by side
(set OMP_NUM_THREADS=1). Test people are those of `data.splits`; nothing here looks at them before the last line of a run.

Samples are drawn by the seed from the training people, the same ones for every network, and those of 10 are among those of 50.
Steps and rates were chosen on the validation people (`--validation` scores on them instead), never on the test people.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facerecon.files import write_atomic  # noqa: E402

SIZES = (10, 50, 200, 0)  # 0: all
STEPS = {10: 150, 50: 300, 200: 500, 0: 1500}
# All samples deserve more steps than the comparison can pay for.
LONG_ROW, LONG_STEPS = "GMDA-R hybrid + SC, 3,000 steps", 3000
PRETRAINED = {"learning_rate": 2e-3, "encoder_learning_rate": 1e-3}
# Random weights learn as a whole, at one rate and with moving statistics.
RANDOM = {"pretrained": False, "learning_rate": 1e-3, "encoder_learning_rate": 1e-3, "fine_tune_decoder": True,
          "encoder_statistics": "batch"}


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a row of a table, a number of samples, a seed."""

    group: str
    row: str
    samples: int
    seed: int
    settings: tuple[tuple[str, object], ...] = ()
    acquisition: str = ""

    @property
    def name(self) -> str:
        text = f"{self.row}-{self.acquisition}" if self.acquisition else self.row
        return re.sub("[^A-Za-z0-9-]+", "_", f"{text}-{self.samples or 'all'}-{self.seed}")


def rows() -> dict[str, dict]:
    """The networks by the name of their row."""
    found = {}
    for skips in (False, True):
        for kind in ("original", "two_flow_sum", "two_flow_concat", "hybrid"):
            found[f"GMDA-R {kind}{' + SC' if skips else ''}"] = {**PRETRAINED, "kind": kind, "skips": skips}
    for skips in (False, True):
        found[f"GMDA-R original{' + SC' if skips else ''} w/o FT"] = {
            **PRETRAINED, "kind": "original", "skips": skips, "fine_tune_encoder": False}
    for skips in (False, True):
        found[f"hybrid{' + SC' if skips else ''}, random weights"] = {**RANDOM, "kind": "hybrid", "skips": skips}
    found[LONG_ROW] = found["GMDA-R hybrid + SC"]
    found["same encoder, plain decoder"] = {**PRETRAINED, "network": "plain"}
    return found


SIZE_ROWS = ("GMDA-R hybrid + SC", "hybrid + SC, random weights", "GMDA-R hybrid", "hybrid, random weights",
             "same encoder, plain decoder")
ACTIVE_ROW = "GMDA-R hybrid + SC"
# Final size -> samples after each round: ten at first, then K more.
ROUNDS = {50: (10, 30, 50), 200: (10, 60, 110, 160, 200)}


def jobs(seeds: list[int]) -> list[Job]:
    """All supervised runs, in the order of their worth: a run that two tables share is there once."""
    every = rows()
    wanted = [("sizes", row, 50, seed) for seed in seeds for row in SIZE_ROWS]
    wanted += [("kinds", row, 50, seed) for seed in seeds for row in every if row.startswith("GMDA-R") and "w/o" not in row and row != LONG_ROW]
    wanted += [("tuning", row, 50, seed) for seed in seeds for row in every if "w/o FT" in row]
    wanted += [("sizes", row, count, seed) for count in (10, 200, 0) for seed in seeds for row in SIZE_ROWS]
    wanted += [("long", LONG_ROW, 0, seed) for seed in seeds]
    unique = {(row, count, seed): Job(group, row, count, seed, tuple(every[row].items()))
              for group, row, count, seed in reversed(wanted)}
    return [unique[key] for key in dict.fromkeys((row, count, seed) for _, row, count, seed in wanted)]


class Bench:
    """The data, and how one network is trained and scored on them."""

    def __init__(self, faces: Path, autoencoder: Path, out: Path, *, validation: bool) -> None:
        from facerecon.training.crops import load_crops, subject_split

        crops = load_crops(faces, size=128, only_labelled=True)
        self.train = crops.take(subject_split(crops, "train"))
        self.test = crops.take(subject_split(crops, "validation" if validation else "test"))
        self.autoencoder, self.out = autoencoder, out

    def order(self, seed: int) -> np.ndarray:
        """The training samples, shuffled by the seed."""
        return np.random.default_rng(seed).permutation(len(self.train))

    def learn(self, job: Job, chosen: np.ndarray, steps: int):
        """Train on some samples; returns the result with the test errors in the order of the test crops."""
        from facerecon.training import Material, load_recipe, train

        recipe = dataclasses.replace(load_recipe("landmarks-cpu-128"), steps=steps, validate_every=0, pictures_every=0,
                                     **dict(job.settings))
        result = train(recipe, Material(self.train.take(chosen), self.test, full=len(self.train)), None, seed=job.seed,
                       init=self.autoencoder if recipe.pretrained else None, progress=False)
        if not result.finished:
            sys.exit(f"{job.name}: stopped; the same command goes on")
        return result

    def run(self, job: Job) -> None:
        """One supervised run, unless its file is there."""
        goal = self.out / f"{job.name}.json"
        if goal.exists():
            return
        began = time.time()
        chosen = self.order(job.seed)[:job.samples or None]
        steps = LONG_STEPS if job.row == LONG_ROW else STEPS[job.samples]
        self.record(goal, job, self.learn(job, chosen, steps), steps, time.time() - began)

    def run_active(self, final: int, seed: int, function: str) -> None:
        """Rounds of proposing and training until `final` samples are labelled."""
        job = Job("active", ACTIVE_ROW, final, seed, tuple(rows()[ACTIVE_ROW].items()), acquisition=function)
        goal = self.out / f"{job.name}.json"
        if goal.exists():
            return
        began = time.time()
        chosen = self.order(seed)[:10]
        for wanted in ROUNDS[final][1:]:
            network = self.learn(job, chosen, STEPS[10] if len(chosen) <= 10 else STEPS[50]).network
            left = np.setdiff1d(np.arange(len(self.train)), chosen)
            chosen = np.concatenate((chosen, self.propose(network, left, wanted - len(chosen))))
        result = self.learn(job, chosen, STEPS[final])
        self.record(goal, job, result, STEPS[final], time.time() - began)

    def propose(self, network, left: np.ndarray, count: int) -> np.ndarray:
        """The samples of `left` whose heatmaps are least certain, without the top tenth."""
        import torch

        from facerecon.alignment import nnm, select
        from facerecon.gmda import normalise

        scores = []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for start in range(0, len(left), 32):
                images = torch.from_numpy(self.train.images[left[start:start + 32]]).permute(0, 3, 1, 2).float() / 255
                scores.append(nnm(network(normalise(images)).float()))
        return left[np.asarray(select(torch.cat(scores), count, discard=0.1))]

    def record(self, goal: Path, job: Job, result, steps: int, seconds: float) -> None:
        errors = [round(100 * error, 3) for error in result.errors.values()]
        write_atomic(goal, json.dumps({"group": job.group, "row": job.row, "samples": job.samples, "seed": job.seed,
                                       "acquisition": job.acquisition, "steps": steps, "seconds": round(seconds),
                                       "test_images": len(errors), "nme": errors}) + "\n")
        print(f"{job.name}: {np.mean(errors):.2f} % in {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    for name in ("faces", "autoencoder", "out"):
        run.add_argument(name, type=Path)
    run.add_argument("--only", default="sizes,kinds,tuning,active,long")
    run.add_argument("--part", default="0/1")
    run.add_argument("--seeds", default="0,1,2")
    run.add_argument("--validation", action="store_true")
    tables = verbs.add_parser("tables")
    tables.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.verb == "tables":
        from gmda_tables import tables as print_tables

        print(print_tables(options.out))
        return
    bench = Bench(options.faces, options.autoencoder, options.out, validation=options.validation)
    part, parts = map(int, options.part.split("/"))
    seeds = [int(seed) for seed in options.seeds.split(",")]
    work = [lambda job=job: bench.run(job) for job in jobs(seeds) if job.group in options.only.split(",")]
    if "active" in options.only.split(","):
        work += [lambda final=final, seed=seed: bench.run_active(final, seed, "nnm10") for final in ROUNDS for seed in seeds]
    for one in work[part::parts]:
        one()


if __name__ == "__main__":
    main()
