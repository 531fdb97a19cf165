"""Pass one: a method over a data set, one image in memory at a time, one file per image, resumable.

However a run is cut, killed, or spread over workers, each image ends with exactly one record, and the same bytes.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable

from facerecon import __version__
from facerecon.checks import check_choice
from facerecon.data.datasets.dataset import FaceDataset
from facerecon.errors import FaceReconError
from facerecon.evaluation.methods import Method, MethodSpec, build_method
from facerecon.evaluation.prediction import Prediction
from facerecon.evaluation.predictions import PredictionStore
from facerecon.evaluation.workers import WorkerDied, run_items

logger = logging.getLogger(__name__)
KINDS = ("aflw2000", "synthetic")


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A benchmark folder: small and picklable.

    Attributes:
        kind: "aflw2000", or "synthetic" for an archive of `facerecon synthesise`.
        limit: keep the first images only.
    """

    folder: str
    kind: str = "aflw2000"
    limit: int | None = None

    def open(self) -> FaceDataset:
        """Read the folder's listing."""
        from facerecon.data.datasets import read_aflw2000
        from facerecon.evaluation.synthetic import read_synthetic

        dataset = (read_synthetic if check_choice("kind", self.kind, KINDS) == "synthetic" else read_aflw2000)(self.folder)
        return dataset if self.limit is None else dataset[:self.limit]


def predict(dataset: DatasetSpec, method: MethodSpec, folder: str | os.PathLike[str], *, workers: int = 0,
            overwrite: bool = False, on_done: Callable[[int, int], None] | None = None) -> PredictionStore:
    """Run a method over a data set into a store, or finish the store that is there.

    Args:
        folder: the store; `PredictionStore.create` says when one is refused.
        workers: processes; 0 works in this one. The result does not depend on it.
        on_done: called with (images done, images in all) after each image.

    Returns:
        The complete store: one record per image, "ok", "refused" (with the code of the refusal) or "failed".
    """
    samples = dataset.open()
    # Built here as well: it says what the configuration is, and bad arguments are refused before any work.
    first = build_method(method)
    try:
        config = {**first.about, "dataset": samples.inventory.dataset, "spec": dataclasses.asdict(method),
                  "facerecon": __version__}
        # The paths of files are this machine's; names and hashes in `about` say which files they are.
        for name in ("model", "weights", "pncc", "basel"):
            config["spec"].pop(name)
        store = PredictionStore.create(folder, config, samples.names, overwrite=overwrite)
        waiting = store.missing()
        done = len(store) - len(waiting)
        if workers == 0:
            results = ((index, _predict_one(first, samples, store, index)) for index in waiting)
        else:
            results = run_items(make_job, (dataset, method, str(store.folder)), waiting, workers=workers)
        for index, result in results:
            if isinstance(result, WorkerDied):
                store.put(index, Prediction(name=store.names[index], status="failed", code="worker_died",
                                            message=f"two worker processes died on this image (exit code {result.exit_code})"))
            done += 1
            if on_done is not None:
                on_done(done, len(store))
    finally:
        first.close()
    store.finish()
    return store


def make_job(dataset: DatasetSpec, method: MethodSpec, folder: str) -> Callable[[int], None]:
    """What a worker process does: predict one image and write its file."""
    # Workers share the cores; threads of their own would only make them wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    samples, store, built = dataset.open(), PredictionStore.open(folder), build_method(method)

    def job(index: int) -> None:
        _predict_one(built, samples, store, index)

    return job


def _predict_one(method: Method, samples: FaceDataset, store: PredictionStore, index: int) -> None:
    name = store.names[index]
    try:
        prediction = Prediction(name=name, **method.run(samples[index]))
    except FaceReconError as error:
        prediction = Prediction.miss(name, error)
    except MemoryError:
        prediction = Prediction(name=name, status="failed", code="oom", message="out of memory")
    except Exception as error:  # noqa: BLE001 - one image must never stop a benchmark; the record says what happened
        logger.warning("%s failed", name, exc_info=True)
        prediction = Prediction(name=name, status="failed", code="internal", message=f"{type(error).__name__}: {error}")
    store.put(index, prediction)
