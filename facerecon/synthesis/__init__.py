"""Faces with exact ground truth, in archives that training reads: heads, photos turned aside, photos with their fit."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "SyntheticFace": "sample",
    "SyntheticFaces": "archive",
    "read_archive": "archive",
    "FittedOptions": "fitted",
    "ProfileOptions": "profile_jobs",
    "Refused": "profile_jobs",
    "profile_folder": "profile_jobs",
    "profile_views": "profile",
    "write_block": "archive",
    "write_index": "archive",
})
