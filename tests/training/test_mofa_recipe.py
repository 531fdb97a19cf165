"""The recipes of self-supervised training: the thesis' values, additions off, words that are refused."""

from __future__ import annotations

import dataclasses

import pytest

from facerecon.errors import ArgumentError
from facerecon.mofa import MofaTerms
from facerecon.training import load_recipe, recipe_names

NAMES = ("mofa-thesis", "mofa-pncc-thesis", "mofa-cpu-128", "mofa-pncc-cpu-128", "mofa-smoke")


def test_they_are_listed():
    assert set(NAMES) <= set(recipe_names()) and all(load_recipe(name).task == "mofa" for name in NAMES)


@pytest.mark.parametrize("name", ["mofa-thesis", "mofa-pncc-thesis"])
def test_the_values_of_the_thesis(name):
    recipe = load_recipe(name)
    assert (recipe.depth, recipe.image_size, recipe.batch_size) == (50, 224, 128)
    assert (recipe.epochs, recipe.learning_rate) == (200, 4e-5)
    assert recipe.terms == MofaTerms() and recipe.schedule == "constant" and not recipe.warmup
    assert not (recipe.terms.perceptual or recipe.terms.albedo_symmetry or recipe.terms.parameters or recipe.terms.vertices)
    # 200 passes over the 200,000 photos of CelebA.
    assert recipe.total_steps(200_000, 200_000) == 312_500
    assert recipe.batch_size % recipe.micro_batch == 0


def test_rows_of_the_table_differ_in_the_code_alone():
    for plain, coded in (("mofa-thesis", "mofa-pncc-thesis"), ("mofa-cpu-128", "mofa-pncc-cpu-128")):
        with_code = dataclasses.replace(load_recipe(coded), name=plain, reproduces=load_recipe(plain).reproduces)
        assert with_code.pncc and dataclasses.replace(with_code, pncc=False) == load_recipe(plain)


def test_words_reach_the_terms_and_counts():
    recipe = load_recipe("mofa-smoke", ["terms.parameters=0.5", "terms.skin_only=true", "counts=80,64,80", "camera=perspective",
                                        "terms.parameters=0", "corruption.occlude=0.3"])
    assert recipe.counts == (80, 64, 80) and recipe.terms.skin_only and recipe.corruption.occlude == 0.3
    assert load_recipe("mofa-smoke", ["counts=none"]).counts is None
    assert load_recipe("mofa-smoke").to_dict()["terms"]["photometric"] == 1.92


@pytest.mark.parametrize(("word", "message"), [
    ("image_size=256", "image_size: wanted one of 128, 224"), ("depth=101", "depth: wanted one of 18, 34, 50"),
    ("term.prior=1", "nearest: terms"), ("terms.priors=1", "nearest: terms.prior"), ("terms.prior=-1", "prior: wanted a number"),
    ("counts=80,64", "counts: wanted 3"), ("codes=maps", "wanted pncc=true"), ("unlabelled=guess", "wanted one"),
    ("terms.perceptual=1", "features: wanted together"), ("features=x", "features: wanted together"),
    ("epochs_rule=root", "epochs_rule: wanted 'constant'"), ("schedule=step", "schedule"), ("learning_rate=-1", "rate")])
def test_wrong_words_are_refused(word, message):
    with pytest.raises(ArgumentError, match=message):
        load_recipe("mofa-smoke", [word])


def test_known_poses_are_scaled_orthographic():
    with pytest.raises(ArgumentError, match="perspective"):
        load_recipe("mofa-smoke", ["camera=perspective", "terms.vertices=1"])
