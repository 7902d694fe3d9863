"""People who do not exist, rendered from a toy head: who they are, landmarks, sets."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgekit.cli.main import run
from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.faces.heads.convert import convert_head_model
from edgekit.distill.faces.heads.draw import Studio, drawn, studio_of
from edgekit.distill.faces.heads.make import HeadSettings, make_heads
from edgekit.distill.faces.heads.model import HeadModel, load_head_model, visible
from edgekit.distill.faces.heads.noise import CELLS, noise
from edgekit.distill.faces.heads.people import STYLES, person_of
from edgekit.distill.faces.heads.scene import scene_of
from edgekit.distill.faces.points import crop_square, five_of
from edgekit.distill.faces.sets import load_faces
from edgekit.distill.faces.store import open_faces

SETTINGS = HeadSettings(identities=3, images=2, size_px=48)


def toy():
    name = "edgekit_tests_toy_head"
    if name not in sys.modules:
        place = Path(__file__).with_name("toy_head.py")
        spec = importlib.util.spec_from_file_location(name, place)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="module")
def head_file(tmp_path_factory) -> Path:
    return toy().write_toy_head(tmp_path_factory.mktemp("head") / "head.npz")


@pytest.fixture(scope="module")
def model(head_file) -> HeadModel:
    return load_head_model(head_file)


@pytest.fixture(scope="module")
def studio(model) -> Studio:
    return studio_of(model, 64)


def scenes(model: HeadModel, person: int, count: int):
    return [scene_of(0, person, picture, model.names) for picture in range(count)]


def test_a_person_is_the_same_person_in_every_set_and_nobody_else():
    first, again, other = person_of(0, 5), person_of(0, 5), person_of(0, 6)

    assert np.array_equal(first.shape, again.shape)
    assert (first.skin, first.hair, first.style) == (again.skin, again.hair, again.style)
    assert not np.array_equal(first.shape, other.shape)


def test_a_population_has_every_cut_of_hair_and_light_and_dark_skin():
    people = [person_of(0, number) for number in range(150)]

    assert {person.style for person in people} == set(STYLES)
    assert min(sum(person.skin) for person in people) < 240
    assert max(sum(person.skin) for person in people) > 600


def test_pictures_are_equal_from_call_to_call(studio):
    person, some = person_of(0, 1, shapes=3), scenes(studio.model, 1, 2)

    first, second = (drawn(studio, person, some, 32) for _ in range(2))

    assert torch.equal(first.pictures, second.pictures)
    assert np.array_equal(first.landmarks, second.landmarks)


def test_landmarks_are_where_the_aligned_crop_has_them(studio):
    """Cutting the picture by its own landmarks would change it only by the drawn inexactness."""
    some = scenes(studio.model, 2, 4)

    result = drawn(studio, person_of(0, 2, shapes=3), some, 64)

    for landmarks in result.landmarks:
        square = crop_square(five_of(landmarks.astype(np.float32)))
        assert np.abs(square - [[0, 0], [64, 0], [0, 64]]).max() < 6


def test_the_eyes_are_painted_where_the_landmarks_say(studio):
    """White of the eye on a head of dark skin: the brightest places are at the two eyes."""
    number = next(n for n in range(99) if sum(person_of(0, n).skin) < 260)
    person = person_of(0, number, shapes=3)
    some = [s for s in scenes(studio.model, number, 12) if abs(s.yaw) < 10][:2]

    result = drawn(studio, person, some, 64)

    for picture, landmarks in zip(result.pictures.float().mean(1), result.landmarks, strict=True):
        y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
        at_eye = torch.zeros(64, 64, dtype=torch.bool)
        cheek = torch.zeros(64, 64, dtype=torch.bool)
        for eye in (landmarks[36:42].mean(0), landmarks[42:48].mean(0)):
            at_eye |= (x - eye[0]) ** 2 + (y - eye[1]) ** 2 < 9
            cheek |= (x - eye[0]) ** 2 + (y - eye[1] - 12) ** 2 < 9
        assert picture[at_eye].amax() > picture[cheek].amax() + 20


def test_hair_covers_the_crown_unless_bald(studio):
    cover = {}
    for style in ("bald", "short", "long"):
        number = next(n for n in range(400) if person_of(0, n).style == style)
        person = person_of(0, number, shapes=3)
        cover[style] = drawn(studio, person, scenes(studio.model, 0, 1), 48).pictures.float()

    assert (cover["short"] - cover["bald"]).abs()[0, :, :10].mean() > 5
    assert (cover["long"] - cover["short"]).abs().mean() > 2


def test_light_does_not_reach_the_far_side_of_a_head(model):
    towards = torch.tensor([[1.0, 0.0, 0.0]])

    lit = visible(model.neutral[None], model.triangles, towards)[0]

    skin = torch.arange(len(lit)) < 2400
    x = model.neutral[:, 0]
    assert lit[skin & (x > 4)].mean() > 0.95
    assert lit[skin & (x < -4)].mean() < 0.05


def test_noise_is_smooth_bounded_and_its_own_for_each_seed():
    points = torch.linspace(0, 10, 2000)[:, None].expand(-1, 3)

    values, other = noise(points, 1.0, 1), noise(points, 1.0, 2)

    assert values.abs().max() <= 1
    assert values.diff().abs().max() < 0.05
    assert values.std() > 0.1
    assert not torch.allclose(values, other, atol=0.1)
    assert torch.allclose(noise(points + CELLS, 1.0, 1), values, atol=1e-2)


def test_a_set_is_split_by_person_continues_and_loads(head_file, tmp_path):
    made = make_heads(head_file, SETTINGS, tmp_path / "heads")
    again = make_heads(head_file, SETTINGS, tmp_path / "heads")
    faces = load_faces(made.folder, size_px=24)

    assert again.manifest == made.manifest
    assert {entry.split for entry in made.entries} == {"train", "val", "test"}
    assert len({(entry.identity, entry.split) for entry in made.entries}) == 3
    assert faces.images.shape == (6, 3, 24, 24)
    assert made.manifest["licences"] == {"rendered": 6}


def test_the_commands_render_and_show_what_they_made(head_file, tmp_path, capsys):
    words = ["pairs", "faces", "--head-model", head_file, "--identities", 2, "--images", 2]

    code = run([str(word) for word in [*words, "--size", 32, "-o", tmp_path / "faces", "--json"]])

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (said["faces"], said["people"], said["alone"]) == (4, 2, 0)
    assert len(open_faces(tmp_path / "faces").entries) == 4

    code = run(["pairs", "inspect", str(tmp_path / "faces"), "--json"])

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["photos_a_person"] == {"2": 2}
    assert Image.open(said["sheet"]).height > 2 * 128


def test_neither_or_both_sources_are_refused(head_file, tmp_path, capsys):
    nothing = run(["pairs", "faces", "-o", str(tmp_path / "a")])
    both = run(
        ["pairs", "faces", str(tmp_path), "--head-model", str(head_file), "-o", str(tmp_path / "b")]
    )

    assert (nothing, both) == (2, 2)
    assert "either folders of photos or --head-model" in capsys.readouterr().err


def test_a_file_that_is_no_head_model_is_told(tmp_path):
    picture = tmp_path / "a.npz"
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    other = tmp_path / "b.npz"
    np.savez(other, neutral=np.zeros((3, 3)))

    for path, what in (
        (tmp_path / "none.npz", "does not exist"),
        (picture, "no head model"),
        (other, "lacks uv, quads"),
    ):
        with pytest.raises(BadInput, match=what):
            load_head_model(path)


def test_settings_that_cannot_be_meant_are_refused():
    for wrong in ({"identities": 1}, {"images": 0}, {"size_px": 50}, {"seed": -1}):
        with pytest.raises(EdgekitError):
            HeadSettings(**wrong)


def test_a_folder_of_objs_becomes_the_same_head(head_file, tmp_path):
    folder = toy().write_toy_objs(tmp_path / "FaceXModel")

    facts = convert_head_model(folder, tmp_path / "made.npz")

    one, two = load_head_model(head_file), load_head_model(tmp_path / "made.npz")
    assert facts["identities"] == 3
    assert one.names == two.names
    assert torch.equal(one.triangles, two.triangles)
    assert torch.allclose(one.neutral, two.neutral, atol=1e-5)
    assert torch.allclose(one.identity, two.identity, atol=2e-3)
    assert torch.allclose(one.expressions, two.expressions, atol=2e-3)


def test_a_folder_without_shapes_or_with_another_mesh_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"lacks generic_neutral_mesh\.obj"):
        convert_head_model(tmp_path, tmp_path / "x.npz")
    folder = toy().write_toy_objs(tmp_path / "FaceXModel")
    (folder / "jawOpen.obj").write_text("v 0 0 0\n")

    with pytest.raises(BadInput, match="has 1 vertices"):
        convert_head_model(folder, tmp_path / "x.npz")
