"""The runner and all around it on this machine: real compiler, real runtimes, real files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests import needs

from edgekit.benchmarks.devices.facts import device_facts
from edgekit.benchmarks.devices.kits import kit_for_device
from edgekit.benchmarks.devices.local import Local
from edgekit.benchmarks.devices.measure import bench_device
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.preflight import Limits
from edgekit.benchmarks.devices.runners import RUNTIMES, build_runner, library_for
from edgekit.benchmarks.report.devices import device_tables
from edgekit.cli.main import run
from edgekit.core.errors import BadInput, DeviceUnreachable, EdgekitError
from edgekit.core.manifest import read_bundle, write_bundle
from edgekit.core.store import file_sha256, size_bytes

pytestmark = [needs.C_COMPILER, pytest.mark.xdist_group("device")]
NEVER = 10**9


def machine() -> str:
    return os.uname().machine


def measured(bundle: Path, place: Path, **plan):
    """The result of the ONNX file of `bundle`, measured with everything below `place`."""
    return bench_device(
        bundle,
        Local(place),
        kit_for_device,
        plan=Plan(**plan),
        limits=Limits(room_mb=1),
        entries=lambda entry: entry.format == "onnx",
    )


def with_file(bundle: Path, format_: str, content: bytes) -> Path:
    """The bundle with other bytes in its file of that format, and a manifest that agrees."""
    manifest = read_bundle(bundle)
    models = []
    for entry in manifest.models:
        if entry.format == format_:
            path = bundle / entry.path
            path.write_bytes(content)
            told = {"sha256": file_sha256(path), "bytes": size_bytes(path)}
            models.append(entry.model_copy(update=told))
        else:
            models.append(entry)
    write_bundle(bundle, manifest.model_copy(update={"models": tuple(models)}))
    return bundle


def alive(place: Path) -> list[str]:
    """Numbers of runners that were started below `place` and still run."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if str(place).encode() in words and b"edgekit-runner" in words:
                found.append(process.name)
    return found


def test_both_runtimes_are_measured_checked_and_written_with_every_sample(
    toy_bundle, tmp_path, capsys, monkeypatch
):
    file = tmp_path / "toy.json"

    words = ["--device", "local", "--calls", "120", "--warmup", "2", "--out", str(file)]
    code = run(["bench", str(toy_bundle), *words])

    result = json.loads(file.read_text())
    assert code == 0
    assert [row["name"] for row in result["rows"]] == [
        "onnx/toy.fp32.onnx",
        "android/toy.fp32.tflite",
    ]
    for row in result["rows"]:
        assert row["max_abs"] == 0.0
        assert len(row["wall_ms"]) == len(row["cpu_ms"]) == 120
        assert len(row["warm_ms"]) == 2
        assert len(row["loads_ms"]) == 3
        assert row["summary"]["p50_ms"] <= row["summary"]["p90_ms"] <= row["summary"]["p99_ms"]
        assert row["first_ms"] > 0
        assert row["peak_mb"] > 5
    assert result["rows"][0]["runtime_version"] == library_for(RUNTIMES["onnx"], machine())[1]
    assert [row["path"] for row in result["skipped"]] == ["ios/toy.fp16.mlpackage"]
    said = capsys.readouterr().out
    assert "right (max abs 0.0e+00" in said
    assert "p99 ms" in said


def test_fewer_than_a_hundred_calls_have_no_p99_and_nothing_stays_behind(toy_bundle, tmp_path):
    result = measured(toy_bundle, tmp_path, calls=99)

    assert result["rows"][0]["summary"]["p99_ms"] is None
    assert result["rows"][0]["summary"]["p90_ms"] is not None
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def test_what_is_on_the_device_already_is_not_sent_again_unless_it_was_changed(
    toy_bundle, tmp_path
):
    first = measured(toy_bundle, tmp_path, calls=5)
    again = measured(toy_bundle, tmp_path, calls=5)
    next((tmp_path / "files").glob("*toy.fp32.onnx")).write_bytes(b"damaged")
    third = measured(toy_bundle, tmp_path, calls=5)

    assert len(first["copied"]) == 4
    assert again["copied"] == []
    assert third["copied"] == ["onnx/toy.fp32.onnx: model"]
    assert third["rows"][0]["problem"] == ""


def test_a_fast_wrong_answer_gets_no_number_and_ends_with_5(make_bundle, tmp_path, capsys):
    bundle = make_bundle(tmp_path / "bundle", op="Identity")
    file = tmp_path / "out.json"

    code = run(["bench", str(bundle), "--device", "local", "--target", "onnx", "--out", str(file)])

    row = json.loads(file.read_text())["rows"][0]
    printed = capsys.readouterr()
    assert code == 5
    assert (row["problem"], row["summary"], row["wall_ms"]) == ("wrong", None, [])
    assert row["first_ms"] is None
    assert "wrong:" in printed.out
    assert "p50" not in printed.out
    assert "another answer there than the student" in printed.err


@pytest.mark.parametrize(
    ("format_", "where"), [("onnx", "CreateSession"), ("tflite", "LiteRtCreateModelFromFile")]
)
def test_a_model_that_its_runtime_cannot_load_is_one_sentence_and_the_other_file_is_measured(
    make_bundle, tmp_path, capsys, format_, where
):
    bundle = with_file(make_bundle(tmp_path / "bundle"), format_, b"not a model" * 99)
    file = tmp_path / "out.json"

    code = run(["bench", str(bundle), "--device", "local", "--calls", "5", "--out", str(file)])

    rows = json.loads(file.read_text())["rows"]
    assert code == 8
    assert where in capsys.readouterr().err
    assert sorted(row["problem"] for row in rows) == ["", "failed"]
    assert [row["summary"] is None for row in rows] == [row["problem"] != "" for row in rows]


def test_time_over_stops_the_runner_and_keeps_what_was_checked_until_then(toy_bundle, tmp_path):
    result = measured(toy_bundle, tmp_path, calls=NEVER, budget_seconds=60, timeout_seconds=1.5)

    row = result["rows"][0]
    assert row["problem"] == "time-out"
    assert "did not finish in 1.5 s" in row["reason"]
    assert row["verdicts"][0]["name"] == "incomplete"
    assert len(row["wall_ms"]) > 10
    assert row["max_abs"] == 0.0
    assert alive(tmp_path) == []


def test_the_budget_ends_the_calls_by_itself(toy_bundle, tmp_path):
    row = measured(toy_bundle, tmp_path, calls=NEVER, budget_seconds=0.3)["rows"][0]

    assert row["problem"] == ""
    assert row["verdicts"][0]["name"] == "incomplete"
    assert "the time was over after" in row["verdicts"][0]["why"]


def test_calls_go_on_for_the_least_time_that_was_asked_for(toy_bundle, tmp_path):
    row = measured(toy_bundle, tmp_path, calls=1, min_seconds=0.4)["rows"][0]

    assert row["seconds"] >= 0.4
    assert len(row["wall_ms"]) > 100


def test_a_runner_that_dies_is_told_with_its_signal_and_raw_samples_are_kept(toy_bundle, tmp_path):
    def kill() -> None:
        while not (pids := list(tmp_path.glob("run-*/pid"))) or not pids[0].read_text().strip():
            time.sleep(0.02)
        time.sleep(0.5)
        os.kill(int(pids[0].read_text()), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    row = measured(toy_bundle, tmp_path, calls=NEVER, budget_seconds=30)["rows"][0]

    assert row["problem"] == "failed"
    assert "signal 9" in row["reason"]
    assert len(row["wall_ms"]) > 10
    assert row["summary"] is None  # its outputs were never compared
    assert row["verdicts"][0]["name"] == "incomplete"


def test_ctrl_c_stops_the_runner_and_keeps_what_was_checked(toy_bundle, tmp_path):
    def interrupt(label: str, done: int, total: int, note: str = "") -> None:
        if done > 20:
            raise KeyboardInterrupt

    result = bench_device(
        toy_bundle,
        Local(tmp_path),
        kit_for_device,
        plan=Plan(calls=NEVER),
        limits=Limits(room_mb=1),
        report=interrupt,
    )

    (row,) = result["rows"]  # the second file was not begun
    assert row["problem"] == "interrupted"
    assert row["summary"]["calls"] == len(row["wall_ms"]) > 20
    assert row["max_abs"] == 0.0
    assert alive(tmp_path) == []


def test_two_measurements_at_once_are_refused(toy_bundle, tmp_path):
    (tmp_path / "run-1").mkdir(parents=True)
    other = subprocess.Popen(["sh", "-c", "sleep 9; : like edgekit-runner"])
    (tmp_path / "run-1" / "pid").write_text(str(other.pid))
    try:
        with pytest.raises(DeviceUnreachable, match="running on local already") as refused:
            measured(toy_bundle, tmp_path, calls=5)
    finally:
        other.kill()
        other.wait()

    assert f"kill {other.pid}" in refused.value.hint


def test_a_number_left_by_a_dead_runner_keeps_nobody_out(toy_bundle, tmp_path):
    (tmp_path / "run-1").mkdir(parents=True)
    (tmp_path / "run-1" / "pid").write_text(str(os.getppid()))  # lives, and is no runner

    result = measured(toy_bundle, tmp_path, calls=5)

    assert result["rows"][0]["problem"] == ""


def test_heat_and_a_falling_clock_are_read_during_the_calls(toy_bundle, tmp_path):
    zone = tmp_path / "root/sys/class/thermal/thermal_zone0"
    clock = tmp_path / "root/sys/devices/system/cpu/cpu0/cpufreq"
    for folder in (zone, clock):
        folder.mkdir(parents=True)
    (zone / "temp").write_text("41500\n")
    (zone / "type").write_text("cpu\n")
    (clock / "scaling_cur_freq").write_text("2400000\n")

    result = measured(
        toy_bundle, tmp_path / "d", calls=5, sysfs_root=str(tmp_path / "root"), min_seconds=0.1
    )

    assert result["device"]["temperature_c"] == 41.5
    assert result["rows"][0]["sensors"][0]["milli_c"] == [41500]
    assert result["rows"][0]["sensors"][0]["khz"] == [2400000]
    assert result["rows"][0]["temperature_c"] == (41.5, 41.5)


def test_a_strict_run_that_could_not_last_is_said_to_be_no_valid_one(toy_bundle, capsys):
    words = ["--device", "local", "--target", "onnx", "--strict", "--timeout", "1.5"]

    code = run(["bench", str(toy_bundle), *words, "-q"])

    assert code == 8  # the time-out is the more serious of the two
    assert "NOT VALID: " in capsys.readouterr().out


def test_a_result_is_compared_with_an_earlier_one(toy_bundle, tmp_path, capsys):
    words = ["bench", str(toy_bundle), "--device", "local", "--target", "onnx", "--calls", "60"]
    run([*words, "--out", str(tmp_path / "then.json"), "-q"])

    code = run([*words, "--against", str(tmp_path / "then.json"), "--json", "-q"])

    found = json.loads(capsys.readouterr().out.splitlines()[-1])["comparisons"][0]
    assert code == 0
    assert found["low"] <= found["ratio"] <= found["high"]
    assert found["differs"] == []


def test_the_program_stops_when_nobody_reads_its_lines(toy_bundle, tmp_path):
    library, _ = library_for(RUNTIMES["onnx"], machine())
    words = [build_runner(machine()), "--engine", "onnxruntime", "--library", library]
    words += ["--model", toy_bundle / "onnx/toy.fp32.onnx", "--calls", NEVER]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE)

    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(timeout=20) == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model"], "no value after --model"),
        (["--modle", "x"], "unknown option --modle"),
        (["--model", "x"], "--engine, --library and --model are needed"),
        (["--engine", "x", "--library", "x", "--model", "x"], "unknown engine x"),
        (["--input", "x"], "not PORT=FILE: x"),
    ],
)
def test_the_program_names_a_wrong_word(words, sentence):
    done = subprocess.run([build_runner(machine()), *words], capture_output=True, text=True)

    assert done.returncode == 2
    assert sentence in done.stderr


def test_the_runner_is_compiled_once_for_each_processor(monkeypatch):
    first = build_runner(machine())
    monkeypatch.setattr(
        "edgekit.benchmarks.devices.runners.subprocess.run",
        lambda *words, **more: pytest.fail("compiled again"),
    )

    assert build_runner(machine()) == first


def test_a_missing_or_wrong_compiler_is_said(tmp_path):
    with pytest.raises(EdgekitError, match="no compiler that can be started") as missing:
        build_runner("riscv64", compiler="riscv64-nothing-gcc")
    with pytest.raises(EdgekitError, match="no C compiler for riscv64"):
        build_runner("riscv64")
    with pytest.raises(BadInput, match="did not compile the runner"):
        build_runner("riscv64", compiler="false")

    assert missing.value.exit_code == 3


def test_this_machine_says_what_it_is(tmp_path):
    facts = device_facts(Local(tmp_path))

    assert facts.abi == f"linux-{machine()}"
    assert facts.cpus
    assert facts.memory_mb
    assert facts.free_mb
    assert not facts.emulated
    assert not facts.android


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(DeviceUnreachable, match="cannot hold the folder"):
        device_facts(Local(tmp_path / "file" / "x"))


def test_the_report_shows_each_device_in_a_table_of_its_own(toy_bundle, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copytree(toy_bundle, tmp_path / "run" / "bundle")
    (tmp_path / "run" / "manifest.json").write_text('{"kind": "student"}')
    words = ["bench", str(tmp_path / "run"), "--device", "local", "--calls", "20", "-q"]
    run(words)
    real = tmp_path / "run" / "bench-local.json"
    emulated = json.loads(real.read_text())
    emulated["device"] |= {"emulated": True, "name": "adb:emulator-5554"}
    (tmp_path / "run" / "bench-adb-emulator-5554.json").write_text(json.dumps(emulated))

    tables = device_tables(tmp_path / "run")
    run(["report", str(tmp_path / "run"), "-q"])

    page = (tmp_path / "run" / "report.html").read_text()
    assert [(table.title, table.emulated) for table in tables] == [
        ("local", False),
        ("adb:emulator-5554", True),
    ]
    assert "adb:emulator-5554 (emulated)" in page
    assert page.count("A file whose answer was wrong or could not be compared") == 2
    assert not (tmp_path / "run" / "bench.json").exists()


def test_the_program_ends_by_itself_when_its_time_is_over(toy_bundle):
    library, _ = library_for(RUNTIMES["onnx"], machine())
    words = [build_runner(machine()), "--engine", "onnxruntime", "--library", library]
    words += ["--model", toy_bundle / "onnx/toy.fp32.onnx", "--calls", NEVER, "--limit-seconds", 1]

    done = subprocess.run([str(word) for word in words], stdout=subprocess.DEVNULL, timeout=30)

    assert done.returncode == 5
