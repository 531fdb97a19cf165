"""Keep what native libraries write to the error stream away from the user."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

_NATIVE = re.compile(
    # MediaPipe, absl and TensorFlow Lite: "W0000 00:00:1795245747.514613    8049 file.cc:181] ...", and a few bare lines.
    rb"^((WARNING: (All log messages|Logging) before |[IWE]\d{4} \d\d:\d\d:\d\d.*\] |INFO: |WARNING: )"
    rb"|.*(EGL|GL version|gl_context)"
    # libtiff names one of its functions; libjpeg and libpng name the file type.
    rb"|(_?TIFF|Fax|LibJpeg|ZIP|LZW|JPEG|PackBits|Lzma|ZSTD|LogLuv|PixarLog|ThunderDecode|NeXT|Dump)\w*: |tempfile\.tif: |MissingRequired: "
    rb"|Estimate\w+: |More samples per pixel|Apparently should be|Corrupt JPEG data|Premature end of|libpng (error|warning): )")
_lock = threading.Lock()
_depth = 0
_saved: int | None = None
_held: object = None


@contextlib.contextmanager
def native_log_silenced() -> Iterator[None]:
    """Hold back file descriptor 2 during the block; afterwards write everything to it that is no native log line.

    Several threads may be inside at once: the first in redirects, the last out restores. Exceptions pass unchanged.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _depth, _saved, _held
    with _lock:
        _depth += 1
        if _depth > 1:
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        try:
            _saved = os.dup(2)
        except OSError:
            # No error stream at all: nothing can reach the user.
            _saved = None
            return
        _held = tempfile.TemporaryFile()
        os.dup2(_held.fileno(), 2)


def _leave() -> None:
    global _depth, _saved, _held
    with _lock:
        _depth -= 1
        if _depth > 0 or _saved is None:
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()
        os.dup2(_saved, 2)
        os.close(_saved)
        _held.seek(0)
        lines = _held.read().splitlines(keepends=True)
        _held.close()
        _saved, _held = None, None
        kept = b"".join(line for line in lines if not _NATIVE.match(line.rstrip(b"\r\n")))
        if kept:
            with contextlib.suppress(OSError):
                os.write(2, kept)
