"""Convert the MTCNN weights of facenet-pytorch 2.6.0 (MIT) to assets/weights/mtcnn.safetensors.

    pip download --no-deps facenet-pytorch==2.6.0
    python scripts/convert_mtcnn.py facenet_pytorch-2.6.0-py3-none-any.whl

The wheel holds three PyTorch state files; they are read here, once, as tensors only. Two things change: the names say what
a layer is for, and the weights of the first dense layer of RNet and ONet are put in the order channel, row, column of
their input, which the wheel keeps as column, row, channel.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import torch
from wheel_weights import convert_command

WHEEL_SHA256 = "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca"
GOAL = Path(__file__).resolve().parent.parent / "assets" / "weights" / "mtcnn.safetensors"
# What each layer of the wheel is called here. Channels and side of the map that enters a first dense layer come with it.
LAYERS = {
    "pnet": {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3", "conv4_1": "score", "conv4_2": "box"},
    "rnet": {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3", "dense4": "dense", "dense5_1": "score",
             "dense5_2": "box"},
    "onet": {"conv1": "conv1", "conv2": "conv2", "conv3": "conv3", "conv4": "conv4", "dense5": "dense",
             "dense6_1": "score", "dense6_2": "box", "dense6_3": "points"},
}
DENSE_INPUT = {"rnet": (64, 3), "onet": (128, 3)}


def convert(wheel: Path) -> dict[str, torch.Tensor]:
    """Tensors of the three networks, named `network.layer.weight`, `.bias` and `.slope`."""
    tensors: dict[str, torch.Tensor] = {}
    with zipfile.ZipFile(wheel) as archive:
        for network, layers in LAYERS.items():
            content = io.BytesIO(archive.read(f"facenet_pytorch/data/{network}.pt"))
            state = torch.load(content, weights_only=True, map_location="cpu")
            for old, new in layers.items():
                weight = state.pop(f"{old}.weight")
                if new == "dense":
                    channels, side = DENSE_INPUT[network]
                    weight = weight.reshape(-1, side, side, channels).permute(0, 3, 2, 1).flatten(1)
                tensors[f"{network}.{new}.weight"] = weight.contiguous()
                tensors[f"{network}.{new}.bias"] = state.pop(f"{old}.bias")
                slope = state.pop(f"prelu{old.removeprefix('conv').removeprefix('dense')}.weight", None)
                if slope is not None:
                    tensors[f"{network}.{new}.slope"] = slope
            if state:
                raise SystemExit(f"{network}: the wheel has layers that are not known here: {sorted(state)}")
    return tensors


if __name__ == "__main__":
    convert_command(__doc__, convert, wheel="facenet_pytorch-2.6.0-py3-none-any.whl", wheel_sha256=WHEEL_SHA256,
                    mend="download facenet-pytorch 2.6.0", goal=GOAL,
                    card={"licence": "MIT", "paper": "Zhang et al. 2016, arXiv 1604.02878", "source": "facenet-pytorch 2.6.0"})
