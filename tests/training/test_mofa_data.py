"""Sources of self-supervised training: alignment, labels found on the way, maps, splits, and what is refused or left out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from facerecon.errors import ArgumentError, DatasetError, ModelError
from facerecon.files import write_atomic
from facerecon.pncc import make_pairs, shard_path, write_shard
from facerecon.pncc.code import code_box
from facerecon.training import load_recipe
from facerecon.data.splits import split_of
from facerecon.training.mofa_codes import CodeFolder, with_predicted_codes
from facerecon.training.mofa_landmarks import FoundLandmarks
from facerecon.training.mofa_material import load_mofa_material, shares_of, split_share
from facerecon.training.mofa_samples import CONTEXT, MofaSamples, SampleList
from facerecon.training.mofa_sources import SourceOptions, read_source


class Finder:
    """Finds the 478 points that it was told for a picture's mean, and counts how often it was asked."""

    def __init__(self, points=None):
        self.points, self.asked = points, 0

    def find(self, pixels):
        self.asked += 1
        if self.points is None:
            return []
        return [type("Face", (), {"points478": np.pad(self.points, ((0, 0), (0, 1))).astype(np.float32)})]

    def close(self):
        raise AssertionError("a finder that was given is its owner's to close")


def dense(low: float = 40.0, high: float = 100.0) -> np.ndarray:
    """478 points whose iBUG-68 rows span low to high in both directions."""
    points = np.full((478, 2), (low + high) / 2)
    points[127], points[152] = low, high
    return points


def options(heads, tmp_path=None, **changes) -> SourceOptions:
    landmarks = FoundLandmarks(None, finder=Finder(dense()))
    return dataclasses.replace(SourceOptions(heads.model, 144, landmarks), **changes)


def test_a_sample_is_the_square_around_its_points():
    """Points from 20 to 80 px: the square's side is 1.6 * 60 * 1.125 = 108 about 50, so 2 px of it are 3 of the crop."""
    pixels = np.zeros((120, 200, 3), np.uint8)
    pixels[50, 50] = 255
    points = np.full((68, 2), np.nan)
    points[0], points[1], points[2] = (20, 30), (80, 70), (50, 50)
    kept = SampleList(162)
    kept.add("a", None, pixels, points)
    sample = kept.samples()
    assert sample.images.shape == (1, 162, 162, 3) and sample.maps is None and not sample.truth
    # 80.5 is the middle of the crop; the edge of a pixel is half a pixel from its centre.
    assert np.allclose(sample.points[0, :3], [[80.5 - 45, 80.5 - 30], [80.5 + 45, 80.5 + 30], [80.5, 80.5]], atol=1e-4)
    assert sample.visible[0].tolist() == [True] * 3 + [False] * 65
    assert sample.images[0, 80, 80, 0] > 100 and sample.images[0, :70].max() == 0


def test_true_parameters_follow_the_crop(heads, mofa_heads):
    samples = heads.samples(3, size=100)
    code = type(heads.code(1))(**mofa_heads.tensors(samples))
    assert np.allclose(heads.landmarks(code).numpy(), samples.points, atol=1e-3)
    assert samples.points.min() > 5 and samples.points.max() < 95


def test_a_map_lies_on_its_picture(heads):
    """The code as a picture, and as its map in another resolution, come out alike."""
    code = heads.code(1, seed=2)
    picture, small = ((heads.pncc(code, size)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy() for size in (144, 100))
    kept = SampleList(144)
    kept.add("a", None, picture, heads.landmarks(code)[0].numpy(), code=small)
    samples = kept.samples()
    seen, drawn = samples.images[0].astype(int), samples.maps[0].astype(int)
    both = (drawn > 0).any(2) & (seen > 40).any(2)
    assert samples.maps.shape == (1, 144, 144, 3) and both.mean() > 0.25
    assert abs(both.sum() / (drawn > 0).any(2).sum() - 1) < 0.03 and np.abs(seen - drawn)[both].mean() < 2


def test_landmarks_are_looked_for_once_and_a_torn_line_is_dropped(tmp_path):
    path, pixels = tmp_path / "landmarks.jsonl", np.zeros((64, 64, 3), np.uint8)
    finder = Finder(dense())
    with FoundLandmarks(path, finder=finder) as found:
        first = found.find(pixels)
        assert np.array_equal(found.find(pixels), first) and finder.asked == 1 and first.shape == (68, 2)
        assert first.min() == 40 and first.max() == 100
    nobody = Finder()
    with FoundLandmarks(path, finder=nobody) as found:
        assert np.array_equal(found.find(pixels), first) and nobody.asked == 0
        assert found.find(pixels + 1) is None and found.find(pixels + 1) is None and nobody.asked == 1
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    finder = Finder(dense())
    with FoundLandmarks(path, finder=finder) as found:
        assert np.array_equal(found.find(pixels), first) and finder.asked == 0
        assert np.array_equal(found.find(pixels + 1), first) and finder.asked == 1
    lines = path.read_text().splitlines()
    assert len(lines) == 2 and all(json.loads(line)["points68"] for line in lines)


def test_photos_get_landmarks_and_those_without_a_face_are_left_out(heads, mofa_heads, tmp_path):
    folder = mofa_heads.photo_folder(tmp_path / "photos", heads, 2)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    training, validation = read_source(folder, options(heads))
    assert training.names == ("photo.0", "photo.1") and not len(validation) and training.subjects == (None, None)
    assert [one["name"] for one in training.dropped] == ["broken"] and np.isfinite(training.points).all()
    nobody = options(heads, landmarks=FoundLandmarks(None, finder=Finder()))
    assert [one["code"] for one in read_source(folder, nobody)[0].dropped].count("no_landmarks") == 2
    kept, _ = read_source(folder, options(heads, unlabelled="keep"))
    assert len(kept) == 2 and np.isnan(kept.points).all() and not kept.visible.any()


def test_people_of_the_test_split_are_in_no_part(heads, mofa_heads, tmp_path):
    folder = tmp_path / "faces"
    people = [f"person {i}" for i in range(12)]
    mofa_heads.write_synthetic(folder, heads, people)
    training, validation = read_source(folder, options(heads))
    for part, split in ((training, "train"), (validation, "validation")):
        assert list(part.subjects) == [person for person in people if split_of(person) == split]
    few, _ = read_source(folder, options(heads, samples=2, seed=1))
    assert len(few) == 2 and set(few.names) < set(training.names)


def test_a_synthetic_archive_brings_points_parameters_and_codes(heads, mofa_heads, tmp_path):
    mofa_heads.write_synthetic(tmp_path / "faces", heads, ["person 0", "person 4"])
    training, _ = read_source(tmp_path / "faces", options(heads, codes=True))
    code = type(heads.code(1))(**mofa_heads.tensors(training))
    assert np.allclose(heads.landmarks(code).numpy(), training.points, atol=2e-3)
    assert training.visible.sum(1).tolist() == [60] * len(training) and training.maps.any()


def test_what_does_not_belong_together_is_refused(heads, mofa_heads, tmp_path):
    mofa_heads.write_synthetic(tmp_path / "other", heads, ["person 0"], topology="0" * 64)
    with pytest.raises(ModelError, match="of the model 'another'"):
        read_source(tmp_path / "other", options(heads))
    mofa_heads.write_synthetic(tmp_path / "bare", heads, ["person 0"], maps=False)
    with pytest.raises(ArgumentError, match="--maps pncc"):
        read_source(tmp_path / "bare", options(heads, codes=True))
    photos = mofa_heads.photo_folder(tmp_path / "photos", heads, 1)
    with pytest.raises(ArgumentError, match="codes=FOLDER"):
        read_source(photos, options(heads, codes=True))
    with pytest.raises(DatasetError, match="wanted a folder"):
        read_source(tmp_path / "none", options(heads))
    with pytest.raises(DatasetError, match="manifest"):
        CodeFolder(photos)


def test_pairs_bring_codes_in_their_frame(heads, tmp_path):
    image, code = np.zeros((96, 96, 3), np.uint8), np.zeros((128, 128, 3))
    code[32:96, 32:96] = 0.6
    about = {"model": {"name": "open", "topology_sha256": heads.model.header["topology_sha256"], "code": code_box(heads.model)}}
    write_shard(shard_path(tmp_path, 0), make_pairs([image], [code], ["a"], size=96, about=about))
    training, _ = read_source(tmp_path, options(heads, unlabelled="keep", codes=True))
    # The whole picture is the square; around it is the context.
    assert training.maps[0, 40:104, 40:104].min() == 153 and training.maps[0].any(2).sum() == 64 * 64
    assert np.isnan(training.points).all()
    found, _ = read_source(tmp_path, options(heads))
    assert np.isfinite(found.points).all() and found.maps is None


def test_maps_of_annotate_are_found_by_the_names_of_the_pictures(tmp_path):
    rows = [{"image": "photos/a/x.1.jpg", "status": "ok", "face": 0, "files": {"pncc": "a/x.1_0_pncc.png"}},
            {"image": "photos/b/x.1.jpg", "status": "ok", "face": 0, "files": {"pncc": "b/x.1_0_pncc.png"}},
            {"image": "photos/a/x.1.jpg", "status": "ok", "face": 1, "files": {"pncc": "a/x.1_1_pncc.png"}},
            {"image": "photos/y.jpg", "status": "refused", "code": "no_face", "message": ""}]
    for value, name in ((10, "a/x.1_0_pncc.png"), (20, "b/x.1_0_pncc.png")):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.full((40, 60, 3), value, np.uint8)).save(tmp_path / name)
    write_atomic(tmp_path / "manifest.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    codes = CodeFolder(tmp_path)
    assert codes.of("a/x.1", (40, 60)).max() == 10 and codes.of("b/x.1", (40, 60)).max() == 20
    assert codes.of("x.1.jpg", (80, 120)).max() == 10
    assert codes.of("y", (40, 60)) is None and codes.of("z/x.1", (40, 60)) is None
    with pytest.raises(DatasetError, match="wanted a map of a picture of 60 x 60"):
        codes.of("a/x.1", (60, 60))
    write_atomic(tmp_path / "manifest.jsonl", "{}\n[]\n")
    with pytest.raises(DatasetError, match="line 2"):
        CodeFolder(tmp_path)


def test_a_network_sees_the_square_without_its_context():
    class Network:
        image_size = 128

        def predict_crops(self, images):
            self.seen = images
            return images.astype(np.float32) / 255

    generator = np.random.default_rng(0)
    samples = MofaSamples(generator.integers(0, 256, (2, 144, 144, 3), dtype=np.uint8), ("a", "b"), (None, None),
                          np.full((2, 68, 2), np.nan, np.float32), np.zeros((2, 68), bool))
    network = Network()
    made = with_predicted_codes(samples, network)
    assert np.array_equal(network.seen, samples.images[:, 8:136, 8:136]) and CONTEXT == 144 / 128
    assert np.array_equal(made.maps[:, 8:136, 8:136], samples.images[:, 8:136, 8:136]) and not made.maps[:, :8].any()


@pytest.mark.parametrize(("given", "shares"), [
    ([None], (1.0,)), ([None, 0.25], (0.75, 0.25)), ([None, 0.5, None], (0.25, 0.5, 0.25)), ([0.6, 0.4], (0.6, 0.4))])
def test_shares_add_up(given, shares):
    assert shares_of(given) == pytest.approx(shares)


@pytest.mark.parametrize("given", [[], [0.5], [None, 1.0], [0.6, 0.6], [0.7, None, 0.5]])
def test_shares_that_do_not_are_refused(given):
    with pytest.raises(ArgumentError, match="add up to 1"):
        shares_of(given)


def test_a_folder_may_have_an_equals_sign(tmp_path):
    (tmp_path / "a=0.5").mkdir()
    assert split_share(tmp_path / "a=0.5")[1] is None and split_share("b=0.5")[1] == 0.5 and split_share("b=c")[1] is None
    for word in ("b=0", "b=1.5", "b=nan"):
        with pytest.raises(ArgumentError, match="share"):
            split_share(word)


def test_a_source_without_anyone_to_learn_from_is_refused(heads, mofa_heads, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "black.png")
    with pytest.raises(DatasetError, match="1 no_landmarks"):
        load_mofa_material(load_recipe("mofa-smoke"), [folder], cache=tmp_path / "found.jsonl")
    assert json.loads((tmp_path / "found.jsonl").read_text())["points68"] is None
