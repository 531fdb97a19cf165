"""Recipes are read strictly, and those of the package hold what the papers say."""

from __future__ import annotations

import dataclasses

import pytest

from facerecon.errors import ArgumentError, PathError
from facerecon.training import load_recipe, recipe_names
from facerecon.training.mofa_recipe import MofaRecipe
from facerecon.training.recipe import AutoencoderRecipe, LandmarkRecipe, PnccRecipe

GMDA = "landmarks-gmda-r"


def test_every_recipe_loads_and_says_what_it_reproduces():
    kinds = set()
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name and len(recipe.reproduces) > 20 and recipe.total_steps(10, 100) >= 1
        assert "no table" in recipe.reproduces or "ection" in recipe.reproduces
        kinds.add(type(recipe))
    assert kinds == {AutoencoderRecipe, LandmarkRecipe, PnccRecipe, MofaRecipe} and len(recipe_names()) >= 12


@pytest.mark.parametrize(("name", "values"), [
    ("autoencoder-3fabrec-128", {"image_size": 128, "batch_size": 100, "epochs": 50, "learning_rate": 2e-5, "beta1": 0,
                                 "reconstruction_weight": 1, "structural_weight": 60, "latent_weight": 1, "adversarial_weight": 1,
                                 "latent_size": 99, "schedule": "constant"}),
    ("autoencoder-3fabrec-256", {"image_size": 256, "batch_size": 50, "epochs": 50, "learning_rate": 2e-5, "beta1": 0}),
    ("landmarks-3fabrec", {"layers": 4, "skips": False, "first_stage_learning_rate": 1e-3, "learning_rate": 1e-4,
                           "encoder_learning_rate": 2e-5, "beta1": 0.9, "sigma": 7, "image_size": 256}),
    ("landmarks-scaf", {"layers": 4, "skips": True, "first_stage": 0, "learning_rate": 1e-3, "encoder_learning_rate": 2e-5,
                        "beta1": 0.9, "sigma": 7}),
    (GMDA, {"layers": 5, "skips": True, "kind": "hybrid", "batch_size": 8, "learning_rate": 4e-4, "encoder_learning_rate": 2e-5,
            "epochs": 300, "epochs_rule": "root", "decoding": "argmax"}),
    ("pncc-gmda-r", {"layers": 5, "skips": True, "kind": "original", "batch_size": 8, "learning_rate": 4e-4,
                     "encoder_learning_rate": 2e-5, "image_size": 256}),
])
def test_the_values_of_the_papers(name, values):
    recipe = load_recipe(name)
    assert {key: getattr(recipe, key) for key in values} == values


def test_augmentations_of_the_papers():
    autoencoder = load_recipe("autoencoder-3fabrec-128").augmentation
    assert (autoencoder.flip, autoencoder.translate, autoencoder.scale, autoencoder.rotate_deg) == (0.5, 0.04, (0.94, 1.03), 45)
    landmarks = load_recipe("landmarks-3fabrec").augmentation
    assert (landmarks.flip, landmarks.translate, landmarks.scale, landmarks.rotate_deg) == (0.5, 0.04, (0.95, 1.05), 30)
    assert landmarks.occlude and load_recipe(GMDA).augmentation.blur and not load_recipe("pncc-gmda-r").augmentation.flip


def test_the_number_of_steps():
    recipe = load_recipe(GMDA)
    # 300 sqrt(400 / 100) epochs of 100 samples in batches of 8.
    assert recipe.total_steps(100, 400) == 7500
    assert dataclasses.replace(recipe, epochs_rule="constant").total_steps(100, 400) == 3750
    assert dataclasses.replace(recipe, steps=12).total_steps(100, 400) == 12


def test_words_change_keys_by_their_type():
    recipe = load_recipe(GMDA, ["kind=original", "skips=false", "epochs=3", "batch_size=16", "augmentation.scale=0.9,1.1",
                                "augmentation.flip=0", "first_stage_learning_rate=0.01"])
    assert (recipe.kind, recipe.skips, recipe.epochs, recipe.batch_size) == ("original", False, 3.0, 16)
    assert recipe.augmentation.scale == (0.9, 1.1) and recipe.augmentation.flip == 0 and recipe.augmentation.blur > 0
    assert recipe.first_stage_learning_rate == 0.01
    assert load_recipe("landmarks-3fabrec", ["first_stage_learning_rate=none"]).first_stage_learning_rate is None


def test_lists_of_any_length():
    assert load_recipe("autoencoder-smoke", ["structural_scales=1,2,4"]).structural_scales == (1, 2, 4)
    for word in ("structural_scales=", "structural_scales=1,x"):
        with pytest.raises(ArgumentError, match="structural_scales"):
            load_recipe("autoencoder-smoke", [word])


@pytest.mark.parametrize(("word", "message"), [
    ("kinds=original", "unknown 'kinds'; nearest: kind"),
    ("batchsize=3", "nearest: batch_size"),
    ("augmentation.rotate=3", "nearest: augmentation.rotate_deg"),
    ("zzz=1", "wanted one of augmentation, batch_size"),
    ("skips=1", "skips: wanted true or false, got '1'"),
    ("batch_size=2.5", "batch_size: wanted an integer"),
    ("learning_rate=nan", "learning_rate: wanted a finite number"),
    ("augmentation.scale=1", "wanted 2 numbers"),
    ("augmentation=1", "augmentation: wanted keys of it"),
    ("batch_size.x=1", "batch_size has no keys"),
    ("batch_size", "wanted key=value"),
    ("batch_size=0", "batch_size: wanted a number from 1"),
    ("steps=-1", "steps: wanted a number from 0"),
    ("epochs=0", "wanted steps or epochs"),
    ("layers=6", "layers: wanted one of 4, 5"),
    ("task=pncc", "unknown 'task'"),
    ("augmentation.flip=2", "flip: wanted a number from 0"),
])
def test_wrong_words_are_refused(word, message):
    with pytest.raises(ArgumentError, match=message):
        load_recipe(GMDA, [word])


def test_pncc_refuses_to_mirror():
    with pytest.raises(ArgumentError, match="augmentation.flip: wanted 0"):
        load_recipe("pncc-smoke", ["augmentation.flip=0.5"])


def test_own_files_and_wrong_files(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('task = "landmarks"\nsteps = 3\nimage_size = 128\n[augmentation]\nscale = [1, 1.2]\n')
    recipe = load_recipe(path)
    assert (recipe.name, recipe.steps, recipe.augmentation.scale) == ("mine", 3, (1.0, 1.2))
    for text, message in (('task = "landmark"', "wanted task = one of"), ("task = ", "wanted TOML"),
                          ('task = "pncc"\nsteps = "3"', "steps: wanted an integer"), ('task = "pncc"\nstep = 3', "unknown 'step'")):
        path.write_text(text)
        with pytest.raises(ArgumentError, match=message):
            load_recipe(path)
    with pytest.raises(PathError):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(ArgumentError, match="nearest: landmarks-gmda-r"):
        load_recipe("landmark-gmda")
