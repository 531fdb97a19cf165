"""Tables of numbers as text, fast: whole columns of digits at a time instead of one number at a time.

`numpy.savetxt` and Python's own formatting take some 0.3 s for the 150,000 numbers of a face mesh; this takes a tenth.
"""

from __future__ import annotations

import numpy as np

_ZERO, _SPACE, _NEWLINE, _MINUS, _POINT = b"0"[0], b" "[0], b"\n"[0], b"-"[0], b"."[0]


def fixed_point_lines(keyword: bytes, table: np.ndarray, *, decimals: int = 6) -> bytes:
    """One line for each row: the keyword, then every number with `decimals` digits after the point.

    Args:
        keyword: such as b"v".
        table: (N, C) float, finite, below 1e11 in size.
        decimals: 1 to 9.
    """
    rows, columns = table.shape
    scaled = np.rint(np.asarray(table, np.float64) * 10.0**decimals).astype(np.int64)
    negative = scaled < 0
    digits = _digits(np.abs(scaled), least=decimals + 1)
    width = digits.shape[-1]
    # Bytes that stay zero are dropped at the end: leading zeros, and the minus sign of positive numbers.
    out = np.zeros((rows, columns, width + 3), np.uint8)
    out[..., 0] = _SPACE
    out[..., 1] = np.where(negative, _MINUS, 0)
    whole = width - decimals
    out[..., 2:2 + whole] = digits[..., :whole]
    out[..., 2 + whole] = _POINT
    out[..., 3 + whole:] = digits[..., whole:]
    return _lines(keyword, out.reshape(rows, -1))


def face_lines(corners: np.ndarray) -> bytes:
    """`f a/b/c a/b/c a/b/c` lines from 1-based indices (F, 3, K); K = 1 gives `f a a a`.

    An index of 0 in the middle place is left out (`a//c`), the way OBJ says that there is no texture coordinate.
    """
    count, sides, parts = corners.shape
    words = _digits(np.arange(int(corners.max()) + 1), least=1)
    words[0] = 0
    out = np.zeros((count, sides, parts, words.shape[-1] + 1), np.uint8)
    out[..., 0] = b"/"[0]
    out[..., 0, 0] = _SPACE
    out[..., 1:] = words[corners]
    return _lines(b"f", out.reshape(count, -1))


def _digits(numbers: np.ndarray, *, least: int) -> np.ndarray:
    """ASCII digits (..., width) of numbers >= 0, with at least `least` digits and zero bytes before them."""
    largest = int(numbers.max()) if numbers.size else 0
    width = max(least, len(str(largest)))
    rest = numbers.astype(np.int32) if largest < 2**31 else numbers.astype(np.int64)
    out = np.zeros((*numbers.shape, width), np.uint8)
    for place in range(width - 1, -1, -1):
        shifted = rest // 10
        digit = (rest - shifted * 10).astype(np.uint8) + _ZERO
        out[..., place] = digit if width - place <= least else np.where(rest > 0, digit, 0)
        rest = shifted
    return out


def _lines(keyword: bytes, body: np.ndarray) -> bytes:
    rows = len(body)
    out = np.empty((rows, len(keyword) + body.shape[1] + 1), np.uint8)
    out[:, :len(keyword)] = np.frombuffer(keyword, np.uint8)
    out[:, len(keyword):-1] = body
    out[:, -1] = _NEWLINE
    flat = out.reshape(-1)
    return flat[flat != 0].tobytes()
