"""Put a trained autoencoder among the assets, in half precision and in two files.

    facerecon train autoencoder-cpu-128 --data FACES -o ae
    python scripts/ship_autoencoder.py ae/weights.safetensors --licence Apache-2.0
    python scripts/update_manifest.py

The card beside the files, assets/weights/autoencoder-128.md, is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facerecon.gmda import load_network, save_halves  # noqa: E402

GOAL = Path(__file__).resolve().parents[1] / "assets" / "weights" / "autoencoder-128"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--licence", help="of the weights; the run's own when left out")
    parser.add_argument("--output", type=Path, default=GOAL)
    options = parser.parse_args()
    loaded = load_network(options.weights)
    metadata = dict(loaded.header["metadata"])
    if options.licence:
        metadata["licence"] = options.licence
    for path in save_halves(options.output, loaded.network, task=loaded.header["task"], metadata=metadata, tensor_type="float16"):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
