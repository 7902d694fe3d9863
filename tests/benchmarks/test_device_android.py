"""The runner for Android without the NDK: its dex bytecode, on a JVM. It was never on a phone.

`app_process` is a stand-in here: it starts a JVM with the jar's own bytecode, translated back, and
ONNX Runtime for this machine. Everything else (command line, files, links, lines) is what a phone
gets.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import platformdirs
import pytest
from tests import needs
from tests.benchmarks import android_texts as android

from edgekit.benchmarks.devices.app_process import MAIN, app_process_kit, runner_jar
from edgekit.benchmarks.devices.facts import DeviceFacts, read_facts
from edgekit.benchmarks.devices.kits import kit_for_device
from edgekit.benchmarks.devices.local import Local
from edgekit.benchmarks.devices.measure import bench_device
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.preflight import Limits
from edgekit.benchmarks.devices.runners import SOURCES
from edgekit.core.errors import DeviceUnreachable, EdgekitError
from edgekit.runtime.apps.android_tools import ENVIRONMENT, Tools, tools

pytestmark = [needs.ANDROID_TOOLS, pytest.mark.xdist_group("device")]
PHONE = {"abi": "x86_64", "sdk": "35", "battery": android.BATTERY_FULL}


@pytest.fixture(scope="module")
def found() -> Tools:
    os.environ.setdefault(ENVIRONMENT, str(platformdirs.user_cache_path("edgekit") / "android"))
    try:
        return tools()
    except EdgekitError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def back(found, tmp_path_factory) -> Path:
    """The classes that stand in the runner's dex file, for a JVM."""
    place = tmp_path_factory.mktemp("dex")
    with zipfile.ZipFile(runner_jar(found)) as jar:
        jar.extract("classes.dex", place)
    python = found.folder / "root/usr/lib/python3/dist-packages"
    subprocess.run(
        [sys.executable, "-m", "enjarify.main", "classes.dex", "-o", "back.jar", "-f"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(python)},
        check=True,
        capture_output=True,
    )
    return place / "back.jar"


@pytest.fixture
def app_process(found, back, tmp_path, monkeypatch) -> Path:
    """The stand-in, first in PATH; it keeps what it was started with."""
    program = tmp_path / "bin" / "app_process"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$CLASSPATH|$LD_LIBRARY_PATH|$@" > {tmp_path}/words\n'
        f"ls -l $LD_LIBRARY_PATH >> {tmp_path}/words\n"
        'while [ "$1" != / ]; do shift; done; shift\n'
        f"exec java -Xverify:all -Donnxruntime.native.path={found.onnxruntime}/linux "
        f'-cp {back} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "words"


def phone(**told: str) -> DeviceFacts:
    return read_facts("adb:x", {**PHONE, **told})


def measured(bundle: Path, place: Path, **plan):
    (row,) = bench_device(
        bundle,
        Local(place),
        lambda form, facts: app_process_kit(form, phone()),
        plan=Plan(**plan),
        limits=Limits(room_mb=1),
        entries=lambda entry: entry.format == "onnx",
    )["rows"]
    return row


def test_the_bytecode_of_the_jar_measures_a_model_and_computes_it_right(
    app_process, toy_bundle, tmp_path
):
    row = measured(toy_bundle, tmp_path / "d", calls=40, warmup=2, loads=2)

    words = app_process.read_text()
    assert row["problem"] == "", row["reason"]
    assert row["max_abs"] == 0.0
    assert len(row["wall_ms"]) == len(row["cpu_ms"]) == 40
    assert len(row["loads_ms"]) == 2
    assert re.match(r"\d+\.\d+", row["runtime_version"])
    assert row["peak_mb"] > 10
    assert f"/ {MAIN} --engine onnxruntime" in words
    assert words.startswith(f"{tmp_path}/d/files/")
    assert re.search(r"libonnxruntime4j_jni\.so -> .*/files/", words)


def test_the_bytecode_says_why_a_model_cannot_be_loaded(app_process, make_bundle, tmp_path):
    from tests.benchmarks.test_device_local import with_file

    bundle = with_file(make_bundle(tmp_path / "bundle"), "onnx", b"not a model" * 99)

    row = measured(bundle, tmp_path / "d", calls=5)

    assert row["problem"] == "failed"
    assert row["reason"].startswith("load: ")


def test_the_bytecode_is_stopped_when_the_time_is_over(app_process, toy_bundle, tmp_path):
    row = measured(toy_bundle, tmp_path / "d", calls=10**9, budget_seconds=60, timeout_seconds=4)

    assert row["problem"] == "time-out"
    assert len(row["wall_ms"]) > 10
    assert row["summary"] is None  # it cannot write its outputs any more, so nothing was compared


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model"], "no value after --model"),
        (["--calls", "x"], "no number: x"),
        (["--engine", "litert"], "unknown engine litert"),
        ([], "--model is needed"),
    ],
)
def test_the_bytecode_names_a_wrong_word(found, back, words, sentence):
    done = subprocess.run(
        ["java", "-cp", str(back), MAIN, *words], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert sentence in done.stderr


@pytest.mark.parametrize(
    ("form", "told", "sentence"),
    [
        ("tflite", {}, "no runner for x86_64 and .tflite files without a compiler"),
        ("onnx", {"abi": "mips"}, "no runner for mips"),
        ("onnx", {"sdk": "23"}, "API level 23, the runner needs 26"),
    ],
)
def test_a_phone_that_it_cannot_serve_is_told_what_to_do(found, form, told, sentence):
    with pytest.raises(DeviceUnreachable, match=sentence) as refused:
        app_process_kit(form, phone(**told))

    assert refused.value.hint


def test_android_takes_the_bytecode_unless_a_compiler_is_given(found, tmp_path):
    (tmp_path / "lib.so").write_bytes(b"x")

    plain = kit_for_device("onnx", phone(abi="arm64-v8a"))
    own = kit_for_device("onnx", phone(), compiler="gcc", library=tmp_path / "lib.so")

    assert plain.runner == "app-process"
    assert set(plain.links) == {"libonnxruntime.so", "libonnxruntime4j_jni.so"}
    assert own.runner == "native"


def test_the_c_runner_calls_the_places_that_the_published_header_gives(found):
    """OrtApi is a table: a wrong place would call another function."""
    header = (found.onnxruntime / "headers/onnxruntime_c_api.h").read_text()
    table = re.sub(r"/\*.*?\*/|//[^\n]*", "", header[header.index("struct OrtApi {") :], flags=re.S)
    rows = re.findall(
        r"ORT_API2_STATUS\((\w+)|\(ORT_API_CALL\* ?(\w+)\)|ORT_CLASS_RELEASE\((\w+)\)", table
    )
    places = [one or two or f"Release{three}" for one, two, three in rows]
    source = (SOURCES / "onnxruntime.c").read_text()

    used = re.findall(r"^  (\w+) = (\d+),$", source, re.MULTILINE)

    assert len(used) > 25
    assert [(name, int(place)) for name, place in used] == [
        (name, places.index(name)) for name, _ in used
    ]
