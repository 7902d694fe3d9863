"""Files of meshes: rules of their formats, read back by other programs, colours in their place."""

import io
import json
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests import needs
from tests.meshes import ball, donut, points_of, striped
from tests.runtime.gltf_rules import broken_rules

from edgekit.core.errors import BadInput, EdgekitError, OutputError
from edgekit.runtime.mesh.decimate import decimated
from edgekit.runtime.mesh.extract import extracted
from edgekit.runtime.mesh.files import read_glb, write_mesh
from edgekit.runtime.mesh.gltf import glb_bytes, srgb
from edgekit.runtime.mesh.raster import covered
from edgekit.runtime.mesh.surface import Mesh, facts_of
from edgekit.runtime.mesh.texture import baked, unwrapped
from edgekit.runtime.mesh.turntable import (
    AMBIENT,
    DIFFUSE,
    DISTANCE,
    FIELD_DEG,
    LIGHT,
    View,
    picture,
    sheet,
    turntable,
)

SIZE = 256


@pytest.fixture(scope="module")
def colored() -> Mesh:
    mesh = extracted(donut(points_of(20)))
    return replace(mesh, colors=striped(mesh.vertices))


@pytest.fixture(scope="module")
def textured() -> Mesh:
    return baked(unwrapped(decimated(extracted(donut(points_of(20))), 900), SIZE), striped, SIZE)


@pytest.fixture(params=["colored", "textured"])
def mesh(request: pytest.FixtureRequest) -> Mesh:
    if request.param == "textured":
        pytest.importorskip("xatlas")
    return request.getfixturevalue(request.param)


def test_a_glb_breaks_no_rule_of_the_standard(mesh):
    assert broken_rules(glb_bytes(mesh, name="a süße cone")) == []


def test_many_vertices_take_wide_indices():
    mesh = extracted(np.random.default_rng(0).normal(size=(34, 34, 34)).astype(np.float32))

    data = glb_bytes(mesh)

    assert len(mesh.vertices) > 65535
    assert broken_rules(data) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"componentType":5126', b'"componentType":5125'),
        (b'"SCALAR"', b'"VEC2"  '),
        (b'"version":"2.0"', b'"version":"1.0"'),
        (b'"POSITION"', b'"NORMAL"  '),
        (b'"buffer":0', b'"buffer":1'),
    ],
)
def test_the_rules_find_a_broken_file(colored, old, new):
    data = glb_bytes(colored)
    assert old in data

    try:
        broken = broken_rules(data.replace(old, new, 1))
    except (KeyError, IndexError, ValueError):
        broken = ["not even readable"]

    assert broken


def test_a_glb_read_back_is_the_same_mesh(mesh, tmp_path):
    write_mesh(mesh, tmp_path / "m.glb")

    back = read_glb(tmp_path / "m.glb")

    assert np.array_equal(back.vertices, mesh.vertices)
    assert np.array_equal(back.triangles, mesh.triangles)
    if mesh.texture is None:
        assert np.abs(back.colors - mesh.colors).max() < 1e-3
    else:
        assert np.array_equal(back.texture, mesh.texture)
        assert np.array_equal(back.uvs, mesh.uvs)


def test_colours_of_vertices_are_linear_in_a_glb(colored):
    grey = replace(colored, colors=np.full_like(colored.vertices, 0.5))
    data = glb_bytes(grey)
    length = struct.unpack_from("<I", data, 12)[0]
    value, held = json.loads(data[20 : 20 + length]), data[28 + length :]
    row = value["accessors"][value["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = value["bufferViews"][row["bufferView"]]["byteOffset"]

    levels = np.frombuffer(held, np.uint16, 4, start) / 65535

    assert np.allclose(levels, (0.2140, 0.2140, 0.2140, 1), atol=1e-4)


@needs.MESH
@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_another_program_reads_a_closed_mesh_of_the_same_volume(mesh, suffix, tmp_path):
    import trimesh

    write_mesh(mesh, tmp_path / f"m{suffix}")
    (read,) = trimesh.load_scene(tmp_path / f"m{suffix}", process=False).geometry.values()
    visual, whole = read.visual, read.copy()
    whole.merge_vertices(merge_tex=True, merge_norm=True)

    assert whole.is_watertight
    assert whole.volume == pytest.approx(facts_of(mesh).volume, rel=1e-4)
    if mesh.texture is not None:
        assert visual.material is not None
    elif suffix == ".glb":  # beside a material, it keeps them as they are in the file
        levels = visual.vertex_attributes["color"][:, :3] / 65535
        assert np.allclose(srgb(levels), mesh.colors, atol=0.01)
    else:
        assert np.allclose(visual.vertex_colors[:, :3] / 255, mesh.colors, atol=0.01)


@needs.MESH
def test_the_texture_of_an_obj_stands_as_another_program_expects_it(textured, tmp_path):
    import trimesh

    write_mesh(textured, tmp_path / "m.obj")
    read = trimesh.load(tmp_path / "m.obj", force="mesh", process=False)

    colors = read.visual.to_color().vertex_colors[:, :3] / 255
    assert np.abs(colors - striped(np.asarray(read.vertices, np.float32))).mean() < 0.05


@needs.MESH
def test_every_place_of_the_surface_finds_its_own_colour_in_the_texture(textured):
    random = np.random.default_rng(0)
    share = random.dirichlet((1, 1, 1), 3000).astype(np.float32)
    corners = textured.triangles[random.integers(len(textured.triangles), size=3000)]
    places = np.einsum("pc,pcx->px", share, textured.vertices[corners])
    column, row = (np.einsum("pc,pcx->px", share, textured.uvs[corners]) * SIZE).astype(int).T

    found = textured.texture[np.minimum(row, SIZE - 1), np.minimum(column, SIZE - 1)] / 255

    assert np.abs(found - striped(places)).mean() < 0.03
    assert np.quantile(np.abs(found - striped(places)).max(axis=1), 0.99) < 0.25


@needs.MESH
def test_charts_do_not_overlap_and_no_place_is_doubled_but_on_seams(textured):
    triangles, texels, weights = covered((textured.uvs * SIZE)[textured.triangles], SIZE, SIZE)
    inner = weights.min(axis=1) > 1e-3

    assert len(np.unique(texels[inner])) > 0.999 * inner.sum()  # slivers may fold
    assert len(np.unique(triangles)) > 0.95 * len(textured.triangles)
    assert len(textured.vertices) < 2 * len(np.unique(textured.vertices, axis=0))


def test_a_usdz_is_stored_aligned_and_begins_with_its_scene(mesh, tmp_path):
    (file,) = write_mesh(mesh, tmp_path / "m.usdz")
    data = file.read_bytes()

    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        text = archive.read("scene.usda").decode()
    for info in infos:
        name, extra = struct.unpack_from("<2H", data, info.header_offset + 26)
        assert (info.header_offset + 30 + name + extra) % 64 == 0
        assert info.compress_type == zipfile.ZIP_STORED
    names = ["scene.usda"] + ["texture.png"] * (mesh.texture is not None)
    assert [info.filename for info in infos] == names
    assert text.startswith("#usda 1.0")
    assert text.count("(") == text.count(")")
    assert text.count("{") == text.count("}")
    assert text.count("point3f[] points") == 1


def test_an_obj_does_not_overwrite_the_four_views_beside_it(textured, tmp_path):
    files = {
        file.name for out in ("m.obj", "m.png") for file in write_mesh(textured, tmp_path / out)
    }

    assert files == {"m.obj", "m.mtl", "m_texture.png", "m.png"}
    assert len(set(files)) == len(list(tmp_path.iterdir()))


@pytest.mark.parametrize("name", ["m.stl", "m", "m.glb.zip"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(colored, name, tmp_path):
    with pytest.raises(EdgekitError, match="cannot write") as caught:
        write_mesh(colored, tmp_path / name)

    assert ".glb" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told(colored, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError):
        write_mesh(colored, tmp_path / "file" / "m.glb")


@pytest.mark.parametrize("data", [b"", b"glTF", b"no mesh at all, but long enough for a header"])
def test_what_is_no_glb_is_told(data, tmp_path):
    (tmp_path / "m.glb").write_bytes(data)

    with pytest.raises(BadInput, match="no GLB"):
        read_glb(tmp_path / "m.glb")


def test_a_picture_shows_the_side_that_the_camera_looks_at():
    mesh = extracted(ball(points_of(20)))
    sides = (mesh.vertices > 0).astype(np.float32)  # red where x > 0, blue where z > 0
    mesh = replace(mesh, colors=sides * (1, 0, 1))

    front, right = (picture(mesh, View(yaw, 0), 64) for yaw in (0, 90))

    assert front[32, 42, 0] > 130 > front[32, 22, 0] + 100  # +x is on the right, seen from +z
    assert front[32, 32, 2] > 100
    assert right[32, 22, 2] > 130 > right[32, 42, 2] + 100  # +z is on the left, seen from +x
    assert (front[0, 0] == 255).all()


def test_what_is_near_hides_what_is_far():
    points = points_of(20)
    near, far = (
        ball(points - np.float32((0, 0, 0.5)), 0.3),
        ball(points + np.float32((0, 0, 0.5)), 0.3),
    )
    mesh = extracted(np.minimum(near, far))
    mesh = replace(mesh, colors=np.where(mesh.vertices[:, 2:] > 0, (0, 1, 0), (1, 0, 0)))

    green, red = (picture(mesh, View(yaw, 0), 32)[16, 16].astype(int) for yaw in (0, 180))

    assert green[1] > 100 > green[0]
    assert red[0] > 100 > red[1]


def test_cameras_and_light_are_those_of_training():
    torch = pytest.importorskip("torch")
    from edgekit.distill.render import views

    yaw, pitch = torch.tensor([0.7]), torch.tensor([0.3])
    axes = views.cameras_at(yaw, pitch).axes[0].numpy()

    assert np.allclose(View(np.degrees(0.7), np.degrees(0.3)).axes, axes, atol=1e-6)
    assert (AMBIENT, DIFFUSE) == (views.AMBIENT, views.DIFFUSE)
    normals = torch.nn.functional.normalize(torch.randn(1, 50, 3), dim=-1)
    shade = views.shaded(torch.ones(1, 50, 3), normals, views.cameras_at(yaw, pitch))[0, :, 0]
    assert (DISTANCE, FIELD_DEG, LIGHT) == (views.DISTANCE, views.FIELD_DEG, views.LIGHT)
    toward = axes @ (np.array(LIGHT) / np.linalg.norm(LIGHT))
    ours = AMBIENT + DIFFUSE * np.maximum(normals[0].numpy() @ toward, 0)
    assert np.allclose(shade.numpy(), ours, atol=1e-5)


@needs.MESH
def test_a_texture_looks_like_the_colours_that_it_was_made_of(textured):
    fine = extracted(donut(points_of(60)))
    fine = replace(fine, colors=striped(fine.vertices))

    ours, theirs = (sheet(mesh, 64).astype(float) for mesh in (textured, fine))

    assert np.abs(ours - theirs).mean() < 6


def test_a_gif_turns_once_and_repeats(colored):
    halves = replace(colored, colors=(colored.vertices > 0).astype(np.float32) * (1, 0, 0))

    with Image.open(io.BytesIO(turntable(halves, 48, frames=12))) as turning:
        frames = turning.n_frames
        loop = turning.info["loop"]
        shown = []
        for number in (0, frames // 2):
            turning.seek(number)
            shown.append(np.asarray(turning.convert("RGB"), int))

    assert (frames, loop) == (12, 0)
    assert shown[0][24, 38, 0] > 150 > shown[0][24, 10, 0]  # +x is red
    assert shown[1][24, 10, 0] > 150 > shown[1][24, 38, 0]
    assert (shown[0][0, 0] == 255).all()
