"""Who is learnt from, who settings are chosen by, and who only tests."""

from __future__ import annotations

import hashlib

# Parts of a hundred: 20 test subjects, 8 to choose settings by, the others to learn from.
TEST_SHARE, VALIDATION_SHARE = 20, 8
SPLITS = ("train", "validation", "test")


def split_of(subject: str) -> str:
    """Which split a person belongs to: "train", "validation" or "test", by a hash of the name, so that it never changes."""
    place = int(hashlib.sha256(subject.encode()).hexdigest(), 16) % 100
    return "test" if place < TEST_SHARE else "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"
