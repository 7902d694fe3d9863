"""Ranks of groups: read, written, refused."""

from __future__ import annotations

import pytest

from edgekit.core.errors import EdgekitError
from edgekit.distill.ranks import GROUPS, as_ranks, ranks_as_text, ranks_of_text
from edgekit.distill.recipe import recipe_for
from edgekit.distill.students.gan import GROUP_OF


def test_one_number_is_the_rank_of_every_group():
    assert as_ranks(4) == dict.fromkeys(GROUPS, 4)


def test_text_and_ranks_are_two_forms_of_one_value():
    ranks = as_ranks({"ds": 8, "up": 2})

    assert ranks_of_text(ranks_as_text(ranks)) == ranks


@pytest.mark.parametrize("text", ["", "ds", "ds=", "ds=-1", "ds=65", "dss=4", "ds=0,up=0", "4"])
def test_other_text_is_refused(text):
    with pytest.raises(EdgekitError):
        ranks_of_text(text)


def test_a_recipe_with_ranks_uses_them_and_one_without_uses_its_rank():
    assert recipe_for("night", ranks="up=2").adapter_ranks == as_ranks({"up": 2})
    assert recipe_for("night", rank=3).adapter_ranks == as_ranks(3)


def test_every_part_of_the_generator_that_adapts_is_in_a_known_group():
    assert set(GROUP_OF.values()) == set(GROUPS)
