"""The base's training, at toy size: real teacher classes, real photos of noise, a real card."""

from __future__ import annotations

import pytest
import torch
from tests.students import smooth_photos

from edgekit.core.images import save_photo
from edgekit.distill.base import load_base
from edgekit.distill.base_pairs import BaseSettings
from edgekit.distill.fit_base import fit_base
from edgekit.distill.students.shape import Shape
from edgekit.distill.students.text_context import text_context
from edgekit.distill.teachers.networks import (
    Size,
    new_autoencoder,
    new_text_encoder,
    new_tokenizer,
    new_unet,
    save_teacher,
)

CONCEPTS = ("make it night", "make it foggy")
SETTINGS = BaseSettings(
    concepts=CONCEPTS,
    seconds=1.5,
    sizes_px=(64, 32),
    pairs=4,
    batches=(2, 4),
    crops=6,
    heldout=2,
    shape=Shape(width=16),
    discriminator_width=4,
    teacher_steps=1,
    teacher_batch=4,
    compile=False,
)
TOY = Size(
    autoencoder=8,
    encoder_blocks=(1, 1, 1, 1),
    decoder_blocks=(1, 1, 1, 1),
    unet=(8, 16),
    text=16,
    text_layers=1,
    heads=2,
    groups=4,
    vocabulary=600,
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "words").mkdir()
    tokenizer = new_tokenizer(CONCEPTS, TOY, folder / "words")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_teacher(
            folder / "toy",
            autoencoder=new_autoencoder(TOY),
            unet=new_unet(TOY),
            text_encoder=new_text_encoder(TOY, len(tokenizer)),
            tokenizer_folder=folder / "words",
        )
    return folder / "toy"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(smooth_photos(8, 80)):
        split = "test" if number < 2 else "train"
        save_photo(photo, folder / split / "noise" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(teacher, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("base")
    return out, fit_base(SETTINGS, photos=photos, out=out, teacher=teacher)


def test_the_card_measures_every_concept_beside_the_untouched_source(trained):
    _, card = trained

    assert tuple(card["quality"]) == CONCEPTS
    for sizes in card["quality"].values():
        assert sizes.keys() == {"64px", "32px"}
        assert sizes["64px"]["samples"] == 2
        assert sizes["64px"]["source"]["l1"] > 0
    assert card["steps"] > 2
    assert card["data"]["crops"] == {"noise": 6}


def test_the_written_base_loads_and_tells_its_concepts_apart(trained, teacher):
    out, card = trained
    base = load_base(out, teacher=teacher)
    photo = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1

    with torch.no_grad():
        night, fog = (
            base.generator(photo, text_context(concept, teacher)[None]) for concept in CONCEPTS
        )

    assert base.sha256 == card["sha256"]
    assert not torch.equal(night, fog)


def test_progress_and_pictures_are_left_to_look_at(trained):
    out, _ = trained

    assert (out / "preview.png").stat().st_size > 1000
    assert "measured" in (out / "log.jsonl").read_text()
