"""Walk the chunks of a PNG file: size, kind, check sums; keep only the chunks that hold pixels."""

from __future__ import annotations

import contextlib
import contextlib
import struct
import zlib
from dataclasses import dataclass

from facerecon.errors import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT = 2**20
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True)
class PngFacts:
    """What the chunks say; `missing` tells why the file is known to be damaged ("" when it is whole)."""

    size: tuple[int, int]
    depth: int
    colour: int
    interlaced: bool
    transparent: bool
    animated: bool
    exif: bytes | None
    missing: str


def read_png(data: bytes) -> PngFacts:
    """Walk a PNG file and verify the CRC of every chunk.

    Raises:
        ImageError: `image_truncated` when the file ends inside its header, `image_invalid` for an impossible header,
            `image_too_large` for a text or profile chunk that holds, or unpacks to, more than 1 MiB.

    Source: W3C PNG Specification (Third Edition), section 5 and 11.
    """
    header, missing, exif, animated, transparent, ended = None, "", None, False, False, False
    for kind, body, intact in _chunks(data):
        if not intact:
            missing = missing or f"chunk {kind!r} is cut or its check sum is wrong"
        if header is None:
            if kind != b"IHDR" or len(body) != 13:
                raise ImageError("image: the PNG does not begin with its header chunk", code="image_truncated")
            header = struct.unpack(">IIBBBBB", body)
        elif kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            _check_text(kind, body)
        elif kind == b"eXIf" and intact:
            exif = bytes(body)
        animated |= kind == b"acTL"
        transparent |= kind == b"tRNS"
        ended = kind == b"IEND"
        if ended:
            break
    if header is None:
        raise ImageError("image: the PNG ends before its header", code="image_truncated")
    width, height, depth, colour, _, _, interlaced = header
    if depth not in _DEPTHS.get(colour, ()) or interlaced > 1:
        if missing:
            raise ImageError(f"image: the PNG header is damaged; {missing}", code="image_truncated")
        raise ImageError(f"image: PNG colour type {colour} with {depth} bits does not exist", code="image_invalid")
    if not ended:
        missing = missing or "no end chunk"
    return PngFacts((width, height), depth, colour, bool(interlaced), transparent, animated, exif, missing)


def pixel_chunks(data: bytes) -> bytes:
    """The same PNG with nothing but the chunks that make its pixels: no text, profile, or animation reaches a decoder."""
    if all(kind in _PIXEL_CHUNKS for kind, _, _ in _chunks(data)):
        return data
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body, _ in _chunks(data) if kind in _PIXEL_CHUNKS)


def complete_png(data: bytes) -> bytes:
    """A whole PNG from a damaged one: what unpacks of its pixels, then zeros.

    Raises:
        ImageError: `image_truncated` when nothing unpacks.
    """
    facts = read_png(data)
    wanted = _raw_size(facts)
    unpacker, raw = zlib.decompressobj(), bytearray()
    kept = []
    for kind, body, _ in _chunks(data):
        if kind == b"IDAT":
            try:
                raw += unpacker.decompress(body, wanted - len(raw)) if len(raw) < wanted else b""
            except zlib.error:
                break
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            kept.append(_chunk(kind, body))
    if not raw:
        raise ImageError("image: nothing of the PNG's pixels can be unpacked", code="image_truncated")
    packed = zlib.compress(raw + bytes(wanted - len(raw)), 1)
    return SIGNATURE + b"".join(kept) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def pixels_complete(data: bytes) -> bool:
    """Whether the packed pixel data unpacks to the full picture; keeps at most 1 MiB of it at a time."""
    wanted = _raw_size(read_png(data))
    unpacker, got = zlib.decompressobj(), 0
    try:
        for kind, body, _ in _chunks(data):
            rest = body if kind == b"IDAT" else b""
            while rest and got < wanted:
                got += len(unpacker.decompress(rest, 1 << 20))
                rest = unpacker.unconsumed_tail
    except zlib.error:
        return False
    return got >= wanted


def _chunks(data: bytes):
    place = len(SIGNATURE)
    view = memoryview(data)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = view[place + 8:place + 8 + length]
        checksum = data[place + 8 + length:place + 12 + length]
        intact = len(checksum) == 4 and zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(checksum, "big")
        yield kind, body, intact
        place += 12 + length


def _chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _check_text(kind: bytes, body: memoryview) -> None:
    size = len(body)
    if kind != b"tEXt" and size <= MAX_TEXT:
        # Keyword, zero byte, one to three more fields, then packed text: try to unpack from the first zlib head on.
        content = bytes(body)
        start = content.find(b"\x78", content.find(b"\0") + 1)
        if start >= 0:
            unpacker = zlib.decompressobj()
            # What does not unpack is plain text, and counts as it is.
            with contextlib.suppress(zlib.error):
                size += len(unpacker.decompress(content[start:], MAX_TEXT + 1))
    if size > MAX_TEXT:
        raise ImageError(f"image: a PNG {kind.decode('latin-1')} chunk holds more than {MAX_TEXT} bytes; save the picture "
                         "without metadata", code="image_too_large")


def _raw_size(facts: PngFacts) -> int:
    width, height = facts.size
    bits = facts.depth * _CHANNELS[facts.colour]
    if not facts.interlaced:
        return height * (1 + (width * bits + 7) // 8)
    total = 0
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        columns, rows = max(0, -(-(width - x0) // dx)), max(0, -(-(height - y0) // dy))
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total
