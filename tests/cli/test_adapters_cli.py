"""A base exported once, concepts added to it, one photo through several: as a user meets it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.concepts import SIZE, edit, merged_student, tiny_run
from tests.students import smooth_photos, tiny_base

from edgekit.cli.main import run
from edgekit.core.concepts import read_concept, write_concept
from edgekit.core.manifest import read_bundle, write_bundle
from edgekit.core.store import read_json
from edgekit.distill.base import load_base
from edgekit.distill.lora import read_adapter

PROMPTS = {"night": "make it night", "snow": "make it snowy", "gold": "turn it into gold"}


def edgekit(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    said = capfd.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A tiny base, three runs on it, and the base exported for one runtime; not to be changed.

    The other formats are checked in tests/export/test_adapter_input.py.
    """
    folder = tmp_path_factory.mktemp("adapters")
    tiny_base(folder / "tiny")
    for seed, (name, prompt) in enumerate(PROMPTS.items()):
        tiny_run(folder / name, folder / "tiny", prompt, seed=seed)
    targets = ["--target", "onnx", "--precision", "fp32"]
    words = ["export", "--base", "--base-folder", folder / "tiny", "--size", SIZE, *targets]
    assert run([str(word) for word in [*words, "--out", folder / "base", "-q"]]) == 0
    runs = [folder / name for name in ("night", "snow")]
    words = ["adapters", "add", folder / "base", *runs, "--base-folder", folder / "tiny", "-q"]
    assert run([str(word) for word in words]) == 0
    Image.fromarray(smooth_photos(1, SIZE)[0]).save(folder / "photo.png")
    return folder


@pytest.fixture
def copied(place, tmp_path) -> Path:
    """A copy of the exported base that a test may change."""
    return shutil.copytree(place / "base", tmp_path / "base")


def merged_picture(place: Path, name: str) -> np.ndarray:
    """What the run's own student, adapter merged, makes of the photo; float RGB levels."""
    base = load_base(place / "tiny")
    student = merged_student(base, read_adapter(place / name / "adapter.safetensors"))
    photo = np.asarray(Image.open(place / "photo.png")).astype(np.float32) / 127.5 - 1
    made = edit(student, np.ascontiguousarray(photo.transpose(2, 0, 1)[None]))
    return (made[0].transpose(1, 2, 0) + 1) * 127.5


def levels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file)).astype(np.float32)


def test_one_session_gives_the_merged_students_picture_of_each_concept(
    place, tmp_path, capfd, monkeypatch
):
    from edgekit.runtime import bundle

    opened = []
    original = bundle.open_session
    monkeypatch.setattr(
        bundle, "open_session", lambda path, **more: opened.append(path) or original(path, **more)
    )
    words = ["--concept", "night", "--concept", "make it snowy"]

    code, _, err = edgekit(
        capfd, "run", place / "base", place / "photo.png", *words, "-o", tmp_path / "out"
    )

    assert code == 0, err
    assert len(opened) == 1
    for name in ("night", "snow"):
        found = levels(tmp_path / "out" / f"photo-{name}.png")
        assert np.abs(found - merged_picture(place, name)).max() < 0.52  # rounding to a level
    assert np.abs(merged_picture(place, "night") - merged_picture(place, "snow")).max() > 8


def test_swapping_two_concepts_files_swaps_their_pictures(place, copied, tmp_path, capfd):
    bundle = copied / "bundle"
    night, snow = (bundle / f"adapters/{name}.safetensors" for name in ("night", "snow"))
    swapped = read_concept(night), read_concept(snow)
    for name in ("night", "snow"):
        assert edgekit(capfd, "adapters", "remove", copied, name)[0] == 0
    for file, concept in zip(("snow", "night"), swapped, strict=True):
        write_concept(tmp_path / f"{file}.safetensors", concept)
    files = [tmp_path / "night.safetensors", tmp_path / "snow.safetensors"]
    assert edgekit(capfd, "adapters", "add", copied, *files)[0] == 0

    edgekit(
        capfd, "run", copied, place / "photo.png", "--concept", "night", "-o", tmp_path / "o.png"
    )

    found = levels(tmp_path / "o.png")
    assert np.abs(found - merged_picture(place, "snow")).max() < 0.52
    assert np.abs(found - merged_picture(place, "night")).max() > 8


def test_a_blend_of_equal_parts_says_what_it_lost_and_lies_elsewhere(place, tmp_path, capfd):
    words = ["--blend", "night=0.5,snow=0.5", "-o", tmp_path / "o.png"]

    code, _, err = edgekit(capfd, "run", place / "base", place / "photo.png", *words)

    assert code == 0, err
    assert "of the change is lost" in err
    found = levels(tmp_path / "o.png")
    for name in ("night", "snow"):
        assert np.abs(found - merged_picture(place, name)).max() > 4


def test_a_folder_of_photos_gets_a_folder_a_concept(place, tmp_path, capfd):
    album = tmp_path / "album"
    album.mkdir()
    shutil.copy(place / "photo.png", album / "a.png")
    words = ["--concept", "night", "--concept", "snow", "-o", tmp_path / "out"]

    code, _, _ = edgekit(capfd, "run", place / "base", album, *words)

    made = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    assert (code, made) == (0, ["album-night/a.png", "album-snow/a.png"])


def test_an_adapter_of_another_base_is_refused_and_changes_nothing(place, copied, tmp_path, capfd):
    concept = read_concept(copied / "bundle/adapters/night.safetensors")
    other = {name: getattr(concept, name) for name in type(concept).__slots__}
    stranger = tmp_path / "stranger.safetensors"
    write_concept(stranger, type(concept)(**{**other, "base_sha256": "f" * 64}))
    before = (copied / "bundle/manifest.json").read_bytes()

    code, out, err = edgekit(capfd, "adapters", "add", copied, stranger)

    assert (code, out) == (4, "")
    assert "belongs to base ffffffffffff" in err
    assert (copied / "bundle/manifest.json").read_bytes() == before
    assert not (copied / "bundle/adapters/stranger.safetensors").exists()


def test_a_run_on_another_base_is_refused(place, copied, tmp_path, capfd):
    foreign = shutil.copytree(place / "gold", tmp_path / "gold")

    code, _, err = edgekit(capfd, "adapters", "add", copied, foreign)  # against the shipped base

    assert code == 4
    assert "belongs to base" in err


def test_a_concept_is_replaced_whole(place, copied, tmp_path, capfd):
    fresh = shutil.copy(copied / "bundle/adapters/snow.safetensors", tmp_path / "night.safetensors")

    code, _, _ = edgekit(capfd, "adapters", "add", copied, fresh)

    manifest = read_bundle(copied / "bundle", check_files=True)
    rows = {row.name: row.prompt for row in manifest.concepts}
    assert (code, rows) == (0, {"night": "make it snowy", "snow": "make it snowy"})
    assert len(list((copied / "bundle/adapters").glob("*.safetensors"))) == 2


def test_fifty_concepts_are_one_base_and_fifty_files(place, copied, tmp_path, capfd):
    """Fifty copies of a random adapter, each with other factors."""
    concept = read_concept(copied / "bundle/adapters/night.safetensors")
    values = {name: getattr(concept, name) for name in type(concept).__slots__}
    files = []
    for number in range(50):
        factors = concept.factors * (1 + 0.01 * number)
        files.append(tmp_path / f"c{number:02}.safetensors")
        write_concept(files[-1], type(concept)(**{**values, "factors": factors}))

    code, out, _ = edgekit(capfd, "adapters", "add", copied, *files, "--json")

    rows = [row for row in json.loads(out)["concepts"] if row["name"].startswith("c")]
    assert (code, len(rows), len({row["sha256"] for row in rows})) == (0, 50, 50)
    assert max(row["bytes"] for row in rows) <= 100_000
    assert len(read_bundle(copied / "bundle", check_files=True).models) == 1


@pytest.mark.slow
def test_another_file_of_the_base_keeps_the_concepts(copied):
    from edgekit.export.bundle import export_student
    from edgekit.runtime.sessions import open_session

    bundle = copied / "bundle"

    export_student(
        copied,
        ["onnx"],
        bundle,
        open_session=open_session,
        precisions=("fp16",),
        isolated=False,
    )

    manifest = read_bundle(bundle, check_files=True)
    assert [row.name for row in manifest.concepts] == ["night", "snow"]
    assert len(manifest.models) == 2


def test_verify_and_bench_take_a_base(place, copied, capfd):
    code, out, _ = edgekit(capfd, "verify", copied)
    assert code == 0
    assert out.count(" ok ") == 3

    code, out, err = edgekit(capfd, "bench", copied, "--calls", 2, "--baseline", "pytorch")

    assert code == 0, err
    assert "onnx/base.fp32.onnx" in out


def test_verify_finds_a_concept_that_was_changed(copied, capfd):
    with (copied / "bundle/adapters/snow.safetensors").open("ab") as file:
        file.write(b"x")

    code, out, err = edgekit(capfd, "verify", copied, "-q")

    assert code == 5
    assert "adapters/snow.safetensors is not the file that was added" in out
    assert "1 of 3 files failed" in err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "BASE", "PHOTO"], 2, "is a base and needs a concept"),
        (["run", "BASE", "PHOTO", "--concept", "nihgt"], 2, "did you mean 'night'?"),
        (["run", "BASE", "PHOTO", "--blend", "night"], 2, "is not NAME=WEIGHT"),
        (["run", "BASE", "PHOTO", "--blend", "night=0"], 2, "weight 0"),
        (["run", "BASE", "PHOTO", "--concept", "night", "--concept", "night"], 2, "named twice"),
        (
            ["run", "BASE", "PHOTO", "--concept", "night", "--concept", "snow", "-o", "o.png"],
            4,
            "2 pictures cannot be one file",
        ),
        (["adapters", "add", "BASE"], 2, "no concept is given"),
        (["adapters", "add", "BASE", "PHOTO"], 4, "is not a concept of edgekit"),
        (["adapters", "add", "BASE", "missing"], 4, "does not exist"),
        (["adapters", "remove", "BASE", "gold"], 2, "unknown concept 'gold'"),
        (["export", "night", "--base"], 2, "--base exports the base itself"),
        (["export", "night", "--capacity", "8"], 2, "--capacity needs --base"),
        (["export", "--base", "--capacity", "up=99"], 2, "rank 99 of up"),
        (["export", "--base", "--size", "50"], 2, "size 50 of the base"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_code(
    place, tmp_path, monkeypatch, capfd, words, code, sentence
):
    monkeypatch.chdir(tmp_path)
    stands = {"BASE": place / "base", "PHOTO": place / "photo.png"}

    found, out, err = edgekit(capfd, *(stands.get(word, word) for word in words), "-q")

    assert (found, out) == (code, "")
    assert sentence in err
    assert err.count("\n") == 2
    assert not list(tmp_path.rglob("*.png"))


def test_a_bundle_of_one_concept_cannot_be_switched(toy_bundle, place, tmp_path, capfd):
    words = ["--concept", "night", "-o", tmp_path / "o.png"]

    code, _, err = edgekit(capfd, "run", toy_bundle, place / "photo.png", *words)

    assert code == 4
    assert "holds one concept, merged in" in err
    assert edgekit(capfd, "adapters", "list", toy_bundle)[0] == 4


def test_a_killed_addition_leaves_a_whole_bundle(place, copied, tmp_path, capfd, monkeypatch):
    """The manifest cannot be written: the new file may lie there, the old bundle is intact."""
    fresh = shutil.copy(copied / "bundle/adapters/snow.safetensors", tmp_path / "night.safetensors")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgekit.runtime.concepts.write_bundle", killed)

    code, _, _ = edgekit(capfd, "adapters", "add", copied, fresh)

    assert code == 130
    rows = {
        row.name: row.prompt for row in read_bundle(copied / "bundle", check_files=True).concepts
    }
    assert rows == {"night": "make it night", "snow": "make it snowy"}


def test_the_manifest_tells_how_to_fill_the_input(place):
    manifest = read_json(place / "base/bundle/manifest.json")
    described = manifest["adapter_input"]

    filled = np.zeros(described["length"], int)
    for block in described["blocks"]:
        start = block["offset"]
        filled[start : start + block["rows"] * block["columns"]] += 1

    assert (filled == 1).all()
    ports = {port["name"]: port["shape"] for port in manifest["models"][0]["inputs"]}
    assert ports["adapter"] == [1, described["length"]]


def test_a_capacity_below_a_run_is_refused_with_the_remedy(place, copied, tmp_path, capfd):
    manifest = read_bundle(copied / "bundle")
    assert manifest.adapter_input is not None
    small = manifest.adapter_input.model_copy(
        update={"capacity": {**manifest.adapter_input.capacity, "up": 2}}
    )
    write_bundle(copied / "bundle", manifest.model_copy(update={"adapter_input": small}))
    file = shutil.copy(copied / "bundle/adapters/snow.safetensors", tmp_path / "more.safetensors")

    code, _, err = edgekit(capfd, "adapters", "add", copied, file)

    assert code == 4
    assert "has rank 4 in up, this base has room for 2" in err
    assert "--capacity down=4,ds=4,transformer=4,us=4,up=4" in err
