"""`facerecon train mofa-...`: mixtures of folders, and requests that are refused."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from facerecon.mofa import load_encoder
from facerecon.data.splits import split_of

SHORT = ("steps=2", "batch_size=4", "pictures_every=0", "unlabelled=keep")


class SmallTrunk(torch.nn.Module):
    """Two layers with the names that the encoder needs of a ResNet."""

    def __init__(self, weights=None):
        super().__init__()
        self.conv1, self.fc = torch.nn.Conv2d(3, 8, 9, 8, 4, bias=False), torch.nn.Linear(8 * 16 * 16, 1000)

    def forward(self, images):
        return self.fc(torch.relu(self.conv1(images)).flatten(1))


@pytest.fixture
def command(monkeypatch):
    """Run the command in this process on one thread."""
    import torchvision

    from facerecon.cli.main import app

    monkeypatch.setattr(torchvision.models, "resnet18", SmallTrunk)
    return lambda *words: CliRunner().invoke(app, ["train", *map(str, words)], prog_name="facerecon")


@pytest.fixture
def folders(heads, mofa_heads, tmp_path):
    """A synthetic archive of people of both splits, and photos."""
    people = [name for name in (f"person {i}" for i in range(60)) if split_of(name) != "test"][:6]
    people.append(next(name for name in (f"person {i}" for i in range(500)) if split_of(name) == "validation"))
    mofa_heads.write_synthetic(tmp_path / "synthetic", heads, people)
    photos = mofa_heads.photo_folder(tmp_path / "photos", heads, 2)
    (photos / "broken.png").write_bytes(b"")
    return photos, tmp_path / "synthetic"


def test_a_mixture_of_photos_and_synthetic_faces(command, folders, tmp_path):
    photos, synthetic = folders
    words = ("mofa-smoke", *SHORT, "--data", photos, "--data", f"{synthetic}=0.25", "-o", tmp_path / "out", "--threads", 1)
    done = command(*words, "--licence", "CC0-1.0")
    assert done.exit_code == 0 and "2 steps of 4" in done.output and "left out: 1 image_empty" in done.output, done.output
    assert "validation_yaw_mae" in done.output
    file = load_encoder(tmp_path / "out" / "weights.safetensors")
    assert file.facts.metrics["licence"] == "CC0-1.0" and file.facts.metrics["recipe"]["unlabelled"] == "keep"
    other = command(*words[:-5], f"{synthetic}=0.5", *words[-4:], "--resume")
    assert other.exit_code == 2 and "the run there was another (data:" in other.output, other.output


def test_codes_come_with_the_archive(command, folders, tmp_path):
    photos, synthetic = folders
    done = command("mofa-smoke", *SHORT, "pncc=true", "augmentation.flip=0.5", "--data", synthetic, "-o", tmp_path / "out",
                   "--threads", 1)
    assert done.exit_code == 0 and load_encoder(tmp_path / "out" / "weights.safetensors").encoder.uses_pncc, done.output
    missing = command("mofa-smoke", *SHORT, "pncc=true", "--data", photos, "-o", tmp_path / "other")
    assert missing.exit_code == 2 and "codes=FOLDER" in missing.output


@pytest.mark.parametrize(("words", "message"), [
    (("mofa-smoke", "term.prior=1"), "nearest: terms"), (("mofa-smok",), "nearest: mofa-smoke"),
    (("mofa-smoke", "--data", "none"), "dataset_missing"),
    (("mofa-smoke", "--data", "a=0.7", "--data", "b=0.7"), "add up to 1"),
    (("mofa-smoke", "--data", "a=7"), "share: wanted a number"),
    (("pncc-smoke", "--data", "a", "--data", "b"), "one folder with all pairs")])
def test_wrong_requests_have_one_line_and_status_two(command, tmp_path, words, message):
    done = command(*words, "-o", tmp_path / "out")
    assert done.exit_code == 2 and message in done.output and len(done.output.splitlines()) == 1, done.output
