"""Typed errors: every refusal that crosses the public edge is a `FaceReconError`.

Each error carries a stable `code` (for manifests, exit status and programs) and a message that says what was wanted,
what was got and how to mend it. Codes are part of the public interface; messages are not.
"""

from __future__ import annotations


class FaceReconError(Exception):
    """Base of all errors that facerecon raises on purpose.

    Args:
        message: what was wanted, what was got, how to mend it.
        code: stable identifier; must be one of the class's `codes`. Defaults to the first of them.
    """

    codes: tuple[str, ...] = ("error",)

    def __init__(self, message: str, *, code: str | None = None) -> None:
        chosen = self.codes[0] if code is None else code
        if chosen not in self.codes:
            raise ValueError(f"{type(self).__name__} has no code {chosen!r}; it has {self.codes}")
        super().__init__(message)
        self.code = chosen

    @property
    def message(self) -> str:
        """The text without the code."""
        return str(self.args[0])

    def __reduce__(self):
        # Exceptions travel between worker processes; the default protocol would lose the keyword-only code.
        return _rebuild, (type(self), self.args[0], self.code)


def _rebuild(kind: type[FaceReconError], message: str, code: str) -> FaceReconError:
    return kind(message, code=code)


class ArgumentError(FaceReconError, ValueError):
    """An argument has a wrong value, shape, dtype or combination."""

    codes = ("argument_invalid", "shape_invalid", "dtype_invalid", "nonfinite")


class PathError(FaceReconError):
    """A path cannot be read or written."""

    codes = ("path_invalid", "path_missing", "path_not_file", "path_permission", "path_loop", "path_exists", "path_write")


class ImageError(FaceReconError):
    """A photo cannot be decoded, or is outside the limits."""

    codes = (
        "image_invalid", "image_empty", "image_format", "image_truncated", "image_too_large", "image_too_small",
        "image_colorspace", "array_nonfinite", "array_invalid",
    )


class FaceError(FaceReconError):
    """No usable face at the place where one was asked for."""

    codes = ("no_face", "face_too_small", "box_invalid", "pose_out_of_range")


class LandmarkError(FaceReconError):
    """Landmarks that no face can have produced."""

    codes = ("landmarks_invalid", "landmarks_count", "landmarks_nonfinite", "landmarks_degenerate", "landmarks_outside")


class FitError(FaceReconError):
    """A fit that did not end in finite parameters."""

    codes = ("fit_failed", "diverged")


class MeshError(FaceReconError):
    """A mesh or mesh file that cannot be used."""

    codes = ("mesh_invalid", "mesh_empty", "mesh_format", "mesh_truncated", "mesh_too_large", "mesh_reference_unsafe")


class ModelError(FaceReconError):
    """A face model or weights file that is damaged or not what it says."""

    codes = ("model_invalid", "model_corrupt", "model_missing", "hash_mismatch", "unsafe_format", "onnx_differs")


class DatasetError(FaceReconError):
    """A dataset folder that is not laid out as its release is, or an annotation in it that cannot be used."""

    codes = ("dataset_invalid", "dataset_missing", "annotation_corrupt", "annotation_invalid")


class ArchiveError(FaceReconError):
    """An archive that would write outside its folder, or would not end."""

    codes = ("archive_unsafe", "archive_corrupt")


class BackendError(FaceReconError):
    """An optional back end or device is asked for and not there; the original reason is the `__cause__`."""

    codes = ("backend_missing", "device_missing", "oom")
