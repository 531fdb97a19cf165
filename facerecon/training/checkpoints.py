"""When a training run writes its state, and in what form: at steps and times, at the end, and when it is asked to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.plugins.io import CheckpointIO

from facerecon.errors import FitError
from facerecon.training.guard import all_finite
from facerecon.training.state import load_state, save_state


SIGNALS = (signal.SIGTERM, signal.SIGINT)


class SafetensorsCheckpointIO(CheckpointIO):
    """Lets a Lightning trainer keep its checkpoints in such files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        """Write a trainer's state, whole or not at all."""
        save_state(path, checkpoint)

    def load_checkpoint(self, path: str | os.PathLike[str], map_location: Any = None,
                        weights_only: bool | None = None) -> dict[str, Any]:
        """Read a trainer's state; everything in it is data, so there is nothing that `weights_only` could keep out."""
        return load_state(path)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Stopped(Exception):
    """A run was asked to stop and has written its checkpoint."""


@contextlib.contextmanager
def signals_restored() -> Iterator[None]:
    """Give the signals that stop a run back to whom they belonged to, whatever takes them in between."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if hasattr(signal, "SIGPROF") and signal.getsignal(signal.SIGPROF) == signal.SIG_DFL:
        # MediaPipe ignores SIGPROF and has a profiling timer. The trainer puts back the handlers that Python knows of, which is
        # the default one here, and the next tick of the timer would end the process.
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Checkpoints(lightning.Callback):
    """Writes `path` every so many steps and minutes, at the end, and when the process is asked to stop.

    Weights that are not finite are never written: the run ends with `diverged` and the earlier checkpoint stays.

    Args:
        path: of the checkpoint.
        steps: length of the run; every: steps between two; minutes: and time, 0: steps alone.
        facts: what a resumed run is compared with, kept inside.
        best: called with the step and a value whenever the monitored one is the lowest so far; monitor: its name.
    """

    def __init__(self, path: Path, *, steps: int, every: int, minutes: float, facts: dict[str, Any], monitor: str,
                 best: Callable[[int, float], None]) -> None:
        self.path, self.steps, self.every, self.seconds, self.facts = path, steps, every, 60 * minutes, facts
        self.monitor, self.best = monitor, best
        self.stop_asked = False
        self.lowest, self.lowest_step = float("inf"), -1
        self._written = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._written = time.monotonic()
        # After the trainer's own handlers, which end a run between two processes' steps.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any,
                           batch_idx: int) -> None:
        done = batch_idx + 1
        late = bool(self.seconds) and time.monotonic() - self._written >= self.seconds
        stop = self._any(trainer, self.stop_asked)
        if stop or done == self.steps or done % self.every == 0 or self._any(trainer, late):
            self._write(trainer, module)
        if stop and done < self.steps:
            raise Stopped

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        step = trainer.fit_loop.total_batch_idx + 1
        if value is not None and float(value) < self.lowest:
            self._require_finite(module)
            self.lowest, self.lowest_step = float(value), step
            if trainer.is_global_zero:
                self.best(step, float(value))

    def state_dict(self) -> dict[str, Any]:
        return {"facts": self.facts, "lowest": self.lowest, "lowest_step": self.lowest_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lowest, self.lowest_step = state["lowest"], state["lowest_step"]

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.stop_asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop_asked = True

    def _write(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._require_finite(module)
        trainer.save_checkpoint(self.path)
        self._written = time.monotonic()

    def _require_finite(self, module: lightning.LightningModule) -> None:
        if not all_finite(module.state_dict().values()):
            raise FitError("training diverged: weights are not finite; go on from the last checkpoint with a lower learning rate",
                           code="diverged")

    def _any(self, trainer: lightning.Trainer, here: bool) -> bool:
        # A checkpoint is written by all processes together, so all must decide alike.
        return here if trainer.world_size == 1 else bool(trainer.strategy.reduce_boolean_decision(here, all=False))
