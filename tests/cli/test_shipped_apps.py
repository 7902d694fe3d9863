"""``edgekit app shipped:restorer``: each kind of app holds what its reader asks for, unbroken.

The restorer that lies where the shipped one would is a toy without references, as what ships.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from tests import needs
from tests.runtime.test_web_app import installed_libraries
from tests.shipped import SIZE

from edgekit.cli.main import run
from edgekit.core.face_nets import NETS
from edgekit.core.manifest import BundleManifest, read_bundle
from edgekit.core.store import MANIFEST, file_sha256
from edgekit.distill.ship import ship
from edgekit.export import bundle
from edgekit.export.targets import TARGETS
from edgekit.runtime.apps.android_assets import ASSETS
from edgekit.runtime.apps.web import sources

pytestmark = [needs.FACES, pytest.mark.xdist_group("cli-test_shipped_cli")]  # the same toys
FINDERS = {net.name: [1, net.side_px, net.side_px, 3] for net in NETS}
READ = """
import { readFileSync } from "node:fs";
import { checkedManifest, picturePort, runnable, tileSize } from "./manifest.js";
const manifest = checkedManifest(JSON.parse(readFileSync(process.argv[1])));
const ports = ({ inputs, outputs }) => [inputs, outputs].map((some) => tileSize(picturePort(some)));
console.log(JSON.stringify(runnable(manifest).map((model) => [model.path, ports(model)])));
"""
"""What the page's own modules say of a manifest: the files that it may choose, with their sizes."""


@pytest.fixture(scope="module")
def shelf(shipped_toys, tmp_path_factory) -> Path:
    """``assets`` with a restorer that takes no references, and a ``cache`` for its exports."""
    place, toys = tmp_path_factory.mktemp("shelf"), shipped_toys / "runs"
    run_of = toys / "portraits"
    ship("restorer", run_of, place / "assets/restorer", faces=toys / "faces", alone=True)
    return place


@pytest.fixture
def made(shelf, tmp_path, monkeypatch, capfd) -> Callable[[str], Path]:
    """Make an app of a kind of what ships; return its folder."""
    monkeypatch.setattr("edgekit.core.assets.files", lambda package: shelf / "assets")
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(shelf / "cache"))
    here = partial(bundle.export_student, isolated=False)  # a process costs 5 s of imports
    monkeypatch.setattr(bundle, "export_student", here)
    monkeypatch.setattr("edgekit.core.seams.PRECISIONS", ("fp16",))  # each more costs seconds,
    monkeypatch.setitem(TARGETS, "ios", ("mlpackage",))  # and so does the converter for iOS 27

    def app(target: str) -> Path:
        out = tmp_path / "app"
        status = run(["app", "shipped:restorer", "--target", target, "--out", str(out)])
        assert status == 0, capfd.readouterr().err
        return out

    return app


def checked(folder: Path, formats: Sequence[str]) -> BundleManifest:
    """Return the manifest of a whole restorer that is told of nobody, in these formats alone."""
    manifest = read_bundle(folder, check_files=True)
    assert manifest.form == "restorer"
    assert {model.format for model in manifest.models} == set(formats)
    for model in manifest.models:
        assert [port.name for port in model.inputs] == ["image"]
        assert [port.name for port in model.outputs] == ["image_out"]
    listed = {*(model.path for model in manifest.models), manifest.golden.path, MANIFEST}
    inside = {part.path for part in manifest.parts}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        known = any(name == one or name.startswith(f"{one}/") for one in listed | inside)
        assert path.is_dir() or known, f"{name} is in no list"
    return manifest


def test_the_site_holds_a_bundle_that_the_page_reads_the_nets_and_all_that_it_imports(made):
    node = shutil.which("node") or pytest.skip("node is not installed")
    installed_libraries()

    site = made("web")

    listed = json.loads((site / "site.json").read_text())
    (row,) = listed["bundles"]
    manifest = checked(site / row["path"], ["tflite"])
    assert manifest.parts == ()
    assert {net["name"]: net["inputs"][0]["shape"] for net in listed["nets"]} == FINDERS
    for net in listed["nets"]:
        assert file_sha256(site / net["path"]) == net["sha256"]
    said = subprocess.run(
        [node, "--input-type=module", "-e", READ, str(site / row["path"] / MANIFEST)],
        cwd=sources() / "core",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    read = dict(json.loads(said.stdout))
    assert set(read) == {model.path for model in manifest.models}
    assert all(sizes == [[SIZE, SIZE]] * 2 for sizes in read.values())
    scripts = {name for name in listed["shell"] if name.endswith(".js")}
    asked = {
        (site / name).parent.joinpath(path).resolve().relative_to(site.resolve()).as_posix()
        for name in scripts
        for path in re.findall(r'(?:from|import\() ?"(\.[^"]+\.js)"', (site / name).read_text())
    }
    assert {"core/align.js", "core/resample.js"} <= asked
    assert "engines/litert.js" in scripts
    assert {name for name in asked if name.split("/")[0] not in ("engines", "lib")} <= scripts


def test_the_gradle_project_lists_the_bundle_and_the_nets_for_both_flavours(made):
    assets = made("android") / ASSETS

    listed = json.loads((assets / "bundles.json").read_text())
    (row,) = listed["bundles"]
    manifest = checked(assets / row["path"], ["onnx", "tflite"])
    assert manifest.parts == ()
    found = {(net["name"], net["format"]): net for net in listed["nets"]}
    assert set(found) == {(name, form) for name in FINDERS for form in ("onnx", "tflite")}
    for (name, _), net in found.items():
        assert [port["shape"] for port in net["inputs"]] == [FINDERS[name]]
        assert len(net["outputs"]) == 2
        assert file_sha256(assets / net["path"]) == net["sha256"]


def test_the_xcode_project_holds_the_bundle_with_the_nets_as_its_parts(made):
    pytest.importorskip("coremltools")

    project = made("ios")

    assert (project / "EdgeKitDemo.xcodeproj/project.pbxproj").is_file()
    (folder,) = (path for path in (project / "Bundles").iterdir() if path.is_dir())
    manifest = checked(folder, ["mlpackage"])
    assert [part.name for part in manifest.parts] == list(FINDERS)
    for part in manifest.parts:
        assert file_sha256(folder / part.path / MANIFEST) == part.sha256
        (model,) = read_bundle(folder / part.path, check_files=True).models
        assert model.format == "mlpackage"
        assert [list(port.shape) for port in model.inputs] == [FINDERS[part.name]]
        assert len(model.outputs) == 2
