"""The Android app tested without a phone: its classes and its APK's bytecode on a desktop JVM.

Skipped without the tools (android_demo/setup.sh). `make test-android` fetches them and runs all of
this; `make test` leaves out what needs an APK.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from tests import needs
from tests.android.jvm import (
    CLASSES,
    LINES,
    PORTRAITS,
    REQUIRED,
    compiled_tests,
    count,
    from_dex,
    installed,
    junit,
    made_bundles,
)
from tests.android.portraits import made_portraits
from tests.conftest import write_bundle

from edgekit.benchmarks.devices.samples import samples_of
from edgekit.cli.main import run
from edgekit.core.errors import BadInput
from edgekit.core.face_nets import NETS
from edgekit.runtime.apps.android import PASSWORD, apksigner, build_android
from edgekit.runtime.apps.android_assets import LIST
from edgekit.runtime.apps.android_code import Code, built_code, facts, kotlin
from edgekit.runtime.apps.android_tools import Tools, called, sources
from edgekit.runtime.apps.android_zip import misaligned

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("android")]
TESTS, OF_PORTRAITS = 44, 8
"""Fewer would mean that a test was lost on the way."""


@pytest.fixture(scope="module")
def kit() -> Tools:
    return installed()


@pytest.fixture(scope="module")
def code(kit) -> Code:
    return built_code(kit)


@pytest.fixture(scope="module")
def bundles(kit, tmp_path_factory) -> Path:
    return made_bundles(tmp_path_factory.mktemp("android"), write_bundle)


@pytest.fixture(scope="module")
def portraits(bundles) -> Path:
    """The restorer that ships, exported beside the other bundles."""
    return made_portraits(bundles)


@pytest.fixture(scope="module")
def whole() -> None:
    """Skips unless everything was asked for: an APK takes a minute of processor time."""
    if not os.environ.get(REQUIRED):
        pytest.skip("run make test-android: the APK was not built")


@pytest.fixture(scope="module")
def apk(whole, kit, bundles, portraits, tmp_path_factory) -> Path:
    """An app with a single model, a base and a restorer, made by the command."""
    out = tmp_path_factory.mktemp("apk") / "demo.apk"
    words = ["app", bundles / "single", bundles / "base", portraits, "--target", "android"]
    words += ["--out", out]
    assert run([str(word) for word in [*words, "-q"]]) == 0
    return out


def test_the_core_and_real_inference_on_the_jvm(kit, code, bundles):
    said = junit(kit, code, [code.classes, kit.onnxruntime / "classes.jar"], bundles)

    assert count(said) >= TESTS
    lines = [json.loads(line) for line in (bundles / LINES).read_text().splitlines()]
    found = samples_of(lines)  # the app's lines are read as those of any runner
    assert (len(found.warm_ms), len(found.wall_ms), len(found.cpu_ms)) == (2, 12, 12)
    assert found.ended == "done"
    assert min(found.first_ms, found.loads_ms[0], found.peak_kb, *found.wall_ms) > 0


@needs.FACES
def test_a_photo_of_a_face_is_restored_on_the_jvm_as_by_edgekit_restore(
    kit, code, bundles, portraits
):
    classes = [code.classes, kit.onnxruntime / "classes.jar"]

    assert count(junit(kit, code, classes, bundles, PORTRAITS)) >= OF_PORTRAITS


def test_the_same_tests_pass_on_the_bytecode_taken_from_the_signed_apk(
    kit, code, bundles, apk, tmp_path
):
    back = from_dex(kit, apk, tmp_path)
    with zipfile.ZipFile(back) as held:
        names = set(held.namelist())

    assert {"dev/edgekit/core/Editor.class", "ai/onnxruntime/OrtSession.class"} <= names
    assert count(junit(kit, code, [back], bundles, [*CLASSES, *PORTRAITS])) >= TESTS + OF_PORTRAITS


def test_the_apk_is_signed_by_schemes_2_and_3_and_aligned(kit, apk):
    assert apksigner(kit, "verify", "--min-sdk-version", facts().min_sdk, "-Werr", apk) == ""
    done = kit.java(
        "com.android.apksigner.ApkSignerTool",
        *("verify", "--verbose", apk),
        jars=[kit.jar("apksigner"), kit.jar("apksig")],
    )
    for scheme in ("v2 scheme (APK Signature Scheme v2): true", "Scheme v3): true"):
        assert scheme in done.stdout
    assert misaligned(apk) == []


def test_an_apk_that_was_changed_does_not_verify(kit, apk, tmp_path):
    data = bytearray(apk.read_bytes())
    at = data.index(b"assets/bundles.json") + 40
    data[at] ^= 1
    (tmp_path / "changed.apk").write_bytes(data)

    assert apksigner(kit, "verify", tmp_path / "changed.apk") != ""


def test_what_aapt_reads_is_what_gradles_file_states(kit, apk):
    told = facts()
    said = called([str(kit.folder / "aapt2"), "dump", "badging", str(apk)]).stdout

    assert f"package: name='{told.package}' versionCode='{told.version_code}'" in said
    assert f"versionName='{told.version_name}'" in said
    assert re.findall(r"^(?:sdk|targetSdk)Version:'(\d+)'$", said, re.MULTILINE) == [
        told.min_sdk,
        told.target_sdk,
    ]
    assert re.findall(r"uses-permission: name='([^']+)'", said) == ["android.permission.CAMERA"]
    assert "INTERNET" not in said
    assert "launchable-activity: name='dev.edgekit.demo.MainActivity'" in said
    assert re.findall(r"^native-code: (.*)$", said, re.MULTILINE) == ["'arm64-v8a'"]
    assert not re.search(r"^  uses-feature: name='android.hardware.camera'$", said, re.MULTILINE)


def test_no_part_of_the_apk_starts_the_runtimes_telemetry(kit, apk):
    words = [str(kit.folder / "aapt2"), "dump", "xmltree", "--file", "AndroidManifest.xml"]
    said = called([*words, str(apk)]).stdout

    assert said.count("E: provider") == 1
    assert "dev.edgekit.demo.ShareProvider" in said
    assert "Telemetry" not in said


def test_the_apk_holds_the_bundles_their_concepts_and_the_notices(apk):
    with zipfile.ZipFile(apk) as held:
        names = set(held.namelist())
        dex = held.read("classes.dex")

    assert f"assets/{LIST}" in names
    assert "assets/bundles/toy/manifest.json" in names
    assert "assets/bundles/restorer/onnx/restorer.fp32.onnx" in names
    assert {f"assets/nets/{net.name}.onnx" for net in NETS} <= names
    assert len([n for n in names if n.startswith("assets/bundles/base/adapters/")]) == 2
    assert not any(name.endswith((".tflite", ".mlpackage")) for name in names)
    assert {"assets/NOTICE.txt", "lib/arm64-v8a/libonnxruntime.so"} <= names
    assert dex.startswith(b"dex\n038")


def test_the_same_input_gives_the_same_bytes_and_other_processors_their_libraries(
    kit, bundles, apk, tmp_path
):
    held = [bundles / name for name in ("single", "base", "portraits")]
    again = build_android(held, tmp_path / "again.apk")
    emulator = build_android([bundles / "base"], tmp_path / "x86.apk", abis=["x86_64"])

    assert again.apk.read_bytes() == apk.read_bytes()
    with zipfile.ZipFile(emulator.apk) as held:
        names = held.namelist()
    libraries = [name for name in names if name.startswith("lib/")]
    assert not [name for name in names if name.startswith("assets/nets/")]
    assert {name.split("/")[1] for name in libraries} == {"x86_64"}


def test_a_key_of_ones_own_signs_and_a_wrong_password_loses_nothing(
    whole, kit, toy_bundle, tmp_path, monkeypatch
):
    key, out = tmp_path / "mine.p12", tmp_path / "demo.apk"
    words = ["keytool", "-genkeypair", "-keystore", str(key), "-storetype", "PKCS12", "-alias"]
    words += ["mine", "-keyalg", "EC", "-storepass", "correct", "-dname", "CN=Mine"]
    subprocess.run(words, check=True, capture_output=True)
    monkeypatch.setenv(PASSWORD, "correct")
    build_android([toy_bundle], out, keystore=key)
    said = kit.java(
        "com.android.apksigner.ApkSignerTool",
        *("verify", "--print-certs", out),
        jars=[kit.jar("apksigner"), kit.jar("apksig")],
    ).stdout
    before = out.read_bytes()

    assert "CN=Mine" in said
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(BadInput, match="cannot sign the app"):
        build_android([toy_bundle], out, keystore=key)
    assert out.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"mine.p12", "demo.apk"}


def test_the_litert_flavour_fits_a_description_of_litert_and_the_engine_interface(
    whole, kit, code, tmp_path
):
    """Finds our own slips; it proves nothing about LiteRT itself, which is not here."""
    folders = [Path(__file__).parent / "litert", sources() / "app/src/litert/kotlin"]

    kotlin(kit, tmp_path, folders, [code.classes])

    assert (tmp_path / "dev/edgekit/engine/LiteRtEngine.class").is_file()


def test_tests_are_compiled_again_only_when_something_changed(kit, code):
    first = compiled_tests(kit, code)
    stamp = first.stat().st_mtime_ns

    assert compiled_tests(kit, code) == first
    assert first.stat().st_mtime_ns == stamp
