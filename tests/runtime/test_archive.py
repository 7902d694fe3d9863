"""A bundle as a zip file: verified like a folder, unpacked without leaving its place."""

import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.cli.main import run
from edgekit.core.errors import BadInput
from edgekit.core.manifest import BundleManifest, read_bundle, write_bundle
from edgekit.core.store import file_sha256
from edgekit.runtime import archive
from edgekit.runtime.archive import unpacked
from edgekit.runtime.verify import verify_bundle

FILES = (("onnx/toy.fp32.onnx", "onnx", "fp32"), ("ios/toy.fp16.mlpackage", "ios", "fp16"))


def packed(folder: Path, path: Path, *, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, inside + file.relative_to(folder).as_posix())
    return path


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A bundle with an adapter, whose manifest is sealed as the exporter's are."""
    from tests.conftest import write_bundle as toy

    folder = toy(tmp_path_factory.mktemp("sealed") / "bundle", files=FILES)
    adapter = folder / "adapters/toy.safetensors"
    adapter.parent.mkdir()
    adapter.write_bytes(b"factors of a layer")
    value = json.loads((folder / "manifest.json").read_text())
    value["adapters"] = [
        {
            "name": "toy",
            "path": "adapters/toy.safetensors",
            "sha256": file_sha256(adapter),
            "bytes": adapter.stat().st_size,
        }
    ]
    (folder / "ios/toy.fp16.mlpackage/Data").mkdir()
    (folder / "ios/toy.fp16.mlpackage/Data/model.mlmodel").write_bytes(b"a model")
    value["models"][1]["sha256"] = file_sha256(folder / "ios/toy.fp16.mlpackage")
    (folder / "ios/toy.fp16.mlpackage/Manifest.json").write_text("{}")
    value["models"][1]["sha256"] = file_sha256(folder / "ios/toy.fp16.mlpackage")
    write_bundle(folder, BundleManifest.model_validate(value))
    return folder


@pytest.mark.parametrize("inside", ["", "night/"])
def test_a_zipped_bundle_is_verified_like_its_folder(sealed, tmp_path, capsys, monkeypatch, inside):
    monkeypatch.setattr("edgekit.cli.verify.evaluators", dict)  # torch would be loaded for them
    path = packed(sealed, tmp_path / "bundle.zip", inside=inside)

    code = run(["verify", str(path), "--json", "-q"])

    rows = {row["path"]: row["status"] for row in json.loads(capsys.readouterr().out)["checks"]}
    assert code == 0
    assert rows["onnx/toy.fp32.onnx"] == "ok"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_one_flipped_bit_in_any_file_of_the_bundle_is_found(sealed, data):
    files = sorted(p for p in sealed.rglob("*") if p.is_file() and p.name != ".lock")
    file = data.draw(st.sampled_from(files), label="file")
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1), label="byte")
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    file.write_bytes(bytes(flipped))
    try:
        found = verify_bundle(sealed).passed
    except BadInput:
        found = False
    finally:
        file.write_bytes(whole)

    assert not found


def test_the_untouched_bundle_passes(sealed):
    found = verify_bundle(sealed)

    assert found.passed
    assert [check.target for check in found.concepts] == ["adapter"]


def test_a_manifest_that_was_edited_is_refused_and_one_without_a_seal_is_read(sealed, tmp_path):
    value = json.loads((sealed / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**value, "prompt": "make it day"}))

    with pytest.raises(BadInput, match="was changed after it was written"):
        read_bundle(tmp_path)

    del value["manifest_sha256"]
    (tmp_path / "manifest.json").write_text(json.dumps({**value, "prompt": "make it day"}))
    assert read_bundle(tmp_path).prompt == "make it day"


def hostile(path: Path, name: str, *, link: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo(name)
        if link:
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("../outside", False),
        ("/etc/outside", False),
        ("a/../../outside", False),
        ("..\\outside", False),
        ("C:outside", False),
        ("golden", True),
    ],
)
def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path, name, link):
    path = hostile(tmp_path / "hostile.zip", name, link=link)

    with pytest.raises(BadInput, match="does not stay inside"), unpacked(path):
        pass

    assert sorted(p.name for p in tmp_path.iterdir()) == ["hostile.zip"]


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("MANIFEST.json", "{}")

    with pytest.raises(BadInput, match="there twice"), unpacked(path):
        pass


def test_a_zip_larger_than_any_bundle_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 10_000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("zeros", np.zeros(20_000, np.uint8).tobytes())

    with pytest.raises(BadInput, match="more than a bundle"), unpacked(path):
        pass


@pytest.mark.parametrize(
    ("content", "code", "cause"),
    [
        (b"no zip at all", 4, "is not a zip file"),
        (None, 4, "holds no bundle"),
    ],
)
def test_what_is_no_bundle_in_a_zip_is_bad_input(tmp_path, capsys, content, code, cause):
    path = tmp_path / "b.zip"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    else:
        path.write_bytes(content)

    assert run(["verify", str(path), "-q"]) == code
    complaint = capsys.readouterr().err
    assert cause in complaint
    assert complaint.count("\n") == 2


def test_a_damaged_zip_does_not_pass(sealed, tmp_path, capsys):
    path = packed(sealed, tmp_path / "b.zip")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 0xFF
    path.write_bytes(bytes(whole))

    assert run(["verify", str(path), "-q"]) in (4, 5)
    assert "Traceback" not in capsys.readouterr().err
