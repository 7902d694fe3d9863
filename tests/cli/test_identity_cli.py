"""An encoder trained, exported and used to enrol people, as a user meets it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import needs
from tests.distill.identity_faces import faces_folder, random_faces

from edgekit.cli.main import run
from edgekit.core.errors import BadInput
from edgekit.core.identity import read_identity
from edgekit.core.images import resized
from edgekit.core.manifest import PartEntry, read_bundle, write_bundle
from edgekit.core.store import file_sha256, read_json
from edgekit.runtime.identity import enrolled, open_encoder, strangers

EXPORTED = ["--target", "onnx", "--target", "android", "--precision", "fp32", "--no-cache"]


def edgekit(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    said = capfd.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Faces, a toy encoder trained on them, and its bundle; not to be changed."""
    folder = tmp_path_factory.mktemp("identity")
    faces = faces_folder(folder / "faces")
    words = ["identity", "train", faces, "--out", folder / "run", "--toy", "--steps", 40, "-q"]
    assert run([str(word) for word in words]) == 0
    assert run(["export", str(folder / "run"), *EXPORTED, "-q"]) == 0
    return folder


def crops(person: int, *rows: int) -> list[np.ndarray]:
    faces = random_faces(12, 6)
    return [faces.images[person * 6 + row].permute(1, 2, 0).numpy() for row in rows]


def test_the_encoder_is_the_same_function_in_both_formats(place):
    bundle = read_bundle(place / "run/bundle", check_files=True)

    assert {(m.format, m.precision) for m in bundle.models} == {
        ("onnx", "fp32"),
        ("tflite", "fp32"),
    }
    assert all(m.executed and m.parity.max_abs < 1e-4 for m in bundle.models)
    assert bundle.quality["identity.threshold"] < 1
    assert 0 <= bundle.quality["identity.equal_error"] <= 0.5
    assert bundle.licences["faces faces"] == "CC0-1.0"


def test_a_finished_training_is_not_done_again_and_a_changed_one_is(place, capfd):
    manifest = place / "run/manifest.json"
    before = manifest.stat().st_mtime_ns
    words = ["identity", "train", place / "faces", "--out", place / "run", "--toy"]

    code, out, _ = edgekit(capfd, *words, "--steps", 40, "--json")

    assert code == 0
    assert manifest.stat().st_mtime_ns == before
    assert json.loads(out)["quality"]["identity"]["people"] == 2


def test_a_code_does_not_depend_on_order_or_format(place):
    encoder = open_encoder(place / "run/bundle")
    one = enrolled(encoder, crops(0, 0, 1, 2)).code
    two = enrolled(encoder, crops(0, 2, 0, 1)).code
    assert encoder.entry.format == "onnx"

    only = place / "litert"
    shutil.copytree(place / "run/bundle", only, dirs_exist_ok=True)
    manifest = read_bundle(only)
    kept = tuple(model for model in manifest.models if model.format == "tflite")
    write_bundle(only, manifest.model_copy(update={"models": kept}))
    litert = open_encoder(only)
    other = enrolled(litert, crops(0, 0, 1, 2)).code

    assert np.array_equal(one.values, two.values)
    assert litert.entry.format == "tflite"
    np.testing.assert_allclose(one.values, other.values, atol=1e-4)
    assert one.encoder_sha256 == other.encoder_sha256


def test_enrolling_encodes_as_training_did(place):
    import torch

    from edgekit.distill.identity.student import read_encoder

    encoder, _ = read_encoder(place / "run")
    photos = torch.from_numpy(np.stack(crops(3, 0, 1, 4))).permute(0, 3, 1, 2).float() / 127.5 - 1

    code = enrolled(open_encoder(place / "run/bundle"), crops(3, 0, 1, 4)).code

    wanted = encoder(photos[None], torch.ones(1, 3, dtype=torch.bool))[0].numpy()
    np.testing.assert_allclose(code.values, wanted, atol=1e-4)


def test_photos_of_another_person_stand_out(place):
    encoder = open_encoder(place / "run/bundle")

    alone = enrolled(encoder, crops(0, 0, 1, 2))
    mixed = enrolled(encoder, [*crops(0, 0, 1, 2), 255 - crops(0, 3)[0]])

    assert alone.strangers == ()
    assert mixed.strangers == (3,)
    assert min(alone.alike) > mixed.alike[3]


def test_of_two_photos_that_differ_neither_is_the_person():
    assert strangers(np.array([[1, 0.1], [0.1, 1]]), 0.5) == (1,)
    assert strangers(np.ones((1, 1)), 0.5) == ()
    chained = np.array([[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]])
    assert strangers(chained, 0.5) == ()


def test_a_bundle_that_nobody_measured_or_of_something_else_is_refused(place, tmp_path):
    shutil.copytree(place / "run/bundle", tmp_path / "unmeasured")
    manifest = read_bundle(tmp_path / "unmeasured")
    write_bundle(tmp_path / "unmeasured", manifest.model_copy(update={"quality": {}}))

    with pytest.raises(BadInput, match="nobody measured"):
        open_encoder(tmp_path / "unmeasured")

    ports = tuple(
        port.model_copy(update={"name": "image_out"}) for port in manifest.models[0].outputs
    )
    model = manifest.models[0].model_copy(update={"outputs": ports})
    write_bundle(tmp_path / "unmeasured", manifest.model_copy(update={"models": (model,)}))
    with pytest.raises(BadInput, match="not of an identity encoder"):
        open_encoder(tmp_path / "unmeasured")


def test_without_an_encoder_it_says_how_one_is_made(tmp_path, capfd, monkeypatch):
    def none_ships(name):
        raise BadInput(f"no {name}", hint="install it")

    monkeypatch.setattr("edgekit.core.assets.asset_folder", none_ships)
    Image.new("RGB", (64, 64)).save(tmp_path / "one.png")

    code, _, said = edgekit(capfd, "identity", "enrol", tmp_path, "-o", tmp_path / "me.code")

    assert code == 2
    assert "edgekit identity train" in said
    assert not (tmp_path / "me.code").exists()


@pytest.fixture(scope="module")
def portraits(tmp_path_factory) -> Path:
    """Photos of one face (skimage's astronaut) at three sizes and lights."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("portraits")
    head = data.astronaut()[:300, 60:360]
    for i, (side, light) in enumerate(((300, 0), (260, 15), (340, -10))):
        lit = np.clip(resized(head, side, side).astype(int) + light, 0, 255).astype(np.uint8)
        Image.fromarray(lit).save(folder / f"{i}.png")
    return folder


def enrol(place: Path, photos: Path, out: Path, *words: object) -> list[object]:
    encoder = ["--encoder", place / "run/bundle"]
    return ["identity", "enrol", photos, "-o", out, *encoder, *words]


@needs.FACES
def test_the_bundle_of_a_restorer_brings_the_encoder_of_its_codes(
    place, portraits, make_bundle, tmp_path, capfd
):
    encoder, outer = place / "run/bundle", make_bundle(tmp_path / "bundle")
    shutil.copytree(encoder, outer / "identity")
    sha256 = file_sha256(outer / "identity/manifest.json")
    part = PartEntry(name="identity", path="identity", form="identity", sha256=sha256)
    manifest = read_bundle(outer).model_copy(update={"form": "restorer", "parts": (part,)})
    write_bundle(outer, manifest)

    words = ["identity", "enrol", portraits, "-o", tmp_path / "me.code", "--encoder", outer]
    status, _, _ = edgekit(capfd, *words)

    assert status == 0
    made_by = read_identity(tmp_path / "me.code").encoder_sha256
    assert made_by == read_bundle(encoder).student.sha256


@needs.FACES
def test_photos_become_a_code_that_is_shown_compared_and_deleted(place, portraits, tmp_path, capfd):
    one, two = tmp_path / "one.code", tmp_path / "two.code"
    code, out, _ = edgekit(capfd, *enrol(place, portraits, one, "--json"))
    made = json.loads(out)
    assert code == 0
    assert made["bytes"] <= 65536
    assert len(made["photos"]) == 3
    assert made["left_out"] == {}

    assert edgekit(capfd, *enrol(place, portraits / "0.png", two, "--date"))[0] == 0
    code, out, _ = edgekit(capfd, "identity", "show", two, "--json")
    assert (code, json.loads(out)["photos"]) == (0, 1)
    assert json.loads(out)["created"] is not None
    assert read_identity(one).created is None

    code, out, _ = edgekit(capfd, "identity", "compare", one, one, "--json")
    assert (code, json.loads(out)["same_person"]) == (0, True)
    code, out, _ = edgekit(capfd, "identity", "compare", one, two, "--json")
    assert (code, json.loads(out)["similarity"] < 1) == (0, True)

    code, out, _ = edgekit(capfd, "identity", "delete", one, two)
    assert code == 0
    assert list(tmp_path.iterdir()) == []


@needs.FACES
def test_photos_without_a_face_are_left_out_and_other_people_refused(
    place, portraits, tmp_path, capfd
):
    folder, out = tmp_path / "photos", tmp_path / "me.code"
    shutil.copytree(portraits, folder)
    Image.new("RGB", (200, 200), "green").save(folder / "lawn.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    code, _, said = edgekit(capfd, *enrol(place, folder, out))
    assert code == 0
    assert "lawn.png: no face was found" in said
    assert "broken.jpg" in said
    assert read_identity(out).photos == 3

    # Another person as far as this encoder of coloured blobs can tell: other colours.
    with Image.open(portraits / "1.png") as photo:
        Image.fromarray(np.asarray(photo)[..., ::-1] // 2).save(folder / "stranger.png")
    code, _, said = edgekit(capfd, *enrol(place, folder, out, "--replace"))
    assert code == 4
    assert "stranger.png does not look like the person" in said
    code, _, said = edgekit(capfd, *enrol(place, folder, out, "--replace", "--any-person"))
    assert code == 0
    assert "warning: " in said
    assert read_identity(out).photos == 4


@needs.FACES
def test_a_folder_without_any_face_writes_nothing(place, tmp_path, capfd):
    Image.new("RGB", (200, 200), "green").save(tmp_path / "lawn.png")

    code, _, said = edgekit(capfd, *enrol(place, tmp_path, tmp_path / "me.code"))

    assert code == 4
    assert "none of 1 photos shows a face" in said
    assert not (tmp_path / "me.code").exists()


@needs.FACES
def test_enrolling_needs_no_torch(place, portraits, tmp_path):
    program = (
        "import sys; from edgekit.cli.main import run; "
        f"code = run({[str(w) for w in enrol(place, portraits, tmp_path / 'me.code', '-q')]!r}); "
        "assert code == 0, code; assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_code_that_is_there_is_not_overwritten_unless_asked(place, tmp_path, capfd):
    out = tmp_path / "me.code"
    out.write_bytes(b"something")
    Image.new("RGB", (64, 64)).save(tmp_path / "one.png")

    code, _, said = edgekit(capfd, *enrol(place, tmp_path, out))

    assert code == 2
    assert "--replace" in said
    assert out.read_bytes() == b"something"


def test_a_student_folder_that_was_changed_is_not_read(place, tmp_path):
    from edgekit.distill.identity.student import read_encoder

    shutil.copytree(place / "run", tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))
    weights = tmp_path / "run/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"0000")

    with pytest.raises(BadInput, match="does not hold the encoder"):
        read_encoder(tmp_path / "run")
    assert "decoder" not in str(read_json(place / "run/manifest.json")["files"])
