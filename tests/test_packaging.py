"""The project's own files agree with each other: pins, assets, licences, scripts."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from facerecon import assets
from facerecon.errors import ModelError
from facerecon.files import sha256_file

ROOT = Path(__file__).resolve().parent.parent


def pins() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9\-]+)==([^;\s]+)(; python_version (<|>=) \"3\.1[12]\")?", line)
            assert match, f"constraints.txt: {line!r} is not a pin"
            found.setdefault(match[1], set()).add(match[2])
    return found


def test_constraints_are_pins_without_urls_and_pairs_match():
    found = pins()
    assert found["torch"] == {"2.11.0"} and found["easypytorch3d"] == {"0.7.9.post1"}
    assert found["opencv-python"] == found["opencv-contrib-python"] and len(found["opencv-python"]) == 1
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_every_dependency_of_the_project_is_pinned():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text[text.index("dependencies = ["):text.index("[project.scripts]")]
    names = {match[1].lower() for match in re.finditer(r"\"([A-Za-z0-9\-]+)(?:[><=]=)", listed)}
    # anny is a build-time tool with its own pin; it is not part of what users install.
    assert names - {"anny"} <= set(pins()) and "torch" in names


def test_manifest_lists_exactly_what_ships_with_right_hashes_and_licences():
    listed = assets.manifest()
    present = {path.relative_to(ROOT / "assets").as_posix() for path in (ROOT / "assets").rglob("*") if path.is_file()
               and not path.name.startswith(".")}
    assert set(listed) == present - {"manifest.json", "licences.json"}
    for name, entry in listed.items():
        assert sha256_file(ROOT / "assets" / name) == entry["sha256"], name
        assert entry["licence"] and entry["source"]


def test_a_changed_asset_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"good")
    entry = {"sha256": sha256_file(tmp_path / "a.bin"), "bytes": 4, "licence": "CC0-1.0", "source": "test"}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"a.bin": entry}}))
    monkeypatch.setenv(assets.ENVIRONMENT, str(tmp_path))
    assert assets.locate("a.bin") == tmp_path / "a.bin"
    (tmp_path / "a.bin").write_bytes(b"evil!")
    with pytest.raises(ModelError, match="SHA-256") as caught:
        assets.locate("a.bin")
    assert caught.value.code == "hash_mismatch"
    with pytest.raises(ModelError) as caught:
        assets.locate("b.bin")
    assert caught.value.code == "model_missing"


@pytest.mark.parametrize("name", ["scripts/run", "scripts/test", "scripts/bench_fit", ".ci/run"])
def test_commands_are_executable(name):
    assert (ROOT / name).stat().st_mode & stat.S_IXUSR
