"""Weights that ship: what packing costs, what it refuses, what a card says."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.shipped import CODES, PROMPTS, SIZE

from edgekit.core.errors import BadInput, EdgekitError, QualityFailed
from edgekit.core.store import file_sha256
from edgekit.distill import ship as shipping
from edgekit.distill.compact import SCALE, packed, unpacked
from edgekit.distill.identity.student import read_encoder
from edgekit.distill.mesh.student import read_generator
from edgekit.distill.ship import BAR_DB, ship, worst_psnr_db
from edgekit.distill.shipped import read_shipped, write_shipped
from edgekit.export.program import read_student

KEYS = {
    "name",
    "what",
    "licence",
    "form",
    "shape",
    "parameters",
    "sha256",
    "data",
    "training",
    "quality",
    "seed",
    "packing",
    "made_of",
    "intended_use",
    "limits",
    "consent",
    "bytes",
    "files",
}


@pytest.fixture
def runs(shipped_toys) -> Path:
    return shipped_toys / "runs"


@pytest.fixture
def assets(shipped_toys) -> Path:
    return shipped_toys / "assets"


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e3))
def test_no_weight_moves_farther_than_its_channel_allows(seed, size):
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(8, 32, 3, 3, generator=generator) * size

    stored = packed({"layer.weight": value, "layer.bias": value[:, 0, 0, 0]})

    again = unpacked(stored)
    largest = value.flatten(1).abs().amax(1)[:, None, None, None]
    assert stored["layer.weight"].dtype == torch.int8
    assert bool(((again["layer.weight"] - value).abs() <= largest * 0.301).all())
    error = (again["layer.weight"] - value).square().mean() / value.square().mean()
    assert error < 1e-3
    torch.testing.assert_close(again["layer.bias"], value[:, 0, 0, 0], rtol=1e-3, atol=1e-6)


def test_what_16_bits_would_change_stays_in_32_and_counters_are_left_out():
    state = {"norm.running_var": torch.tensor([1e-9, 1.0]), "norm.batches": torch.tensor(3)}

    stored = packed(state)

    assert list(stored) == ["norm.running_var"]
    assert torch.equal(unpacked(stored)["norm.running_var"], state["norm.running_var"])


def test_weights_that_are_no_numbers_or_have_no_scale_are_refused():
    with pytest.raises(ValueError, match="no numbers"):
        packed({"weight": torch.full((2, 2), torch.nan)})
    with pytest.raises(ValueError, match="no scale"):
        unpacked({"weight": torch.zeros(2, 2, dtype=torch.int8)})


@pytest.mark.parametrize("name", ["identity", "restorer", "things"])
def test_a_card_says_what_it_is_of_what_and_for_whom(assets, name):
    card = json.loads((assets / name / "card.json").read_text())

    assert KEYS - set(card) == set()
    assert card["packing"]["psnr_db"] >= BAR_DB
    assert card["sha256"] == file_sha256(assets / name / "weights.safetensors")
    assert card["training"]["device"]
    assert all(card["limits"])
    if name != "things":
        assert card["samples"]["what"] == "rendered people"
        assert card["data"]["licences"]["faces"].startswith("CC0")
        assert "agreed" in card["consent"]


def test_a_card_repeats_recipe_and_scores_of_its_run(assets):
    card = json.loads((assets / "restorer/card.json").read_text())
    encoder = json.loads((assets / "identity/card.json").read_text())

    assert card["training"]["recipe"]["minutes"] == 2.0
    assert encoder["quality"]["identity"]["threshold"] == -0.9
    assert card["encoder_sha256"] == encoder["sha256"]


def test_matrices_take_a_byte_a_weight(assets):
    stored = load_file(assets / "identity/weights.safetensors")

    eight = sum(v.numel() for v in stored.values() if v.dtype == torch.int8)
    every = sum(v.numel() for name, v in stored.items() if not name.endswith(SCALE))
    assert eight > 0.9 * every
    assert (assets / "identity/weights.safetensors").stat().st_size < 1.2 * every


def test_unpacked_students_are_those_of_the_run_within_the_bar(assets, runs, tmp_path):
    encoder, things = (read_shipped(assets / name) for name in ("identity", "things"))
    manifest = write_shipped(encoder, tmp_path / "identity")
    write_shipped(things, tmp_path / "things")

    mine, _ = read_encoder(tmp_path / "identity")
    theirs, _ = read_encoder(runs / "identity")
    faces = torch.rand(2, 3, 32, 32) * 2 - 1
    checks = ([(faces[:1], torch.zeros(1, *CODES.state))], (2.0, 8.0))
    generator, prompts, _ = read_generator(tmp_path / "things")
    assert worst_psnr_db(theirs, mine, checks) >= BAR_DB
    assert manifest["quality"] == {"identity": {"threshold": -0.9, "equal_error": 0.25}}
    assert prompts == PROMPTS
    assert not generator.training


def test_a_shipped_student_has_one_name_on_every_machine(assets, tmp_path):
    encoder, restorer = (read_shipped(assets / name) for name in ("identity", "restorer"))
    write_shipped(restorer, tmp_path / "one", encoder=encoder)
    program = tmp_path / "one/identity/student.pt2"
    program.write_bytes(program.read_bytes() + b"another torch")

    student, part = read_student(tmp_path / "one"), read_student(tmp_path / "one/identity")

    assert part.sha256 == encoder.card["sha256"]
    assert student.facts["references"]["encoder_sha256"] == part.sha256
    assert student.facts["size_px"] == SIZE
    with np.load(tmp_path / "one/calibration.npz") as samples:
        assert samples["image"].shape == (8, SIZE, SIZE, 3)
        assert samples["code"].shape == (8, 32, 256)


def test_a_restorer_alone_needs_no_encoder_and_answers_as_for_nobody(runs, tmp_path):
    card = ship(
        "restorer", runs / "portraits", tmp_path / "restorer", faces=runs / "faces", alone=True
    )
    shipped = read_shipped(tmp_path / "restorer")
    write_shipped(shipped, tmp_path / "run")

    student = read_student(tmp_path / "run")
    program = torch.export.load(tmp_path / "run/student.pt2").module()
    image = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        wanted = shipped.network(image, torch.zeros(1, 32, 256))
        torch.testing.assert_close(program(image), wanted, rtol=0, atol=1e-4)
    assert [port.name for port in student.inputs] == ["image"]
    assert student.facts["parts"] == {}
    assert {"student", "source"} <= set(card["quality"])
    assert "encoder_sha256" not in card
    assert not (tmp_path / "restorer/codes.safetensors").exists()
    assert "code" not in card["what"]


def test_an_encoder_whose_codes_are_all_alike_is_refused(runs, tmp_path):
    shutil.copytree(runs / "identity", tmp_path / "run")
    manifest = tmp_path / "run/manifest.json"
    manifest.write_text(manifest.read_text().replace('"equal_error": 0.25', '"equal_error": 0.44'))

    with pytest.raises(QualityFailed, match=r"wrong about 44.0% of pairs"):
        ship("identity", tmp_path / "run", tmp_path / "identity", faces=runs / "faces")

    assert not (tmp_path / "identity").exists()


def test_a_pack_below_the_bar_is_refused_and_what_was_there_stays(runs, assets, tmp_path):
    shutil.copytree(assets / "things", tmp_path / "things")

    with pytest.raises(QualityFailed, match="500 dB are asked for"):
        ship("things", runs / "things", tmp_path / "things", bar_db=500.0)

    assert [path.name for path in tmp_path.iterdir()] == ["things"]
    assert read_shipped(tmp_path / "things").card["packing"]["bar_db"] == BAR_DB


def test_layers_that_cost_too_much_stay_in_16_bits(runs, assets, tmp_path):
    before = json.loads((assets / "things/card.json").read_text())["packing"]["psnr_db"]

    card = ship("things", runs / "things", tmp_path / "things", bar_db=before + 2)

    assert card["packing"]["psnr_db"] >= before + 2
    assert card["packing"]["in_16_bits"]


def test_what_takes_too_many_bytes_is_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "MOST_BYTES", {"things": 1000})

    with pytest.raises(QualityFailed, match="are allowed"):
        ship("things", runs / "things", tmp_path / "things")

    assert list(tmp_path.iterdir()) == []


def test_a_restorer_of_another_encoder_and_missing_portraits_are_refused(runs, assets, tmp_path):
    shutil.copytree(assets / "identity", tmp_path / "identity")
    card = tmp_path / "identity/card.json"
    card.write_text(card.read_text().replace('"student_sha256": "', '"student_sha256": "f'))
    place = {"faces": runs / "faces", "identity": tmp_path / "identity"}

    with pytest.raises(BadInput, match="codes of another encoder"):
        ship("restorer", runs / "portraits", tmp_path / "restorer", **place)
    with pytest.raises(EdgekitError, match="rendered people"):
        ship("identity", runs / "identity", tmp_path / "again")
    shutil.copytree(runs / "portraits/phone", tmp_path / "changed")
    (tmp_path / "changed/weights.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match="does not hold the restorer"):
        ship("restorer", tmp_path / "changed", tmp_path / "restorer", **place)
    with pytest.raises(BadInput, match="no restorer for phones"):
        ship("restorer", runs / "things", tmp_path / "restorer", **place)


def test_an_asset_that_was_changed_is_not_read(assets, tmp_path):
    shutil.copytree(assets / "things", tmp_path / "things")
    weights = tmp_path / "things/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"0")

    with pytest.raises(BadInput, match="not the file of its card"):
        read_shipped(tmp_path / "things")
