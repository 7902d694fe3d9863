"""``edgekit teacher`` as a user meets it."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.cli.main import run


def edgekit(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def photo(tmp_path) -> Path:
    file = tmp_path / "photo.png"
    pixels = np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def test_info_says_class_size_sampling_and_identity(tiny_teacher, capsys):
    code, said, _ = edgekit(capsys, "teacher", "info", tiny_teacher, "--json")

    facts = json.loads(said)
    assert code == 0
    assert facts["class"] == "StableDiffusionInstructPix2PixPipeline"
    assert facts["sampling"] == {
        "steps": 20, "guidance": 7.5, "image_guidance": 1.5, "batch_size": 4,
    }  # fmt: skip
    assert facts["parameters"] > 10_000
    assert facts["bytes"] > 4 * facts["parameters"]
    assert facts["identity"].startswith(f"{tiny_teacher.name}@")


def test_info_of_any_teacher_reads_for_a_person(tiny_teacher, capsys):
    code, said, _ = edgekit(capsys, "teacher", "info", tiny_teacher)

    assert code == 0
    assert "takes any prompt" in said
    assert "steps 20" in said


def test_sample_writes_before_and_after(tiny_teacher, photo, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("--teacher", tiny_teacher, "--steps", 1, "-o", out)

    code, said, _ = edgekit(
        capsys, "teacher", "sample", photo, "--concept", "make it night", *words
    )

    strip = Path(said.strip())
    assert code == 0
    assert strip == out / "photo-make-it-night.png"
    width, height = Image.open(strip).size
    assert (width - 6) / 2 / height == pytest.approx(70 / 50, rel=0.05)


def test_sample_names_the_bad_photo_and_edits_the_good_one(tiny_teacher, photo, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"x")
    words = ("--teacher", tiny_teacher, "--steps", 1, "-o", tmp_path / "out", "--json")

    code, said, noted = edgekit(capsys, "teacher", "sample", tmp_path, "--concept", "dusk", *words)

    pictures = {Path(row["photo"]).name: row for row in json.loads(said)["pictures"]}
    assert code == 0
    assert "cannot" not in noted.split("bad.png")[0]
    assert "not an image" in pictures["bad.png"]["problem"]
    assert Path(pictures["photo.png"]["out"]).is_file()


def test_sample_without_a_usable_photo_is_bad_input(tiny_teacher, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"x")
    words = ("--teacher", tiny_teacher, "-o", tmp_path / "out")

    code, _, said = edgekit(capsys, "teacher", "sample", tmp_path, "--concept", "dusk", *words)

    assert code == 4
    assert "is not an image" in said


def test_a_setting_of_another_class_is_refused(tiny_teacher, photo, capsys):
    words = ("--teacher", tiny_teacher, "--strength", 0.5)

    code, _, said = edgekit(capsys, "teacher", "sample", photo, "--concept", "dusk", *words)

    assert code == 2
    assert "has no strength" in said


def test_a_hub_id_without_network_says_how_to_get_the_weights(monkeypatch, tmp_path, capsys):
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", refused)
    start = time.monotonic()

    code, _, said = edgekit(capsys, "teacher", "info", "someone/not-a-cached-pipeline")

    assert code == 4
    assert "hf download someone/not-a-cached-pipeline --local-dir DIR" in said
    assert "--teacher DIR" in said
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("command", ["sample", "train"])
def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, photo, command, capsys):
    out = tmp_path / "out"
    words = {
        "sample": (photo, "--concept", "make it night", "-o", out),
        "train": ("--photos", tmp_path, "--out", out, "--device", "cpu"),
    }

    code, said, _ = edgekit(capsys, "teacher", command, *words[command], "--dry-run")

    assert code == 0
    assert json.loads(said)["step"] == f"teacher {command}"
    assert not out.exists()


def test_training_without_photos_is_bad_input(tmp_path, capsys):
    code, _, said = edgekit(
        capsys, "teacher", "train", "--photos", tmp_path / "none", "--out", tmp_path / "out"
    )

    assert code == 4
    assert "does not exist" in said


def test_every_command_says_what_it_does_with_an_example(capsys):
    for command in ("info", "sample", "train"):
        code, said, _ = edgekit(capsys, "teacher", command, "--help")

        assert code == 0
        assert "Example: edgekit teacher" in " ".join(said.split())


def test_the_bundled_teacher_is_described_with_what_it_knows(capsys):
    code, said, _ = edgekit(capsys, "teacher", "info", "--json")

    facts = json.loads(said)
    assert code == 0
    assert facts["name"] == "bundled"
    assert facts["parameters"] <= 11_000_000
    assert "make it night" in facts["concepts"]
    assert facts["card"]["licence"] == "Apache-2.0"


def test_the_bundled_teacher_edits_a_photo_and_refuses_what_it_does_not_know(
    photo, tmp_path, capsys
):
    good = edgekit(capsys, "teacher", "sample", photo, "--concept", "make it night", "-o", tmp_path)
    bad = edgekit(capsys, "teacher", "sample", photo, "--concept", "make it red", "-o", tmp_path)

    strip = np.asarray(Image.open(good[1].strip()))
    assert (good[0], bad[0]) == (0, 4)
    assert strip[:, :60].mean() > 1.5 * strip[:, -60:].mean()
    assert "make it night" in bad[2]


def test_a_toy_teacher_is_trained_described_and_sampled(photo, tmp_path, capsys):
    out = tmp_path / "mine"
    times = ("--autoencoder-seconds", 1, "--editor-seconds", 1, "--resolution", 64)
    words = ("--photos", photo.parent, "--out", out, "--toy", *times, "--device", "cpu", "--json")

    code, said, _ = edgekit(capsys, "teacher", "train", *words)
    _, described, _ = edgekit(capsys, "teacher", "info", out, "--json")

    made, facts = json.loads(said), json.loads(described)
    assert code == 0
    assert made["finished"] is True
    assert made["identity"] == facts["identity"]
    assert facts["class"] == "StableDiffusionInstructPix2PixPipeline"
    assert "make it night" in facts["concepts"]


def test_a_resolution_that_cannot_be_trained_is_a_usage_error(photo, tmp_path, capsys):
    words = ("--photos", photo.parent, "--out", tmp_path / "out", "--resolution", 100)

    code, _, said = edgekit(capsys, "teacher", "train", *words)

    assert code == 2
    assert "multiple of 64" in said


def test_a_plan_for_a_views_teacher_names_its_budget(tmp_path, capsys):
    words = ("--kind", "views", "--toy", "--seconds", 5, "--out", tmp_path / "v", "--dry-run")

    code, said, _ = edgekit(capsys, "teacher", "train", *words, "--json")

    plan = json.loads(said)
    assert code == 0
    assert (plan["kind"], plan["seconds"], plan["resolution"]) == ("views", 5, 24)
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--kind", "views", "--photos", "x"), "is not for --kind views"),
        (("--kind", "judge", "--meshes", "x"), "is not for --kind judge"),
        (("--meshes", "x"), "is not for --kind editor"),
        ((), "name the folder of photos"),
    ],
)
def test_training_refuses_the_options_of_another_kind(tmp_path, capsys, words, says):
    code, _, said = edgekit(capsys, "teacher", "train", "--out", tmp_path / "t", *words)

    assert code == 2
    assert says in said


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--resolution", 36), 2, "choose a multiple of 8"),
        (("--meshes", "nowhere"), 4, "does not exist"),
    ],
)
def test_a_views_teacher_that_cannot_be_made_is_refused(tmp_path, capsys, words, code, says):
    out = ("--kind", "views", "--out", tmp_path / "t")

    found, _, said = edgekit(capsys, "teacher", "train", *out, *words)

    assert found == code
    assert says in said
    assert not (tmp_path / "t").exists()


def test_drawing_needs_a_views_teacher_and_words(tiny_teacher, tmp_path, capsys):
    out = ("-o", tmp_path / "x.png")

    other, _, said = edgekit(capsys, "teacher", "draw", "a fish", "--teacher", tiny_teacher, *out)
    empty, _, _ = edgekit(capsys, "teacher", "draw", " ", "--teacher", tiny_teacher, *out)

    assert other == 4
    assert "views-teacher" in said
    assert empty == 2
    assert not (tmp_path / "x.png").exists()
