"""Which picture format a file is, by its content, and what its header says, before any decoder sees it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from facerecon.data.jpeg import read_jpeg
from facerecon.data.orientation import ORIENTATION_TAG, exif_orientation, ifd_inside, read_ifd
from facerecon.data.png import read_png
from facerecon.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx")
_TIFF_TAGS = (256, 257, 273, 279, 322, 323, 324, 325, ORIENTATION_TAG)


@dataclass(frozen=True)
class Header:
    """What the header of a picture file says.

    Attributes:
        format: one of `FORMATS`.
        size: stored (width, height).
        orientation: EXIF orientation 1 to 8; 1 when absent or damaged.
        missing: why the file is known to be cut or damaged; "" when it looks whole.
        several: it holds more than one frame.
        plain: 8-bit grey or RGB without transparency, so that every decoder gives the same picture.
        refusal: why its colours cannot be read with certainty; "" when they can.
    """

    format: str
    size: tuple[int, int]
    orientation: int = 1
    missing: str = ""
    several: bool = False
    plain: bool = False
    refusal: str = ""


def sniff(data: bytes) -> str | None:
    """Name of the format that the first bytes belong to; None when it is none of `FORMATS`."""
    head = bytes(data[:16])
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if head.startswith(b"BM") and len(data) >= 26 and struct.unpack_from("<I", data, 14)[0] in (12, 40, 52, 56, 64, 108, 124):
        return "BMP"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIF"
    return None


def read_header(data: bytes) -> Header:
    """Read the header of a picture file.

    Raises:
        ImageError: `image_format` when it is no picture of an allowed format, `image_truncated` when the header itself is
            cut, `image_invalid` when it contradicts itself, `image_too_large` for oversized text in a PNG.
    """
    name = sniff(data)
    if name is None:
        raise ImageError(f"image: wanted {', '.join(FORMATS)} content, got bytes that start with {bytes(data[:8])!r}; "
                         "convert the picture to one of these", code="image_format")
    try:
        return _READERS[name](data)
    except (struct.error, IndexError) as error:
        raise ImageError(f"image: the {name} header is cut off", code="image_truncated") from error


def _jpeg(data: bytes) -> Header:
    found = read_jpeg(data)
    refusal = ""
    if found.components == 4 and not found.adobe:
        refusal = "a four-colour JPEG without Adobe marker does not say whether its inks are inverted; save it as RGB"
    elif found.components not in (1, 3, 4):
        refusal = f"a JPEG with {found.components} colour components; save it as RGB"
    return Header("JPEG", found.size, exif_orientation(found.exif), found.missing,
                  plain=found.components in (1, 3) and found.precision == 8, refusal=refusal)


def _png(data: bytes) -> Header:
    found = read_png(data)
    return Header("PNG", found.size, exif_orientation(found.exif), found.missing, several=found.animated,
                  plain=found.depth == 8 and found.colour in (0, 2) and not found.transparent)


def _webp(data: bytes) -> Header:
    (length,) = struct.unpack_from("<I", data, 4)
    missing = f"wanted {length + 8} bytes, got {len(data)}" if length + 8 > len(data) else ""
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        # The flag byte: bit 1 animation, bit 4 alpha.
        animated, alpha = bool(data[20] & 2), bool(data[20] & 16)
        if len(data) < 30:
            raise IndexError
        return Header("WEBP", (width, height), exif_orientation(_webp_exif(data)), missing, several=animated,
                      plain=not animated and not alpha)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WEBP", ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), missing=missing)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WEBP", (width & 0x3FFF, height & 0x3FFF), missing=missing, plain=True)
    raise ImageError(f"image: wanted a VP8, VP8L or VP8X chunk in WebP, got {kind!r}", code="image_invalid")


def _webp_exif(data: bytes) -> bytes | None:
    place = 12
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        if kind == b"EXIF":
            return bytes(data[place + 8: place + 8 + min(length, 1 << 16)])
        place += 8 + length + (length & 1)
    return None


def _gif(data: bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    frames = 0
    while data[place] != 0x3B:
        if data[place] == 0x21:
            place += 2
        elif data[place] == 0x2C:
            if frames:
                return Header("GIF", (width, height), several=True)
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, place + 1)
            # A first frame that sticks out makes decoders widen the picture.
            width, height = max(width, left + wide), max(height, top + high)
            place += 10 + (3 << (flags & 7) + 1 if flags & 128 else 0) + 1
            frames = 1
        else:
            break
        while length := data[place]:
            place += length + 1
        place += 1
        if frames and place >= len(data):
            break
    return Header("GIF", (width, height), missing="" if frames else "no frame before the end")


def _bmp(data: bytes) -> Header:
    (kind,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if kind == 12 else "<ii", data, 18)
    return Header("BMP", (width, abs(height)))


def _tiff(data: bytes) -> Header:
    tags = read_ifd(data, _TIFF_TAGS)
    if 256 not in tags or 257 not in tags:
        raise IndexError
    width, height = tags[256][0], tags[257][0]
    if 322 in tags and 323 in tags:
        # A tile may be larger than its picture, within reason; decoders allocate whole tiles.
        tile = tags[322][0] * tags[323][0]
        if tile > 4 * max(width * height, 1 << 20):
            raise ImageError(f"image: the TIFF has tiles of {tile} pixels", code="image_too_large")
    missing = "" if ifd_inside(data) else "its directory, or what it points to, lies outside the file"
    for offsets, counts in ((273, 279), (324, 325)):
        for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ())):
            if offset + count > len(data):
                missing = f"wanted {offset + count} bytes, got {len(data)}"
    orientation = tags.get(ORIENTATION_TAG, (1,))[0]
    return Header("TIFF", (width, height), orientation if 1 <= orientation <= 8 else 1, missing,
                  several=_tiff_has_next(data))


def _tiff_has_next(data: bytes) -> bool:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    end = start + 2 + 12 * count
    return end + 4 <= len(data) and struct.unpack_from(order + "I", data, end)[0] != 0


def _heif(data: bytes) -> Header:
    # The size sits deep in nested boxes; the optional plug-in reads it. 0 says: ask it.
    return Header("HEIF", (0, 0))


_READERS = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "GIF": _gif, "BMP": _bmp, "TIFF": _tiff, "HEIF": _heif}
