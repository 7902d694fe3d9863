"""`edgekit mesh` from the command line to files on disk, with ONNX files whose fields are known."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests import needs
from tests.meshes import BALL, CELLS, COLORS, TUBE, ball, donut, write_mesh_bundle
from tests.runtime.gltf_rules import broken_rules

from edgekit.cli.main import run
from edgekit.core.errors import BadInput
from edgekit.runtime.mesh.files import read_glb
from edgekit.runtime.mesh.generate import Clock, Finish, from_lattice, open_generator
from edgekit.runtime.mesh.surface import facts_of
from edgekit.runtime.mesh.words import read_words

pytestmark = needs.MESH
SAG = 0.02
"""How far |p|^2 between samples of the planes moves the surface."""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mesh_bundle(tmp_path_factory.mktemp("known") / "bundle")


@dataclass
class Answer:
    code: int
    out: str
    error: str


@pytest.fixture
def mesh(known, tmp_path, monkeypatch, capsys):
    """Call the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def called(*words: object) -> Answer:
        code = run(["mesh", "--run", str(known), *map(str, words)])
        return Answer(code, *capsys.readouterr())

    return called


def test_a_prompt_becomes_a_closed_textured_glb_with_seconds_a_stage(mesh):
    answer = mesh("a blue donut", "-o", "d.glb", "--triangles", 800, "--texture", 128, "--json")

    assert answer.code == 0
    told = json.loads(answer.out)
    assert list(told["seconds"]) == [
        "planes",
        "field",
        "surface",
        "triangles",
        "uvs",
        "texture",
        "glb",
    ]
    assert all(value >= 0 for value in told["seconds"].values())
    assert told["watertight"]
    assert told["triangles"] <= 800
    assert broken_rules(Path("d.glb").read_bytes()) == []
    made = read_glb(Path("d.glb"))
    assert np.abs(donut(made.vertices)).max() < 2 * SAG
    assert np.allclose(made.texture / 255, COLORS["blue"], atol=0.01)
    assert facts_of(made).volume == pytest.approx(2 * np.pi**2 * 0.5 * TUBE**2, rel=0.1)


def test_without_a_texture_every_triangle_and_a_colour_a_vertex_are_kept(mesh):
    answer = mesh("red ball", "-o", "b.glb", "--texture", 0)

    made = read_glb(Path("b.glb"))
    assert answer.code == 0
    assert len(made.triangles) > 3000
    assert made.texture is None
    assert np.allclose(made.colors, COLORS["red"], atol=0.01)
    assert np.abs(ball(made.vertices)).max() < SAG
    assert facts_of(made).volume == pytest.approx(4 / 3 * np.pi * BALL**3, rel=0.1)


def test_every_kind_of_file_comes_from_one_call(mesh, tmp_path):
    names = ["m.glb", "m.obj", "m.usdz", "m.png"]
    words = [word for name in names for word in ("-o", name)]

    answer = mesh("a red donut", *words, "--triangles", 300, "--texture", 64, "-q")

    assert answer.code == 0
    assert {file.name for file in tmp_path.iterdir()} == {*names, "m.mtl", "m_texture.png"}


def test_the_lattice_may_be_finer_or_coarser(mesh):
    sizes = []
    for cells in (CELLS // 2, CELLS * 2):
        mesh("a red ball", "--cells", cells, "--texture", 0)
        sizes.append(len(read_glb(Path("mesh.glb")).triangles))

    assert sizes[1] > 10 * sizes[0]


@pytest.mark.parametrize(
    ("words", "code", "cause", "remedy"),
    [
        (["a red bal"], 4, "unknown word 'bal'", "did you mean 'ball' for 'bal'? known: ball"),
        (["a redd donot"], 4, "unknown words 'redd', 'donot'", "'red' for 'redd' and 'donut'"),
        (["xylophone"], 4, "unknown word 'xylophone'", "known: ball, blue"),
        ([""], 4, "the prompt is empty", "write words of these: ball"),
        ([" ...7 "], 4, "the prompt is empty", "write words of these"),
        (["with a"], 4, "names nothing", "write words of these"),
        (["red red red red red"], 4, "5 words and 4 are read", "fewer words"),
        (["red ball", "--triangles", "0"], 2, "a budget of 0 triangles", "at least 4"),
        (["red ball", "--triangles", "-9"], 2, "a budget of -9 triangles", "at least 4"),
        (["red ball", "--texture", "9"], 2, "a texture of 9 pixels", "or 0 for colours"),
        (["red ball", "--cells", "1"], 2, "a lattice of 1 cells", "trained with 24"),
        (["red ball", "-o", "m.fbx"], 2, "cannot write '.fbx'", ".glb, .obj, .usdz"),
        (["nothing"], 6, "there is no surface", "words that the generator was trained on"),
        (["red ball", "--precision", "int8"], 4, "ships no file int8", "onnx fp32"),
    ],
)
def test_bad_input_is_told_in_two_sentences_and_nothing_is_written(
    mesh, tmp_path, words, code, cause, remedy
):
    answer = mesh(*words)

    said, hint = answer.error.strip().splitlines()[-2:]
    assert answer.code == code
    assert cause in said
    assert remedy in hint
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_there_stays_if_nothing_can_be_made(mesh, tmp_path):
    (tmp_path / "m.glb").write_bytes(b"an older mesh")

    answer = mesh("nothing", "-o", "m.glb")

    assert answer.code == 6
    assert (tmp_path / "m.glb").read_bytes() == b"an older mesh"


def test_a_bundle_that_makes_no_meshes_is_told_by_its_form(toy_bundle, capsys):
    code = run(["mesh", "red ball", "--run", str(toy_bundle)])

    assert code == 4
    assert "makes no meshes: it is a bundle of form 'concept'" in capsys.readouterr().err


def test_a_changed_table_of_words_is_found(known, tmp_path, capsys):
    import shutil

    shutil.copytree(known, tmp_path / "copy")
    with (tmp_path / "copy" / "words.safetensors").open("ab") as file:
        file.write(b"!")

    code = run(["mesh", "red ball", "--run", str(tmp_path / "copy")])

    assert code == 4
    assert "words.safetensors is not the file that was exported" in capsys.readouterr().err


def test_with_neither_run_nor_weights_that_ship_the_hint_says_how_one_is_made(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgekit.core.assets.files", lambda package: tmp_path / "assets")

    code = run(["mesh", "red ball"])

    assert code == 2
    assert "edgekit distill --student mesh" in capsys.readouterr().err


def test_dry_run_says_what_would_be_done(mesh, tmp_path):
    answer = mesh("A Red-Ball!", "--dry-run", "--json")

    plan = json.loads(answer.out)
    assert plan["words"] == ["a", "red", "ball"]
    assert plan["triangles"] == 4000
    assert not list(tmp_path.iterdir())


def test_words_are_rows_of_the_table_in_the_order_of_the_prompt(known):
    words = read_words(known / "words.safetensors")

    text = words.text("the donut, RED")

    assert np.allclose(text[0, :4], (0, 0, 0, 1))
    assert np.allclose(text[1, :3], COLORS["red"])
    assert not text[2:].any()


@pytest.mark.parametrize("cut", [0, 5, 30, -8])
def test_a_table_of_words_that_is_cut_short_is_told(known, tmp_path, cut):
    (tmp_path / "w").write_bytes((known / "words.safetensors").read_bytes()[:cut])

    with pytest.raises(BadInput, match="no table of words"):
        read_words(tmp_path / "w")


def test_a_lattice_of_ones_own_takes_the_same_way_as_a_prompt(known):
    generator = open_generator(known, threads=1)
    planes = generator.planes_of("a blue donut")
    finish = Finish(triangles=500, texture_px=64)
    field, deformation = generator.on_lattice(planes, CELLS)

    made = from_lattice(
        field,
        deformation,
        generator.entry.deform,
        lambda points: generator.at_points(planes, points)[:, 4:],
        finish=finish,
    )

    same = generator.mesh("a blue donut", finish=finish)
    assert np.array_equal(made.mesh.vertices, same.mesh.vertices)
    assert np.array_equal(made.mesh.texture, same.mesh.texture)


def test_a_clock_adds_up_its_stages():
    ticks = iter([0.0, 1.0, 5.0, 7.5])
    clock = Clock(lambda: next(ticks))

    for _ in range(2):
        with clock.stage("field"):
            pass

    assert clock.seconds == {"field": 3.5}
