"""Damaged files of every kind: a picture or a typed refusal, never anything else."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from facerecon.data import load_image
from facerecon.errors import FaceReconError

FORMATS = {
    "JPEG": {"quality": 60}, "JPEG progressive": {"quality": 60, "progressive": True}, "PNG": {}, "WEBP": {},
    "WEBP lossless": {"lossless": True}, "BMP": {}, "TIFF": {}, "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF jpeg": {"compression": "jpeg"}, "GIF": {},
}


@pytest.fixture(scope="module")
def seeds(encode) -> dict[str, bytes]:
    rng = np.random.default_rng(3)
    small = Image.fromarray(np.kron(rng.integers(0, 256, (5, 6, 3)), np.ones((4, 4, 1))).astype(np.uint8))
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    files = {}
    for name, options in FORMATS.items():
        kind = name.split()[0]
        extra = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
        files[name] = encode(small, kind, **options, **extra)
    files["PNG palette"] = encode(small.quantize(8), "PNG", transparency=b"\0\x80")
    files["GIF animated"] = encode(small, "GIF", save_all=True, append_images=[Image.new("RGB", small.size)])
    return files


mutations = st.lists(st.tuples(st.sampled_from(["set", "flip", "delete", "insert", "cut", "repeat"]),
                               st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


def mutated(data: bytes, steps: list[tuple[str, float, int]]) -> bytes:
    content = bytearray(data)
    for what, where, value in steps:
        # Headers decide most, so half of the places are among the first bytes.
        place = int((2 * where % 1) * min(len(content), 64)) if where < 0.5 else int((2 * where - 1) * len(content))
        if not content:
            break
        if what == "set":
            content[place] = value
        elif what == "flip":
            content[place] ^= 1 << value % 8
        elif what == "delete":
            del content[place:place + 1 + value % 16]
        elif what == "insert":
            content[place:place] = bytes([value]) * (1 + value % 5)
        elif what == "repeat":
            content[place:place] = content[place:place + value]
        else:
            del content[max(place, 8):]
    return bytes(content)


@pytest.mark.parametrize("name", [*FORMATS, "PNG palette", "GIF animated"])
def test_mutated_files(seeds, name):
    @settings(max_examples=60, derandomize=True, deadline=None, database=None,
              suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(steps=mutations, allow=st.booleans())
    def check(steps, allow):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                loaded = load_image(mutated(seeds[name], steps), allow_truncated=allow, max_pixels=1 << 22)
            except FaceReconError as error:
                assert error.code.startswith("image_")
                return
        assert loaded.pixels.dtype == np.uint8 and loaded.pixels.ndim == 3 and loaded.pixels.shape[2] == 3
        assert allow or "truncated" not in loaded.flags

    check()
