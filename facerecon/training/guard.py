"""What stands between a bad step and the weights: steps that are not finite are skipped, batches that do not fit are cut.

A step whose loss or gradient is NaN or infinite is left out and counted; many in a row mean that training has diverged. A batch
that exhausts the memory is done in two halves, in four quarters and so on, whose gradients add up to those of the whole.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from facerecon.checks import check_range
from facerecon.errors import BackendError, FitError


class StepGuard:
    """Counts skipped steps and ends a run that diverged.

    Args:
        limit: so many skipped steps in a row are divergence.

    Attributes:
        skipped: steps left out so far; `in_a_row`: since the last good one.
        parts: into how many a batch is cut, 1 until one did not fit into the memory.
    """

    def __init__(self, limit: int = 10) -> None:
        self.limit = int(check_range("limit", limit, 1))
        self.skipped, self.in_a_row, self.parts = 0, 0, 1

    def passes(self, loss: Tensor, parameters: Iterable[nn.Parameter], *, agree: Callable[[bool], bool] | None = None) -> bool:
        """Whether a step may be taken with this loss and the gradients that the parameters hold.

        Args:
            agree: turns this process' answer into that of all, where several train together.

        Raises:
            FitError: `diverged` after `limit` refusals in a row.
        """
        good = bool(torch.isfinite(loss.detach()).all()) and gradients_are_finite(parameters)
        good = good if agree is None else agree(good)
        if good:
            self.in_a_row = 0
            return True
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.limit:
            raise FitError(f"training diverged: {self.in_a_row} steps in a row had a loss or gradient that is not finite; go on from "
                           "the last checkpoint with a lower learning rate", code="diverged")
        return False

    def in_parts(self, size: int, work: Callable[[slice], Tensor], *, reset: Callable[[], None], retry: bool = True) -> Tensor:
        """Sum of `work(rows)` over parts of a batch; more and smaller parts when the memory does not suffice, from then on.

        Args:
            size: samples in the batch.
            work: computes its rows' share of the loss, and adds its gradients.
            reset: clears the gradients that an attempt left.
            retry: False where processes wait for each other, since they must all cut alike.

        Raises:
            BackendError: `oom` when a single sample does not fit, or at once without `retry`.
        """
        while True:
            parts = min(self.parts, size)
            bounds = [round(size * index / parts) for index in range(parts + 1)]
            try:
                return sum(work(slice(start, stop)) for start, stop in zip(bounds, bounds[1:]))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            # Outside the handler, whose exception would keep the failed attempt's tensors alive.
            reset()
            release_memory()
            if parts >= size or not retry:
                raise BackendError(f"out of memory with {-(-size // parts)} of {size} samples at a time ({reason}); wanted a smaller "
                                   "batch_size or image_size, or a device with more memory", code="oom")
            self.parts = 2 * parts

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "parts": self.parts}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with the counts that `state_dict` gave."""
        self.skipped, self.in_a_row, self.parts = (int(state[name]) for name in ("skipped", "in_a_row", "parts"))


def copy_buffers(*modules: nn.Module) -> list[Tensor]:
    """Copies of the modules' buffers, which a forward pass may change, for `restore_buffers`."""
    return [buffer.clone() for module in modules for buffer in module.buffers()]


def restore_buffers(kept: list[Tensor], *modules: nn.Module) -> None:
    """Put back what `copy_buffers` kept: a skipped step has already mixed what it saw into the running statistics."""
    for buffer, value in zip((buffer for module in modules for buffer in module.buffers()), kept):
        buffer.copy_(value)


def gradients_are_finite(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether every gradient of the parameters is finite; parameters without one count as finite."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return all_finite(gradients)


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether floating-point tensors hold neither NaN nor infinity; tensors of other types do not matter."""
    values = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not values:
        return True
    # The largest magnitude is finite exactly if all values are, and one pass over all of them finds it.
    return bool(torch.isfinite(torch.stack([norm.float() for norm in torch._foreach_norm(values, float("inf"))])).all())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory, of an accelerator or of the machine, did not suffice."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def release_memory() -> None:
    """Give memory that nothing uses back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
