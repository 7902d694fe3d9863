"""Commands of somebody who trained nothing: toy weights lie where shipped ones would."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import needs
from tests.shipped import SIZE

from edgekit.cli.main import run
from edgekit.core.identity import IdentityCode, read_identity, write_identity
from edgekit.core.manifest import read_bundle
from edgekit.distill.ship import ship
from edgekit.export import bundle
from edgekit.runtime.bundle import open_bundle
from edgekit.runtime.restore import of_code


@pytest.fixture(scope="module")
def shelf(shipped_toys, tmp_path_factory) -> Path:
    """``assets``, and an empty ``cache`` that fills from test to test."""
    place = tmp_path_factory.mktemp("shelf")
    (place / "assets").symlink_to(shipped_toys / "assets")
    return place


@pytest.fixture
def edgekit(shelf, tmp_path, monkeypatch, capfd):
    """Call a command in an empty folder of an installation that has the assets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgekit.core.assets.files", lambda package: shelf / "assets")
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(shelf / "cache"))
    here = partial(bundle.export_student, isolated=False)  # a process costs 5 s of imports
    monkeypatch.setattr(bundle, "export_student", here)

    def called(*words: object) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        said = capfd.readouterr()
        return code, said.out, said.err

    return called


@pytest.fixture
def none_ship(monkeypatch, tmp_path, capfd):
    """Call a command in an empty folder of an installation without any of the assets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgekit.core.assets.files", lambda package: tmp_path / "assets")
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "cache"))

    def called(*words: object) -> tuple[int, str]:
        code = run([str(word) for word in words])
        return code, capfd.readouterr().err

    return called


def portraits(folder: Path, *names: str) -> list[Path]:
    for number, name in enumerate(names):
        levels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(levels).resize((SIZE, SIZE)).save(folder / name)
    return [folder / name for name in names]


def test_a_portrait_is_restored_with_references_and_nothing_trained(edgekit, shelf, tmp_path):
    old, good, better = portraits(tmp_path, "old.png", "a.png", "b.png")
    words = ["restore", old, "--reference", good, "--reference", better, "--aligned"]

    code, out, said = edgekit(*words, "-o", "one.png", "--json")
    again, _, quiet = edgekit(*words, "-o", "two.png")

    assert (code, again) == (0, 0), said
    assert json.loads(out)["model"] == "onnx/restorer.fp32.onnx"
    assert said.count("the shipped restorer was exported for onnx to") == 1
    assert "once, in" in said
    assert "exported" not in quiet
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()
    assert not list(tmp_path.glob("runs*"))
    card = json.loads((shelf / "assets/restorer/card.json").read_text())
    (made,) = (shelf / "cache/shipped").glob("restorer-*/bundle")
    assert read_bundle(made).encoder_sha256 == card["encoder_sha256"]


def test_a_restorer_that_ships_alone_asks_for_no_encoder_and_takes_no_references(
    edgekit, shipped_toys, tmp_path, monkeypatch
):
    toys, old = shipped_toys / "runs", portraits(tmp_path, "old.png", "a.png")[0]
    ship("restorer", toys / "portraits", Path("assets/restorer"), faces=toys / "faces", alone=True)
    monkeypatch.setattr("edgekit.core.assets.files", lambda package: tmp_path / "assets")

    code, _, said = edgekit("restore", old, "--aligned", "-o", "new.png")
    refused, _, why = edgekit(
        "restore", old, "--aligned", "--reference", "a.png", "-o", "other.png"
    )

    assert code == 0, said
    assert Path("new.png").is_file()
    assert refused == 7
    assert "restores without references" in why
    assert not Path("other.png").exists()


def test_what_an_earlier_version_unpacked_goes_when_nobody_uses_it(edgekit, shelf, tmp_path):
    shipped = shelf / "cache/shipped"
    names = ("restorer-0123456789ab", "restorer-ba9876543210", "things-0123456789ab")
    forgotten, in_use, of_another = (shipped / name for name in names)
    for folder in (forgotten, in_use, of_another):
        (folder / "bundle").mkdir(parents=True)
    os.utime(forgotten, (0, 0))
    os.utime(of_another, (0, 0))

    code, _, said = edgekit("export", "shipped:restorer", "--target", "onnx", "--out", "made")

    assert code == 0, said
    assert not forgotten.exists()
    assert in_use.exists()
    assert of_another.exists()


@pytest.mark.parametrize(("wrong", "warned"), [(0.25, False), (0.44, True)])
def test_a_run_whose_codes_are_near_chance_says_so(
    edgekit, shipped_toys, tmp_path, monkeypatch, wrong, warned
):
    run = shutil.copytree(shipped_toys / "runs/portraits/phone", tmp_path / "run")
    manifest = run / "identity/manifest.json"
    manifest.write_text(
        manifest.read_text().replace('"equal_error": 0.25', f'"equal_error": {wrong}')
    )
    scores = {name: {"psnr_db": 25.0, "perceptual": 0.5} for name in ("student", "source")}
    made = {"kind": "student", "parameters": 1, "quality": scores}
    monkeypatch.setattr("edgekit.distill.restorer.run.distill_restorer", lambda *_, **__: made)

    code, _, said = edgekit("distill", "--student", "restorer", "--faces", "f", "--out", "run")

    assert code == 0, said
    assert ("is wrong about 44% of pairs" in said) == warned


@needs.FACES
def test_people_are_enrolled_by_the_encoder_whose_codes_the_restorer_takes(
    edgekit, shelf, tmp_path
):
    data = pytest.importorskip("skimage.data")
    (tmp_path / "photos").mkdir()
    Image.fromarray(data.astronaut()[:300, 60:360]).save(tmp_path / "photos/a.png")
    (old,) = portraits(tmp_path, "old.png")

    code, _, said = edgekit("identity", "enrol", "photos", "-o", "me.code")
    status, _, more = edgekit("restore", old, "--code", "me.code", "--aligned", "-o", "new.png")

    assert code == 0, said
    assert "the shipped identity was exported" in said
    assert status == 0, more
    card = json.loads((shelf / "assets/identity/card.json").read_text())
    assert read_identity(tmp_path / "me.code").encoder_sha256 == card["sha256"]


@needs.MESH
def test_a_prompt_becomes_a_mesh_of_the_generator_that_ships(edgekit):
    code, out, said = edgekit("mesh", "a red cone", "-o", "cone.glb", "--texture", 0, "--json")

    assert code == 0, said
    assert "the shipped things was exported" in said
    assert json.loads(out)["watertight"]
    assert Path("cone.glb").is_file()


def test_the_latest_run_comes_before_the_generator_that_ships(edgekit):
    assert json.loads(edgekit("mesh", "a cone", "--dry-run")[1])["run"] == "shipped:things"

    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/manifest.json").write_text('{"kind": "student", "form": "mesh"}')

    assert json.loads(edgekit("mesh", "a cone", "--dry-run")[1])["run"] == "runs/mine"


def test_what_ships_is_exported_like_a_run_into_a_folder_of_ones_own(edgekit, tmp_path):
    code, out, said = edgekit(
        "export", "shipped:restorer", "--target", "onnx", "--precision", "fp32", "--json"
    )

    assert code == 0, said
    assert json.loads(out)["bundle"] == "runs/restorer/bundle"
    opened = open_bundle(tmp_path / "runs/restorer/bundle")
    values = np.zeros((32, 256), np.float32)
    sha256 = opened.manifest.encoder_sha256
    assert [part.name for part in opened.manifest.parts] == ["identity"]
    write_identity(tmp_path / "x.code", IdentityCode(values, sha256, photos=1, threshold=0.5))
    assert set(of_code(opened, read_identity(tmp_path / "x.code"))) == {"code"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["restore", "a.png", "-o", "b.png"], 2, "no restorer is named, and none ships"),
        (["identity", "enrol", ".", "-o", "me.code"], 2, "no identity encoder is named, and none"),
        (["mesh", "a cone"], 2, "no RUN is given and runs/ holds no finished mesh"),
        (["export", "shipped:restorer"], 4, "the shipped restorer is missing"),
        (["app", "shipped:things"], 4, "the shipped things is missing"),
        (["export", "shipped:thing"], 2, "did you mean 'things'?"),
        (["app", "shipped:things", "--target", "ios"], 7, "the ios app edits photos"),
    ],
)
def test_without_the_weights_a_sentence_says_what_to_do(none_ship, tmp_path, words, code, said):
    portraits(tmp_path, "a.png")

    status, heard = none_ship(*words)

    assert status == code
    assert said in heard
    assert "hint: " in heard
    assert "Traceback" not in heard
    assert not list(tmp_path.glob("cache/shipped/*"))
