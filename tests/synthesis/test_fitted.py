"""Photos with their fit as the truth: what is kept, what is refused, and who is taken."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerecon.data import load_image
from facerecon.data.splits import split_of
from facerecon.errors import ArgumentError, DatasetError, FitError
from facerecon.fitting import fit_landmarks
from facerecon.morphable import load_model
from facerecon.synthesis import FittedOptions, read_archive, write_block
from facerecon.synthesis.fitted import FittedSource
from facerecon.synthesis.photo_source import FitRule, PhotoOptions, PhotoSource, fit_photo
from facerecon.synthesis.profile_jobs import ProfileOptions, ProfileSource

PORTRAIT = sorted((Path(__file__).resolve().parents[2] / "assets" / "portraits").glob("*.jpg"))[0]


@pytest.fixture(scope="module")
def model():
    return load_model("open")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    small = cv2.resize(load_image(PORTRAIT).pixels, (240, 240), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path / "somebody.png"), small[..., ::-1])
    return path


@pytest.fixture(scope="module")
def made(folder, model):
    with FittedSource(FittedOptions(folder=folder, size=96), model=model) as source:
        yield source, source.make(0)[0]


def test_the_picture_is_the_photo_and_the_parameters_lie_on_it(folder, model, made):
    source, face = made
    photo, pixels, fit = source.fitted(0)
    placed = fit.parameters.pose.project(model.landmarks("ibug68", fit.parameters.identity, fit.parameters.expression))
    placed = placed[:, :2].numpy()
    # The crop is a scaling and a shift: the points of both say which, and the photo there is the picture.
    scale = float(face.parameters.pose.scale / fit.parameters.pose.scale)
    shift = (face.points68 - scale * placed).mean(0)
    assert np.abs(face.points68 - scale * placed - shift).max() < 1e-3
    x, y = np.meshgrid(np.arange(96), np.arange(96))
    way = [((part - shift[k]) / scale).astype(np.float32) for k, part in enumerate((x, y))]
    again = cv2.remap(cv2.GaussianBlur(pixels, (0, 0), 0.4 / scale), *way, cv2.INTER_LINEAR)
    inside = (way[0] > 0) & (way[0] < 239) & (way[1] > 0) & (way[1] < 239)
    assert np.abs(again.astype(int) - face.image)[inside].mean() < 4
    assert face.subject == photo.name and face.maps["pncc"].any() and face.visible68.sum() > 60
    # Every point lies in the picture, with room around.
    assert face.points68.min() > 4 and face.points68.max() < 91


def test_equal_options_give_equal_bytes(folder, model, made):
    with FittedSource(FittedOptions(folder=folder, size=96), model=model) as other:
        again = other.make(0)[0]
        assert other.about == made[0].about and json.loads(json.dumps(other.about)) == other.about
    assert np.array_equal(again.image, made[1].image) and np.array_equal(again.points68, made[1].points68)


def test_colours_of_a_landmark_fit_are_unknown_in_the_archive(tmp_path, folder, model, made):
    with FittedSource(FittedOptions(folder=folder, size=96, stage="landmarks"), model=model) as source:
        bare = source.make(0)[0]
    with ProfileSource(ProfileOptions(folder=folder, size=48, stage="landmarks", views=2, maps=()), model=model) as source:
        turned = source.make(0)
    assert len(turned) == 2 and not any(face.colours_known for face in turned)
    assert made[1].colours_known and not bare.colours_known
    write_block(tmp_path / "bare", 0, [bare], about=made[0].about)
    write_block(tmp_path / "known", 0, [made[1]], about=made[0].about)
    unknown, known = read_archive(tmp_path / "bare").truth, read_archive(tmp_path / "known").truth
    for name in ("albedo", "illumination"):
        assert np.isnan(unknown[name]).all() and np.isfinite(known[name]).all()
    assert np.isfinite(unknown["identity"]).all() and np.abs(known["albedo"]).max() > 0.1


def test_a_poor_fit_is_refused_by_the_rule(model):
    from facerecon.detection import FaceFinder

    pixels = cv2.resize(load_image(PORTRAIT).pixels, (240, 240), interpolation=cv2.INTER_AREA)
    with FaceFinder() as finder:
        fit = fit_photo(finder, model, pixels, FitRule(stage="landmarks"))
        assert fit.landmark_nme_percent == pytest.approx(fit_landmarks(model, fit.points).landmark_nme_percent)
        for rule, word in ((FitRule(stage="landmarks", largest_residual=0.99 * fit.landmark_nme_percent), "landmarks"),
                           (FitRule(stage="colours", largest_rmse=0.001), "colours")):
            with pytest.raises(FitError) as error:
                fit_photo(finder, model, pixels, rule)
            assert error.value.code == "fit_failed" and word in str(error.value)


def test_people_are_those_of_one_split(tmp_path, model):
    """Named people go by their name; the unnamed are never tested on."""
    from facerecon.data.shards import write_shard_tar

    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    people = [f"person {i}" for i in range(40)] + [None] * 20
    names = [f"{i:03d}.png" for i in range(len(people))]
    write_shard_tar(tmp_path / "faces-00.tar", [(name, picture) for name in names])
    rows = [{"name": name, "shard": "faces-00.tar", "subject": person} for name, person in zip(names, people)]
    (tmp_path / "faces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    taken = {}
    for split in ("train", "validation", "test"):
        with PhotoSource(PhotoOptions(folder=tmp_path, people=split), {}, model=model) as source:
            taken[split] = {photo.name for photo in source.photos}
            assert source.about["people"] == split
    wanted = {name.removesuffix(".png") for name, person in zip(names, people) if person and split_of(person) == "test"}
    assert taken["test"] == wanted and wanted
    assert sum(map(len, taken.values())) == len(people) == len(set().union(*taken.values()))
    with PhotoSource(PhotoOptions(folder=tmp_path, people="train,validation"), {}, model=model) as source:
        assert {photo.name for photo in source.photos} == taken["train"] | taken["validation"]
    with pytest.raises(DatasetError) as error:
        PhotoSource(PhotoOptions(folder=_unnamed(tmp_path / "unnamed", picture), people="test"), {}, model=model)
    assert error.value.code == "dataset_missing"


@pytest.mark.parametrize("wrong", [{"stage": "best"}, {"people": "friends"}, {"largest_residual": -1.0},
                                   {"largest_rmse": np.nan}, {"every": 0}])
def test_options_are_checked(tmp_path, wrong):
    with pytest.raises(ArgumentError):
        FittedOptions(folder=tmp_path, **wrong)


def _unnamed(folder, picture):
    folder.mkdir()
    (folder / "a.png").write_bytes(picture)
    return folder
