"""Walk the markers of a JPEG file: size, colour components, EXIF, and whether the file is whole."""

from __future__ import annotations

import re
from dataclasses import dataclass

from facerecon.errors import ImageError

_START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_STANDALONE = {0x01, *range(0xD0, 0xD8)}
# Inside coded data FF 00 is a data byte and FF D0 to D7 are restart marks; anything else ends it.
_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)


@dataclass(frozen=True)
class JpegFacts:
    """What the markers say; `missing` tells why the file is known to be cut ("" when it is whole)."""

    size: tuple[int, int]
    components: int
    precision: int
    adobe: bool
    exif: bytes | None
    missing: str


def read_jpeg(data: bytes) -> JpegFacts:
    """Walk a JPEG file to its end-of-image marker.

    Decoders fill what a cut file lacks with grey and do not say so; here the walk says it.

    Raises:
        ImageError: `image_truncated` when the file ends before its frame header, `image_invalid` for impossible markers.

    Source: ITU-T T.81, annex B; Adobe Technical Note 5116 (APP14).
    """
    place, frame, adobe, exif, scans = 2, None, False, None, 0
    missing = "no end-of-image marker"
    while True:
        start = data.find(b"\xff", place)
        if start < 0:
            break
        place = start + 1
        while place < len(data) and data[place] == 0xFF:
            place += 1
        if place >= len(data):
            break
        marker = data[place]
        place += 1
        if marker in _STANDALONE or marker == 0:
            continue
        if marker == 0xD9:
            missing = "" if scans else "no picture data before the end"
            break
        length = int.from_bytes(data[place:place + 2], "big")
        if place + 2 > len(data) or place + length > len(data):
            break
        if length < 2:
            raise ImageError(f"image: JPEG marker {marker:#x} has length {length}", code="image_invalid")
        body = data[place + 2:place + length]
        place += length
        if marker in _START_OF_FRAME and frame is None:
            if len(body) < 6:
                raise ImageError("image: the JPEG frame header is too short", code="image_invalid")
            frame = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"), body[5], body[0])
        elif marker == 0xEE and body.startswith(b"Adobe"):
            adobe = True
        elif marker == 0xE1 and exif is None and body.startswith(b"Exif\0\0"):
            exif = bytes(body)
        elif marker == 0xDA:
            scans += 1
            found = _END_OF_SCAN.search(data, place)
            if found is None:
                break
            place = found.start()
    if frame is None:
        raise ImageError("image: the JPEG ends before it says its size", code="image_truncated")
    return JpegFacts(size=frame[:2], components=frame[2], precision=frame[3], adobe=adobe, exif=exif, missing=missing)


def complete_jpeg(data: bytes) -> bytes:
    """The same file with an end-of-image marker, so that a decoder shows what there is of a cut one."""
    return bytes(data) + b"\xff\xd9"
