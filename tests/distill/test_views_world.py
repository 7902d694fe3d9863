import math

import numpy as np
import pytest
import torch

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.render.views import cameras_at
from edgekit.distill.teachers.views.meshes import Entry, read_index, read_mesh
from edgekit.distill.teachers.views.renders import cutouts, seen
from edgekit.distill.teachers.views.solids import ColoredMesh, ellipsoid, surface_at
from edgekit.distill.teachers.views.world import (
    ACCESSORIES,
    SHAPES,
    THEMES,
    WORDS,
    Thing,
    every_prompt,
    parse,
    prompts,
    split,
    world_mesh,
)


def cameras(*degrees: tuple[float, float]):
    yaw, pitch = torch.tensor(degrees).deg2rad().unbind(1)
    return cameras_at(yaw, pitch)


def volume(mesh: ColoredMesh, triangles: slice = slice(None)) -> float:
    a, b, c = mesh.vertices[mesh.triangles[triangles]].astype(np.float64).transpose(1, 0, 2)
    return float((np.cross(a, b) * c).sum() / 6)


def test_of_64_prompts_8_are_unseen_and_each_of_their_words_is_trained_on():
    trained, unseen = split()

    assert len(set(prompts())) == 64
    assert (len(trained), len(unseen)) == (56, 8)
    assert set(trained) | set(unseen) == set(prompts())
    assert {w for p in unseen for w in p.split()} <= {w for p in trained for w in p.split()}


@pytest.mark.parametrize("which", ["shape", "theme"])
def test_neither_shape_nor_theme_gives_the_accessory_away(which):
    things = [parse(prompt) for prompt in prompts()]

    for name in {getattr(thing, which) for thing in things}:
        worn = [thing.accessory for thing in things if getattr(thing, which) == name]
        assert sorted(worn) == sorted(ACCESSORIES * 2)
    diagonal = [parse(prompt).accessory for prompt in split()[1]]
    assert sorted(diagonal) == sorted(ACCESSORIES * 2)


def test_every_prompt_is_parsed_to_the_thing_that_it_was_made_of():
    things = [Thing(s, t, a) for s in SHAPES for t in THEMES for a in (None, *ACCESSORIES)]

    assert every_prompt() == [thing.prompt for thing in things]
    assert [parse(prompt) for prompt in every_prompt()] == things
    assert {word for prompt in every_prompt() for word in prompt.split()} == set(WORDS)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a red stripped cone", "did you mean 'striped'"),
        ("a red striped", "say it like"),
        ("a rainbow cone ball", "say it like"),
        ("", "say it like"),
    ],
)
def test_what_names_no_thing_is_refused_with_a_hint(prompt, says):
    with pytest.raises(EdgekitError) as caught:
        parse(prompt)

    assert says in caught.value.hint


@pytest.mark.parametrize("accessory", [None, *ACCESSORIES])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_toy_is_turned_outside_out_and_lies_in_its_place(shape, accessory):
    mesh = world_mesh(Thing(shape, "yellow", accessory).prompt, seed=5)

    reach = np.linalg.norm(mesh.vertices, axis=1).max()
    assert reach == pytest.approx(0.88, abs=1e-5)
    assert len(mesh.colors) == len(mesh.triangles)
    assert 0 <= mesh.colors.min() <= mesh.colors.max() <= 1
    assert volume(mesh, slice(0, mesh.eyes.start)) > 0.05
    assert volume(mesh, mesh.eyes) > 0
    assert volume(mesh, slice(mesh.eyes.stop, None)) >= 0


def test_toys_differ_by_seed_and_themes_change_nothing_but_colors():
    plain, again = world_mesh("a rainbow fish with legs"), world_mesh("a rainbow fish with legs")
    other = world_mesh("a rainbow fish with legs", seed=1)
    theme = world_mesh("a yellow fish with legs", seed=1)

    assert np.array_equal(plain.vertices, again.vertices)
    assert not np.array_equal(plain.vertices, other.vertices)
    assert np.array_equal(other.vertices, theme.vertices)
    assert not np.array_equal(other.colors, theme.colors)


@pytest.mark.parametrize("shape", SHAPES)
def test_eyes_look_at_the_camera_in_front_and_at_none_behind(shape):
    mesh = world_mesh(Thing(shape, "rainbow", "hat").prompt, seed=2)

    shares = seen(mesh, cameras((0, 10), (180, 10)), 32).shares(mesh.eyes)

    assert shares[0] > 0.012
    assert shares[1] == 0


def test_a_ball_covers_the_disc_that_a_pinhole_camera_sees():
    ball = ellipsoid(0.6, 0.6, 0.6)
    mesh = ColoredMesh(ball.vertices, ball.triangles, np.ones_like(ball.centers))

    share = cutouts(mesh, cameras((30, 20)), 64)[0, 3].mean()

    radius = 0.6 / math.sqrt(2.8**2 - 0.6**2) / math.tan(math.radians(20))
    assert float(share) == pytest.approx(math.pi * radius**2 / 4, rel=0.01)


def test_the_black_half_is_on_the_left_in_front_and_on_the_right_behind():
    mesh = world_mesh("a black and white ball")

    front, back = cutouts(mesh, cameras((0, 0), (180, 0)), 32)

    assert front[0, 20, 8] < 0.15 < 0.4 < front[0, 20, 23]
    assert back[0, 20, 23] < 0.15 < 0.4 < back[0, 20, 8]


def test_light_comes_from_the_upper_left_of_the_camera():
    ball = ellipsoid(0.8, 0.8, 0.8)
    mesh = ColoredMesh(ball.vertices, ball.triangles, np.ones_like(ball.centers))

    for picture in cutouts(mesh, cameras((0, 0), (90, 30), (200, -10)), 32):
        assert picture[0, 9, 10] > 0.95
        assert picture[0, 23, 23] < 0.7


def test_colors_of_corners_are_averaged_over_a_triangle():
    vertices = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0, 0.6, 0]], np.float32)
    mesh = ColoredMesh(vertices, np.array([[0, 1, 2], [2, 1, 0]]), np.eye(3, dtype=np.float32))

    red, green, blue, share = cutouts(mesh, cameras((0, 0)), 32)[0, :, 16, 16]

    assert share == 1
    assert float(red) == pytest.approx(float(green)) == pytest.approx(float(blue))


def test_a_line_meets_a_surface_at_its_last_point_or_not_at_all():
    ball = ellipsoid(0.5, 0.5, 0.5)

    assert surface_at(ball, 2, 1, (0.0, 0.0)) == pytest.approx(0.5, abs=1e-3)
    assert surface_at(ball, 1, -1, (0.3, 0.0)) == pytest.approx(-0.4, abs=2e-3)
    assert surface_at(ball, 0, 1, (0.6, 0.0)) is None


def write_meshes(folder, captions):
    (folder / "npz").mkdir(parents=True)
    ball = ellipsoid(0.2, 0.5, 0.2, steps=(8, 6))
    rows = ["id,caption,licence"]
    for number, caption in enumerate(captions):
        rows.append(f"mesh{number},{caption},CC0-1.0")
        np.savez(
            folder / "npz" / f"mesh{number}.npz",
            v=(ball.vertices + 1).astype(np.float16),
            f=ball.triangles.astype(np.uint16),
            c=np.full((len(ball.triangles), 3), 200, np.uint8),
        )
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_captioned_meshes_are_centered_scaled_and_held_out_by_caption(tmp_path):
    captions = [f"Thing  {number // 2}" for number in range(80)]
    entries = read_index(write_meshes(tmp_path / "meshes", captions))

    mesh = read_mesh(entries[0])

    assert entries[0].caption == "thing 0"
    assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(0.88, abs=1e-5)
    assert mesh.vertices.mean(0) == pytest.approx([0, 0, 0], abs=0.02)
    held = {entry.caption for entry in entries if entry.held_out}
    assert 0 < len(held) < 12
    assert not held & {entry.caption for entry in entries if not entry.held_out}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "index.csv").unlink(), "does not exist"),
        (lambda folder: (folder / "index.csv").write_text("name\nx\n"), "no rows"),
        (lambda folder: (folder / "npz/mesh1.npz").unlink(), "1 of 2 meshes are missing"),
    ],
)
def test_a_folder_that_is_no_list_of_meshes_is_refused(tmp_path, damage, says):
    folder = write_meshes(tmp_path / "meshes", ["a", "b"])
    damage(folder)

    with pytest.raises(BadInput, match=says):
        read_index(folder)


@pytest.mark.parametrize(
    "arrays",
    [
        {"v": np.zeros((3, 3)), "f": np.array([[0, 1, 2]])},
        {"v": np.zeros((3, 3)), "f": np.array([[0, 1, 3]]), "c": np.zeros((1, 3))},
        {"v": np.zeros((3, 3)), "f": np.array([[0, 1, 2]]), "c": np.zeros((1, 3))},
        {"v": np.full((3, 3), np.nan), "f": np.array([[0, 1, 2]]), "c": np.zeros((1, 3))},
    ],
)
def test_a_file_without_a_surface_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", **arrays)

    with pytest.raises(BadInput):
        read_mesh(Entry(tmp_path / "x.npz", "x"))
