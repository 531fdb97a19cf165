"""The child process that opens a `torch.save` file, whose path it reads from its input.

`python -m facerecon.gmda.fabrec_worker OUTPUT MEMORY SECONDS`. No other module imports this one. It limits its own memory and
time before it opens anything, loads tensors and plain values only, and writes them to OUTPUT as a tensor file, with the plain
values in the header's `values`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from facerecon.childprocess import answer, limit_process
from facerecon.errors import ModelError
from facerecon.tensorfile import write_tensors


def main(arguments: list[str]) -> int:
    """Convert the file; the exit status is 0 for tensors, 1 for a typed refusal."""
    output, memory, seconds = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    limit_process(memory, seconds)
    source = sys.stdin.read()
    return answer(lambda: convert(source, output), source=source, memory=memory)


def convert(source: str, output: Path) -> dict[str, Any]:
    """Read, check, write; returns how many tensors there were.

    Raises:
        ModelError: `unsafe_format`, `model_corrupt`, or `model_invalid` for a sound file of another content.
    """
    import pickle

    import torch

    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The safe loader says by its text alone whether it met a foreign name or nonsense.
        words = ("GLOBAL", "Unsupported global", "Trying to call", "REDUCE", "persistent_load")
        foreign = any(word in str(error) for word in words)
        first = str(error).strip().splitlines()[-1][:200]
        if foreign:
            raise ModelError(f"{source}: the pickle wants more than tensors and plain values; nothing of it was executed "
                             f"({first})", code="unsafe_format") from error
        raise ModelError(f"{source} cannot be read as a pickle of tensors ({first}); copy it again",
                         code="model_corrupt") from error
    except MemoryError:
        raise
    # A damaged archive or pickle fails in any operation of the loader.
    except Exception as error:
        raise ModelError(f"{source} cannot be read ({type(error).__name__}: {str(error)[:200]}); copy it again",
                         code="model_corrupt") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(
            isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()):
        raise ModelError(f"{source}: wanted a dictionary with a `state_dict` of tensors")
    arrays = {}
    for name, value in state.items():
        if value.layout != torch.strided or not (value.is_floating_point() or value.dtype == torch.int64):
            raise ModelError(f"{source}: {name}: wanted a dense array of floating numbers or int64, got {value.dtype}")
        value = value.float() if value.is_floating_point() else value
        if not bool(value.isfinite().all()):
            raise ModelError(f"{source}: {name} has NaN or infinite weights", code="model_corrupt")
        arrays[name] = value.contiguous().numpy()
    values = {str(key): value for key, value in content.items() if isinstance(value, (str, int, float)) and len(str(key)) < 100}
    write_tensors(output, arrays, {"values": values})
    return {"tensors": len(arrays)}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
