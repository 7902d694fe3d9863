"""The app's JUnit tests on this machine's JVM: against the app's classes, or an APK's dex."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_cache_path
from tests.concepts import tiny_run
from tests.students import smooth_photos, tiny_base

from edgekit.cli.main import run
from edgekit.core.errors import EdgekitError
from edgekit.runtime import open_bundle
from edgekit.runtime.apps.android_code import Code, kotlin
from edgekit.runtime.apps.android_tools import ENVIRONMENT, Tools, sources, tools

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = "EDGEKIT_REQUIRE_ANDROID"
"""Set by `make test-android`: a missing tool then fails a test instead of skipping it."""
SIZE = 32
LINES = "bench.jsonl"
"""What RealModelTest's benchmark wrote."""
CLASSES = ("GoldenTest", "FacesTest", "CoreTest", "RealModelTest")
PORTRAITS = ("PortraitTest",)
"""What needs the nets that find faces: tests.android.portraits."""


def installed() -> Tools:
    """Return the tools of the user's own cache (tests have another one); skips without them."""
    os.environ.setdefault(ENVIRONMENT, str(user_cache_path("edgekit") / "android"))
    try:
        return tools()
    except EdgekitError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(f"{error.what} ({error.hint}): the app was not tested on the JVM")


def made_bundles(folder: Path, toy: Callable[[Path], Path]) -> Path:
    """Write `single` (by `toy`), `base` and `photo.json`: what RealModelTest opens.

    The photo's file holds what Python's runtime makes of it with each.
    """
    place = folder / "bundles"
    toy(place / "single")
    tiny_base(folder / "tiny")
    for seed, name in enumerate(("night", "snow")):
        tiny_run(folder / name, folder / "tiny", f"make it {name}", seed=seed)
    words: list[object] = ["export", "--base", "--base-folder", folder / "tiny", "--size", SIZE]
    words += ["--target", "onnx", "--precision", "fp32", "--out", folder / "base-run", "-q"]
    assert run([str(w) for w in words]) == 0
    words = ["adapters", "add", folder / "base-run", folder / "night", folder / "snow"]
    assert run([str(w) for w in [*words, "--base-folder", folder / "tiny", "-q"]]) == 0
    (folder / "base-run" / "bundle").rename(place / "base")
    photo = smooth_photos(1, 80)[0][:45, :70]
    alone = open_bundle(place / "single", target="onnx", precision="fp32", threads=1)
    base = open_bundle(place / "base", target="onnx", threads=1)
    made = {
        "photo": photo,
        "single": alone.edit(photo),
        "first": base.switched("night").edit(photo),
        "second": base.switched("snow").edit(photo),
        "blend": base.blended({"night": 0.6, "snow": 0.4})[0].edit(photo),
    }
    assert len({row.tobytes() for row in made.values()}) == len(made)
    facts = {name: np.asarray(row).reshape(-1).tolist() for name, row in made.items()}
    (place / "photo.json").write_text(json.dumps({"height": 45, "width": 70, **facts}))
    return place


def compiled_tests(kit: Tools, code: Code) -> Path:
    """Return the folder of the tests' classes, compiled unless they did not change."""
    folder = sources() / "core/src/test/kotlin"
    digest = hashlib.sha256(code.dex.read_bytes())
    for path in sorted(folder.rglob("*.kt")):
        digest.update(path.read_bytes())
    place = code.dex.parent / f"tests-{digest.hexdigest()[:16]}"
    if not place.is_dir():
        with tempfile.TemporaryDirectory(dir=place.parent) as work:
            made = Path(work) / "made"
            made.mkdir()
            kotlin(kit, made, [folder], [code.classes, kit.jar("junit4")])
            made.rename(place)
    return place


def junit(
    kit: Tools, code: Code, classes: list[Path], bundles: Path, tests: Sequence[str] = CLASSES
) -> str:
    """Run `tests` against `classes` (the app's) and return what JUnit said; fails with it."""
    jars = [compiled_tests(kit, code), kit.kotlin_library, *classes]
    jars += [kit.jar("junit4"), kit.jar("hamcrest")]
    done = kit.java(
        "org.junit.runner.JUnitCore",
        *(f"dev.edgekit.core.{name}" for name in tests),
        jars=jars,
        options=[
            *("-Xverify:all", "-XX:+UseSerialGC", "-Xshare:auto"),
            f"-Donnxruntime.native.path={kit.onnxruntime / 'linux'}",
            f"-Dedgekit.golden={ROOT / 'tests/golden'}",
            f"-Dedgekit.bundles={bundles}",
            f"-Dedgekit.lines={bundles / LINES}",
        ],
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def count(said: str) -> int:
    """Return the number of tests that passed."""
    found = re.search(r"^OK \((\d+) tests\)$", said, re.MULTILINE)
    assert found is not None, said
    return int(found[1])


def from_dex(kit: Tools, apk: Path, folder: Path) -> Path:
    """Take classes.dex out of an APK and return it as a jar of JVM bytecode."""
    with zipfile.ZipFile(apk) as held:
        held.extract("classes.dex", folder)
    done = subprocess.run(
        [sys.executable, "-m", "enjarify.main", "classes.dex", "-o", "back.jar", "-f"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(kit.folder / "root/usr/lib/python3/dist-packages")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert " 0 classes had errors" in done.stdout, done.stdout[-500:]
    return folder / "back.jar"
