"""The bundle of a restorer in use: by the command line, and in a real browser as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests import needs
from tests.runtime.test_web_app import browser_tools, installed_libraries
from tests.students import smooth_photos
from torch import nn

from edgekit.cli.main import run
from edgekit.core.images import load_photo, resized
from edgekit.core.seams import Port
from edgekit.distill.program import StudentFacts, write_ported
from edgekit.export.bundle import export_student
from edgekit.runtime.apps.web import build_site, server, sources
from edgekit.runtime.bundle import open_bundle
from edgekit.runtime.paste import pasted
from edgekit.runtime.restore import enroller_of, nobody, restored
from edgekit.runtime.sessions import open_session

pytestmark = [needs.FACES, pytest.mark.xdist_group("web")]  # one browser, not one a worker
SIDE, PLACES, PHOTO_PX = 32, 2, 320


class Checked(nn.Module):
    """Draws squares on the face, the more of them the brighter the references are."""

    def __init__(self) -> None:
        super().__init__()
        board = torch.arange(SIDE).div(4, rounding_mode="floor") % 2
        self.board = nn.Buffer((board[:, None] ^ board).float() - 0.5)

    def forward(
        self, image: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        held = memory[:, 0].reshape(1, PLACES, 4, 3).mean((2, 3)) * mask
        strength = 0.3 + (held * torch.tensor([[0.3, 0.15]])).sum() + 0.1 * mask.sum()
        return (image + self.board * strength).clamp(-1, 1)


class Seen(nn.Module):
    """Remembers the light in the four quarters of a reference."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        quarters = torch.nn.functional.avg_pool2d(image, SIDE // 2).reshape(1, 3, 4)
        return quarters.transpose(1, 2)[:, None].repeat(1, 2, 1, 1)


def memory(tokens: int) -> Port:
    return Port("memory_2", (1, 2, tokens, 3), layout="flat", low=-1.0, high=1.0)


@pytest.fixture(scope="module")
def restorer(tmp_path_factory) -> Path:
    """The bundle of a restorer with its enroller inside; both do what can be seen."""
    folder = tmp_path_factory.mktemp("restorer")
    image, faces = Port("image", (1, 3, SIDE, SIDE)), smooth_photos(4, SIDE)
    mask = Port("reference_mask", (1, PLACES), layout="flat", low=0.0, high=1.0)
    held = np.random.default_rng(0).uniform(-1, 1, (4, 2, 4 * PLACES, 3)).astype(np.float32)
    given = {"image": faces, "memory_2": held, "reference_mask": np.ones((4, 2), np.float32)}
    write_ported(
        folder / "run/enroller",
        Seen(),
        inputs=[image],
        outputs=[memory(4)],
        calibration={"image": faces},
        heldout={"image": faces},
        facts=StudentFacts(name="enroller", form="enroller", recipe_sha256="0" * 64),
    )
    write_ported(
        folder / "run",
        Checked(),
        inputs=[image, memory(4 * PLACES), mask],
        outputs=[Port("image_out", (1, 3, SIDE, SIDE))],
        calibration=given,
        heldout=given,
        facts=StudentFacts(
            name="portraits",
            form="restorer",
            recipe_sha256="0" * 64,
            parts={"enroller": "enroller"},
        ),
    )
    export_student(
        folder / "run",
        ["onnx"],
        folder / "bundle",
        open_session=open_session,
        precisions=["fp32", "fp16"],
        isolated=False,
    )
    return folder / "bundle"


@pytest.fixture(scope="module")
def photos() -> dict[str, np.ndarray]:
    """A photo with a face, two others of the same person, one with two faces, one of nobody."""
    from skimage import data

    whole = resized(np.ascontiguousarray(data.astronaut()), PHOTO_PX, PHOTO_PX)
    good = np.ascontiguousarray(whole[:, ::-1])
    bright = np.clip(whole[:220, 40:260].astype(int) + 40, 0, 255).astype(np.uint8)
    small = resized(good, 160, 160)
    both = np.concatenate([whole, np.full((PHOTO_PX, 160, 3), 90, np.uint8)], 1)
    both[60:220, PHOTO_PX:] = small
    made = {"photo": whole, "good": good, "other": bright, "both": both}
    return {**made, "empty": np.full_like(whole, 90)}


@pytest.fixture(scope="module")
def seen(restorer, photos, toy_bundle, tmp_path_factory) -> dict[str, Any]:
    """What a browser saw: see web_demo/test/portrait.mjs."""
    chromium, modules = browser_tools()
    folder = tmp_path_factory.mktemp("browser")
    for name, photo in photos.items():
        Image.fromarray(photo).save(folder / f"{name}.png")
    site = build_site(
        [restorer, toy_bundle],
        folder / "site",
        engines=["tflite", "onnx"],
        cache=installed_libraries(),
    )
    assert site.finds_faces
    running = server(site.folder)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_address[1]}/"
    done = subprocess.run(
        ["node", str(sources() / "test" / "portrait.mjs"), url, str(folder)],
        env={**os.environ, "EDGEKIT_NODE_MODULES": str(modules), "EDGEKIT_CHROMIUM": chromium},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    running.shutdown()
    running.server_close()
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, Any] = json.loads(done.stdout)
    facts.update(url=url, folder=folder)
    return facts


def edgekit(*words: object) -> int:
    return run([str(word) for word in words])


@pytest.fixture
def files(photos, tmp_path) -> Path:
    for name, photo in photos.items():
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    return tmp_path


def test_the_command_puts_the_face_back_and_leaves_the_rest(restorer, files, photos):
    references = ["--reference", files / "good.png", "--reference", files / "other.png"]
    line = ["restore", files / "photo.png", "--run", restorer, "--largest", "-q"]

    assert edgekit(*line, *references, "--memory", files / "me.npz", "-o", files / "new.png") == 0

    made = load_photo(files / "new.png")
    changed = (made != photos["photo"]).any(2)
    assert made.shape == photos["photo"].shape
    assert 0.05 < changed.mean() < 0.4
    assert edgekit(*line, "--memory", files / "me.npz", "-o", files / "again.png") == 0
    assert difference(load_photo(files / "again.png"), made) < 0.05
    assert edgekit(*line, "--crop", "-o", files / "crop.png") == 0
    assert load_photo(files / "crop.png").shape == (SIDE, SIDE, 3)


def test_without_references_every_face_is_restored_and_with_largest_one(
    restorer, photos, tmp_path, capsys
):
    """On the right another, smaller face; in the corner one too small to be a face."""
    wide = np.full((PHOTO_PX, 2 * PHOTO_PX, 3), 90, np.uint8)
    wide[:, :PHOTO_PX] = photos["photo"]
    wide[40:280, 360:600] = resized(photos["good"], 240, 240)
    wide[:40, 600:] = resized(photos["photo"], 40, 40)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    line = ["restore", tmp_path / "wide.png", "--run", restorer, "--json", "-o"]

    assert edgekit(*line, tmp_path / "all.png") == 0

    said = capsys.readouterr()
    assert json.loads(said.out)["faces"] == 2
    changed = (load_photo(tmp_path / "all.png") != wide).any(2)
    left, right = changed[:, :PHOTO_PX].mean(), changed[:, PHOTO_PX:].mean()
    assert min(left, right) > 0.02
    assert edgekit(*line, tmp_path / "one.png", "--largest") == 0
    assert not (load_photo(tmp_path / "one.png") != wide)[:, PHOTO_PX:].any()
    assert edgekit(*line, tmp_path / "none.png", "--reference", tmp_path / "wide.png") == 4
    assert "2 faces are in the photo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("photo", "words", "status", "sentence"),
    [
        ("empty", [], 4, "empty.png: no face was found"),
        ("photo", ["--code", "me.code"], 4, "me.code does not exist"),
        ("photo", ["--reference", "nowhere.png"], 4, "nowhere.png does not exist"),
        ("photo", ["--code", "me.code", "--memory", "me.npz"], 2, "exclude each other"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    restorer, files, capsys, monkeypatch, photo, words, status, sentence
):
    monkeypatch.chdir(files)

    assert edgekit("restore", f"{photo}.png", "--run", restorer, "-o", "new.png", *words) == status

    assert sentence in capsys.readouterr().err
    assert not (files / "new.png").exists()


def test_an_editor_of_photos_is_no_restorer(toy_bundle, files, capsys):
    status = edgekit("restore", files / "photo.png", "--run", toy_bundle, "-o", files / "new.png")

    assert status == 7
    assert "no restorer but of the form 'concept'" in capsys.readouterr().err


def test_a_site_without_litert_says_that_faces_are_marked_by_hand(restorer, tmp_path, capsys):
    installed_libraries()

    assert edgekit("app", restorer, "--engine", "onnx", "--out", tmp_path / "site") == 0

    assert "faces are marked by hand there" in capsys.readouterr().err
    assert json.loads((tmp_path / "site/site.json").read_text())["nets"] == []
    assert (tmp_path / "site/bundles/portraits/enroller/manifest.json").is_file()


def picture(values: list[int], side: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(side, side, 4)[..., :3]


def difference(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - two).mean())


def test_faces_are_found_where_python_finds_them(seen, photos):
    from edgekit.distill.faces.detect import found_faces

    (face,) = found_faces(photos["photo"])

    points = np.array(seen["alone"]["face"]) * PHOTO_PX
    assert np.abs(points - face.five).max() < 0.05
    assert seen["alone"]["face"] == seen["known"]["face"]


def test_every_face_of_a_photo_is_restored_and_shown_one_after_the_other(seen, photos):
    from edgekit.distill.faces.detect import found_faces

    whole = photos["both"]
    height, width = whole.shape[:2]

    made = np.array(seen["both"]["after"], np.uint8).reshape(height, width, 4)[..., :3]

    changed = (made != whole).any(2)
    wanted = found_faces(whole)
    assert len(wanted) == len(seen["both"]["faces"]) == 2
    for face, points in zip(wanted, seen["both"]["faces"], strict=True):
        assert np.abs(np.array(points) * (width, height) - face.five).max() < 0.05
        x, y = face.five.mean(0).astype(int)
        assert changed[y - 15 : y + 15, x - 15 : x + 15].mean() > 0.5
    assert "Restoring face 2 of 2." in seen["both"]["said"]
    assert seen["both"]["said"][-1].startswith("2 faces restored. The good photos are used for")
    assert "2 faces, " in seen["both"]["told"]
    (first, *one), (second, *other), (third, *all_of_it) = seen["both"]["closeUp"]
    assert (first, second, third) == ("Face 1 of 2.", "Face 2 of 2.", "The whole photo.")
    assert one != other
    assert all_of_it[0] == "matrix(1, 0, 0, 1, 0, 0)"


def test_a_photo_is_restored_as_the_runtime_does_it(seen, restorer, photos):
    from edgekit.distill.faces.align import Bars, aligned

    bundle = open_bundle(restorer, threads=1)
    enroller = enroller_of(bundle)
    faces = {
        name: aligned(photos[name], SIDE, Bars(largest=True)) for name in ("photo", "good", "other")
    }
    face, references = faces["photo"], [faces[name].photo for name in ("good", "other")]
    assert face.matrix is not None
    for facts, known in (
        (seen["alone"], nobody(bundle)),
        (seen["known"], enroller.known(references)),
    ):
        wanted = pasted(
            photos["photo"], face.photo, restored(bundle, face.photo, known), face.matrix
        )
        made = picture(facts["after"], PHOTO_PX)
        inside = (wanted != photos["photo"]).any(2)
        apart = difference(wanted[inside], photos["photo"][inside])
        assert apart > 10
        assert difference(made[inside], wanted[inside]) < 0.05
        assert np.abs(made.astype(int) - wanted).max() <= 2
        assert (made[~inside] == photos["photo"][~inside]).mean() > 0.999
    alone, known = (picture(seen[name]["after"], PHOTO_PX) for name in ("alone", "known"))
    assert difference(alone, known) > 0.2


def test_references_are_shown_counted_and_limited(seen):
    assert seen["enrolled"] == seen["enrolledAgain"] == "2"
    assert seen["thumbnails"] == ["Reference 1", "Reference 2"]
    assert "room for 2 references" in seen["full"]


def test_the_sample_is_a_face_of_the_bundle(seen, restorer):
    with np.load(restorer / "golden/vectors.npz") as golden:
        before, after = (golden[name][0] for name in ("image", "image_out"))

    for name, wanted in (("before", before), ("after", after)):
        levels = (wanted.transpose(1, 2, 0) + 1) * 127.5
        assert np.abs(picture(seen["sample"][name], SIDE) - levels).max() <= 1.01


def test_the_face_is_marked_by_hand_where_none_is_found(seen):
    right, left, mouth = seen["marked"]

    assert [words.partition(":")[0] for words in seen["marks"]] == [
        "Eye on the left of the picture",
        "Eye on the right of the picture",
        "Middle of the mouth",
    ]
    assert right[0] == pytest.approx(seen["known"]["face"][0][0] - 0.005, abs=1e-3)
    assert right[0] < mouth[0] < left[0]
    assert "mark the eyes and the mouth by hand" in seen["none"]
    assert seen["mayMark"]


def test_the_face_is_seen_close_up_with_the_divider_where_it_was(seen):
    before, near, back = seen["closeUp"]

    assert before == back
    assert before[0] == "matrix(1, 0, 0, 1, 0, 0)"
    assert float(near[0].split("(")[1].split(",")[0]) > 1.5
    assert near[1] != before[1]


def test_the_screen_belongs_to_restorers_and_asks_nobody_else(seen):
    others = [u for u in seen["requests"] if not u.startswith((seen["url"], "blob:", "data:"))]

    assert seen["shown"] == [True, False]
    assert seen["editor"] == "after"
    assert others == []
    assert seen["errors"] == []
    assert seen["golden"]["worst_db"] > 55


def test_axe_finds_nothing_empty_enrolled_or_marking(seen):
    assert seen["violations"] == {"empty": [], "enrolled": [], "marking": []}
