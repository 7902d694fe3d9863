import sys

import pytest

from edgekit.distill.teachers.tasks import training_prompts
from edgekit.distill.teachers.vocabulary import (
    BASE_CONCEPTS,
    COMPOSITIONS,
    EDITS,
    NEW_CONCEPTS,
    all_prompts,
    composed,
    edit_named,
)


@pytest.mark.parametrize("edit", EDITS.values(), ids=lambda edit: edit.name)
def test_every_wording_names_its_own_edit_and_no_other(edit):
    named = {wording: edit_named(wording).edits for wording in (*edit.wordings, edit.short)}

    assert set(named.values()) == {(edit.name,)}, named


def test_every_wording_of_a_composition_names_both_edits_in_acting_order():
    wrong = [
        wording
        for pair in COMPOSITIONS
        for wording in composed(*pair)
        if edit_named(wording).edits != pair
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("prompt", "edits"),
    [
        ("  MAKE IT NIGHT!! ", ("night",)),
        ("Please, make it a Water-Colour painting.", ("watercolor",)),
        ("turn this photo into an X-ray", ("x-ray",)),
        ("make it snowy, at night", ("snow", "night")),
        ("make it night and snowy", ("snow", "night")),
        ("bathe it in golden light", ("golden hour",)),
    ],
)
def test_case_punctuation_and_spelling_do_not_matter(prompt, edits):
    assert edit_named(prompt).edits == edits


@pytest.mark.parametrize(
    "prompt", ["", "a very red fox", "knight", "snowdrop", "boil it", "rainbow"]
)
def test_a_word_that_only_contains_a_name_is_not_that_edit(prompt):
    named = edit_named(prompt)

    assert named.edits == ()
    assert len(named.known) == len(EDITS)


def test_what_a_failed_prompt_suggests_is_itself_understood():
    suggestions = edit_named("a very red fox").known

    assert [edit_named(prompt).edits for prompt in suggestions] == [(name,) for name in EDITS]


@pytest.mark.parametrize(
    ("prompt", "strength"),
    [
        ("slightly make it night", "slight"),
        ("make it a little foggy", "slight"),
        ("make it very snowy", "strong"),
        ("make it snowy", "plain"),
    ],
)
def test_a_strength_word_is_heard(prompt, strength):
    assert edit_named(prompt).strength == strength


def test_there_are_enough_edits_and_the_new_concepts_are_new_to_the_base():
    base = {edit_named(prompt).edits for prompt in BASE_CONCEPTS}
    new = {edit_named(prompt).edits for prompt in NEW_CONCEPTS}

    assert len(EDITS) >= 24
    assert len(base) == len(BASE_CONCEPTS) >= 14
    assert len(new) >= 10
    assert base.isdisjoint(new)


def test_every_concept_of_both_lists_is_a_prompt_that_the_teacher_was_trained_on():
    trained = set(all_prompts())

    assert set(BASE_CONCEPTS + NEW_CONCEPTS) <= trained
    assert trained <= set(training_prompts())


def test_the_empty_prompt_comes_first_so_that_text_can_be_dropped():
    assert training_prompts()[0] == ""


def test_words_alone_load_no_tensor_library():
    import subprocess

    code = (
        "import sys, edgekit.distill.teachers.vocabulary; "
        "print([name for name in ('torch', 'numpy', 'diffusers') if name in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "[]"
