"""A student with a part and an asset becomes one bundle, checked to the last file."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.export.programs import write_student
from torch import nn

from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.manifest import BundleManifest, read_bundle
from edgekit.core.store import MANIFEST, file_sha256, read_json, write_json
from edgekit.export import bundle as bundle_module
from edgekit.export.bundle import export_student
from edgekit.export.entries import form_of
from edgekit.export.program import read_student
from edgekit.export.resize import student_at
from edgekit.export.targets import Options
from edgekit.runtime.bundle import asset_path, open_bundle, open_part
from edgekit.runtime.sessions import open_session
from edgekit.runtime.verify import verify_bundle


class Layer(nn.Module):
    """Less than a network: what these tests are about lies around it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(image))


def student_of(folder: Path, **facts: object) -> Path:
    write_student(folder, Layer(), size=16)
    told = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, {**told, "adapter": None, **facts})
    return folder


def exported(student: Path, out: Path, **more: object) -> BundleManifest:
    kept = {"open_session": open_session, "precisions": ["fp32"], "isolated": False}
    return export_student(student, ["onnx"], out, **(kept | more))


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A student shaped like a mesh generator: a part, a file of words, a lattice."""
    folder = student_of(
        tmp_path_factory.mktemp("parts") / "things",
        form="mesh",
        parts={"field": "field"},
        assets={"words": "words.safetensors"},
        lattice={"cells": 48, "deform": 0.9},
        prompts={"train": ["a red cone"], "unseen": ["a blue cone"]},
    )
    student_of(folder / "field", form="field", name="things field")
    (folder / "words.safetensors").write_bytes(b"words")
    exported(folder, folder.with_name("b"))
    return folder


@pytest.fixture
def generator(original, tmp_path) -> Path:
    """A copy of the student."""
    return shutil.copytree(original, tmp_path / "things")


@pytest.fixture
def bundle(original, tmp_path) -> Path:
    """A copy of what was exported of it."""
    return shutil.copytree(original.with_name("b"), tmp_path / "b")


def test_parts_and_assets_travel_in_the_bundle(bundle):
    made = read_bundle(bundle, check_files=True)

    (part,), (asset,) = made.parts, made.assets
    assert (part.name, part.path, part.form) == ("field", "field", "field")
    assert part.sha256 == file_sha256(bundle / "field/manifest.json")
    assert (asset.name, asset.path, asset.bytes) == ("words", "words.safetensors", 5)
    assert made.mesh is not None
    assert made.mesh.prompts == ("a red cone", "a blue cone")  # what it learned comes first
    assert made.form == "mesh"


def test_a_bundle_stays_whole_when_the_export_of_more_files_ends_behind_its_parts(
    generator, bundle, monkeypatch
):
    run_jobs = bundle_module.run_jobs

    def until_the_bundle(jobs, *args, **more):
        if jobs[0].student == generator:
            raise KeyboardInterrupt
        run_jobs(jobs, *args, **more)

    monkeypatch.setattr(bundle_module, "run_jobs", until_the_bundle)
    with pytest.raises(KeyboardInterrupt):
        exported(generator, bundle, precisions=["fp32", "fp16"])

    assert read_bundle(bundle, check_files=True).form == "mesh"
    assert len(read_bundle(bundle / "field").models) == 2


def test_the_runtime_opens_a_part_and_names_an_asset(bundle):
    opened = open_bundle(bundle)

    field = open_part(opened, "field")

    assert field.manifest.name == "things field"
    assert asset_path(opened, "words").read_bytes() == b"words"
    with pytest.raises(BadInput, match="no part 'enroller'"):
        open_part(opened, "enroller")


@pytest.mark.parametrize(
    "path", ["field/onnx/things-field.fp32.onnx", "field/manifest.json", "words.safetensors"]
)
def test_a_change_deep_inside_is_found(bundle, path):
    changed = bundle / path
    changed.write_bytes(changed.read_bytes() + b" ")

    with pytest.raises(BadInput, match="not the file that was exported"):
        read_bundle(bundle, check_files=True)

    found = verify_bundle(bundle)
    rows = {check.path: check.status for check in (*found.checks, *found.concepts)}
    assert rows[path] == "failed"
    assert list(rows.values()).count("failed") == 1


def test_the_same_export_again_makes_nothing(generator, bundle):
    before = read_bundle(bundle), (bundle / "manifest.json").stat().st_mtime_ns

    again = exported(generator, bundle)

    assert (again, (bundle / "manifest.json").stat().st_mtime_ns) == before


def test_another_part_and_other_words_make_another_bundle(generator, bundle):
    first = read_bundle(bundle)
    field = read_json(generator / "field/manifest.json")
    write_json(generator / "field/manifest.json", {**field, "name": "other"})
    (generator / "words.safetensors").write_bytes(b"other words")

    second = exported(generator, bundle)

    assert second.parts != first.parts
    assert read_bundle(bundle / "field").name == "other"
    assert second.recipe_sha256 != first.recipe_sha256
    assert (bundle / "words.safetensors").read_bytes() == b"other words"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"parts": {"golden": "field"}}, "no name for one"),
        ({"parts": {"../up": "field"}}, "no name for one"),
        ({"parts": {"field": "nowhere"}}, "does not exist"),
        ({"parts": {"identity": "field"}}, "another encoder"),
        ({"assets": {"gone": "gone.bin"}}, "gone.bin is missing"),
    ],
)
def test_a_student_that_names_nonsense_is_refused_before_any_work(generator, tmp_path, facts, told):
    write_json(generator / MANIFEST, {**read_json(generator / MANIFEST), **facts})

    with pytest.raises(BadInput, match=told):
        exported(generator, tmp_path / "b")

    assert not (tmp_path / "b").exists()


def test_a_student_with_parts_keeps_its_size(generator, tmp_path):
    with pytest.raises(TargetUnsupported, match="has parts"):
        student_at(generator, 32, tmp_path / "b")
    with pytest.raises(TargetUnsupported, match="has parts"):
        exported(generator, tmp_path / "b", options=Options(sizes=(16, 32)))


@pytest.mark.parametrize(
    ("facts", "form"),
    [
        ({}, "concept"),
        ({"form": "enroller"}, "enroller"),
        ({"adapter_input": {}}, "base"),
        ({"inputs": [{"name": "text", "shape": [1, 8], "layout": "flat"}]}, "other"),
    ],
)
def test_the_form_is_told_or_seen_from_the_ports(generator, facts, form):
    told = read_json(generator / MANIFEST)
    write_json(generator / MANIFEST, {**told, "form": None, **facts})

    assert form_of(read_student(generator)) == form
