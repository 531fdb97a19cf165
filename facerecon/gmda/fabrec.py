"""Import of the released 3FabRec snapshots: their tensors as an autoencoder or as an adapted network.

Source: Browatzki and Wallraven, 3FabRec, CVPR 2020; the layout is that of the snapshots of github.com/browatbn2/3FabRec.

    Q.*                 encoder                    LMH.t1 ... LMH.t4    transfer layers (original, without skips)
    P.*                 decoder                    LMH.lin              the deconvolution to L heatmaps
    D.*, D_z.*          the discriminators, which nothing here needs
    LMH.t5              a further layer that some snapshots hold and no forward pass of them uses; left out

The decoder of a landmark snapshot may have been fine-tuned; it is taken as it stands there, not from the autoencoder's.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facerecon.checks import check_choice, check_range
from facerecon.childprocess import run_child
from facerecon.errors import ModelError
from facerecon.gmda.autoencoder import Autoencoder
from facerecon.gmda.builder import build_adapted, build_autoencoder
from facerecon.gmda.network import AdaptedNetwork
from facerecon.tensorfile import read_tensors

SNAPSHOT = "saae.mdl"
PARTS = ("auto", "autoencoder", "landmarks")
_LARGEST_META = 1 << 20
_HEAD = {"t1.weight": "transfers.0.conv.weight", "t2.weight": "transfers.1.conv.weight", "t3.weight": "transfers.2.conv.weight",
         "t4.weight": "transfers.3.conv.weight", "lin.weight": "head.weight"}
_UNUSED = {"t5.weight": (64, 64, 3, 3)}


def network_from_snapshot(tensors: Mapping[str, Tensor], *, part: str = "auto") -> Autoencoder | AdaptedNetwork:
    """A network from the state dictionary of a snapshot.

    The size (128 or 256 px), the length of the code and the number of landmarks are read from the tensors.

    Args:
        part: "autoencoder", "landmarks", or "auto" for landmarks where the snapshot has them.

    Raises:
        ModelError: `model_invalid` that lists every missing, unknown or misshapen tensor of the encoder, decoder and head.
    """
    check_choice("part", part, PARTS)
    parts: dict[str, dict[str, Tensor]] = {"Q": {}, "P": {}, "LMH": {}, "D": {}, "D_z": {}}
    unknown = []
    for key, value in tensors.items():
        prefix, _, name = key.partition(".")
        if name and prefix in parts:
            parts[prefix][name] = value
        else:
            unknown.append(f"{key} is not known")
    if part == "landmarks" and not parts["LMH"]:
        raise ModelError("the snapshot has no landmark head (LMH.*); it is an autoencoder")
    latent = parts["Q"].get("fc.weight", torch.empty(99, 512))
    network = build_autoencoder(image_size=256 if "layer0.0.conv1.weight" in parts["Q"] else 128,
                                latent_size=max(1, min(latent.shape[0] if latent.ndim else 1, 4096)))
    wrong = unknown + _mismatches("Q", parts["Q"], network.encoder) + _mismatches("P", parts["P"], network.decoder)
    landmarks = bool(parts["LMH"]) and part != "autoencoder"
    if landmarks:
        last = parts["LMH"].get("lin.weight", torch.empty(64, 1, 4, 4))
        outputs = last.shape[1] if last.ndim == 4 and 1 <= last.shape[1] <= 1024 else 1
        adapted = build_adapted(network, outputs=outputs)
        wanted = {name: tuple(adapted.get_parameter(goal).shape) for name, goal in _HEAD.items()}
        wrong += _differences("LMH", parts["LMH"], wanted, optional=_UNUSED)
    if wrong:
        raise ModelError(f"not a 3FabRec snapshot of {network.image_size} px: {'; '.join(wrong)}")
    network.encoder.load_state_dict(parts["Q"])
    network.decoder.load_state_dict(parts["P"])
    if not landmarks:
        return network.eval()
    adapted = build_adapted(network, outputs=outputs)
    with torch.no_grad():
        for name, goal in _HEAD.items():
            adapted.get_parameter(goal).copy_(parts["LMH"][name])
    return adapted.eval()


def read_snapshot(source: str | os.PathLike[str], *, memory_limit: int = 8 << 30,
                  time_limit: float = 300.0) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a snapshot and what its `meta.json` says (an empty dictionary where there is none).

    The file is a pickle. It is opened in a child process with limits, by a loader that accepts tensors and plain values only,
    and comes back as a plain tensor file; this process opens nothing else.

    Args:
        source: the snapshot's folder, or its file `saae.mdl`.
        memory_limit: bytes of address space of the child, of which torch itself takes up to 4 GiB.
        time_limit: seconds.

    Raises:
        ModelError: `model_missing`; `unsafe_format` for a file that names anything but tensors: nothing of it is executed;
            `model_corrupt` for a damaged one, also when the child dies or runs out of its limits.
    """
    check_range("memory_limit", memory_limit, 1 << 28)
    check_range("time_limit", time_limit, 0.1)
    path = Path(source)
    path = path / SNAPSHOT if path.is_dir() else path
    if not path.is_file():
        raise ModelError(f"{path}: no such snapshot; wanted a folder with {SNAPSHOT}, or that file", code="model_missing")
    with tempfile.TemporaryDirectory(prefix="facerecon-") as folder:
        made = Path(folder) / "tensors.safetensors"
        run_child("facerecon.gmda.fabrec_worker", [str(made)], job=str(path.resolve()), source=str(path), memory=memory_limit,
                  seconds=time_limit)
        arrays, header = read_tensors(made, wanted="the child's tensor file")
    meta = {**_meta(path.with_name("meta.json")), **header["values"]}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, meta


def _mismatches(prefix: str, found: Mapping[str, Tensor], module: nn.Module) -> list[str]:
    return _differences(prefix, found, {name: tuple(value.shape) for name, value in module.state_dict().items()})


def _differences(prefix: str, found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]],
                 optional: Mapping[str, tuple[int, ...]] | None = None) -> list[str]:
    known = {**(optional or {}), **wanted}
    wrong = [f"{prefix}.{name} is missing" for name in wanted if name not in found]
    wrong += [f"{prefix}.{name} is not known" for name in found if name not in known]
    wrong += [f"{prefix}.{name}: wanted {known[name]}, got {tuple(value.shape)}" for name, value in found.items()
              if name in known and tuple(value.shape) != known[name]]
    return wrong


def _meta(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_META:
        raise ModelError(f"{path}: wanted at most {_LARGEST_META} bytes", code="model_corrupt")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error}); copy it again, or remove it", code="model_corrupt") from error
    return meta if isinstance(meta, dict) else {}
