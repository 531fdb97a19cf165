"""Photos for runs, small so that they are quick, and the command in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

PORTRAITS = Path(__file__).resolve().parents[2] / "assets" / "portraits"


@pytest.fixture(scope="session")
def portraits() -> list[Image.Image]:
    """Four portraits at 300 x 300; each face is some 115 px wide."""
    return [Image.open(path).convert("RGB").resize((300, 300), Image.Resampling.LANCZOS)
            for path in sorted(PORTRAITS.glob("*.jpg"))[:4]]


@pytest.fixture
def photos(tmp_path, portraits) -> Path:
    """A folder with four good photos, `p0.png` to `p3.png`."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, portrait in enumerate(portraits):
        portrait.save(folder / f"p{index}.png")
    return folder


@pytest.fixture
def mixed(photos) -> Path:
    """The four good photos among bad files."""
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (200, 200, 3), np.uint8)).save(photos / "a_noise.png")
    (photos / "b_empty.jpg").write_bytes(b"")
    (photos / "p1_text.jpg").write_text("no picture")
    whole = (photos / "p2.png").read_bytes()
    (photos / "p2_cut.png").write_bytes(whole[:len(whole) // 2])
    (photos / "notes.txt").write_text("not an image file")
    (photos / ".hidden.png").write_bytes(b"")
    (photos / "z").mkdir()
    (photos / "p0.png").rename(photos / "z" / "p3.png")
    return photos


@pytest.fixture
def command():
    """Run the command in this process: command("landmarks", folder, "-o", out) -> result with exit_code, stdout, stderr."""
    from facerecon.cli.main import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="facerecon")


@pytest.fixture
def records():
    """Read a manifest."""
    return lambda out: [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
