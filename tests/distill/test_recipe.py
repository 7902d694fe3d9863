"""Recipes: refused at once when they cannot be meant, the same after a trip through a file."""

from __future__ import annotations

import pytest

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.recipe import Recipe, read_recipe, recipe_for


def test_a_recipe_survives_its_file(tmp_path):
    recipe = recipe_for('say "night"', profile="gpu", rank=2, seed=7)
    recipe.write(tmp_path / "recipe.toml")

    again = read_recipe(tmp_path / "recipe.toml")

    assert again == recipe
    assert again.sha256 == recipe.sha256


def test_a_misspelt_key_names_the_nearest_one(tmp_path):
    (tmp_path / "r.toml").write_text('concept = "x"\nrankk = 4\n')

    with pytest.raises(EdgekitError, match="unknown key in the recipe 'rankk'") as caught:
        read_recipe(tmp_path / "r.toml")

    assert "did you mean 'rank'" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"concept": "  "}, "concept is empty"),
        ({"profile": "tpu"}, "unknown profile 'tpu'"),
        ({"arch": "unet"}, "unknown arch 'unet'"),
        ({"init": "basis"}, "unknown init 'basis'"),
        ({"arch": "resnet9"}, "no base for resnet9"),
        ({"size_px": 100}, "size_px = 100"),
        ({"pairs": 3}, "pairs = 3"),
        ({"rank": 0}, "rank = 0"),
        ({"width": 30}, "width = 30"),
        ({"steps": 0}, "steps = 0"),
        ({"l1": -1.0}, "l1 = -1.0"),
        ({"minutes": float("nan")}, "minutes = nan"),
        ({"l1": 0.0, "perceptual": 0.0}, "both 0"),
        ({"name": "../night"}, "name = '../night'"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes, says):
    with pytest.raises(EdgekitError) as caught:
        Recipe(**{"concept": "make it night", **changes})

    assert says in caught.value.what


@pytest.mark.parametrize("line", ["steps = true", 'steps = "many"', "name = 3", "lr = 'x'"])
def test_a_value_of_another_kind_is_refused(tmp_path, line):
    (tmp_path / "r.toml").write_text(f'concept = "x"\n{line}\n')

    with pytest.raises(EdgekitError, match=line.split(" ")[0]):
        read_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize("text", [None, "concept = ", "rank = 4"])
def test_a_file_without_a_recipe_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "r.toml").write_text(text)

    with pytest.raises((BadInput, EdgekitError), match=r"r\.toml"):
        read_recipe(tmp_path / "r.toml")


def test_a_profile_sets_defaults_and_a_value_that_is_given_wins():
    recipe = recipe_for("make it night", profile="gpu", size_px=128)

    assert recipe.size_px == 128
    assert recipe.adversarial > 0
    assert recipe_for("make it night").size_px == 128


def test_what_an_option_says_wins_over_the_file(tmp_path):
    recipe_for("make it night", steps=10).write(tmp_path / "r.toml")

    assert read_recipe(tmp_path / "r.toml", steps=20, rank=None).steps == 20


def test_the_usual_learning_rate_depends_on_what_is_trained():
    rates = [
        recipe_for("x", **kind).lr
        for kind in ({}, {"init": "scratch"}, {"init": "scratch", "arch": "resnet9"})
    ]

    assert len(set(rates)) == 3
