"""Android devices by adb: a real client and a real adbd; what Android itself says is typed text."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import needs
from tests.benchmarks import android_texts as android
from tests.benchmarks.adb_device import SERIAL, Device, chroot_folder, running_device

from edgekit.benchmarks.devices.adb import Adb, only_device
from edgekit.benchmarks.devices.facts import device_facts
from edgekit.benchmarks.devices.kits import kit_for_device
from edgekit.benchmarks.devices.measure import bench_device
from edgekit.benchmarks.devices.plan import Plan
from edgekit.benchmarks.devices.preflight import Limits
from edgekit.benchmarks.devices.runners import RUNTIMES, library_for
from edgekit.benchmarks.devices.transport import ask
from edgekit.cli.main import run
from edgekit.core.errors import DeviceUnreachable

pytestmark = [needs.ADB_DEVICE, needs.C_COMPILER, pytest.mark.xdist_group("device")]
NEVER = 10**9


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Device]:
    with running_device(tmp_path_factory.mktemp("adb"), chroot_folder(), os.environ) as device:
        yield device


@pytest.fixture
def device(shared, monkeypatch) -> Device:
    """The device, connected, not saying that it is Android, and its client first in PATH."""
    shared.says()
    monkeypatch.setenv("PATH", f"{shared.bin}:{os.environ['PATH']}")
    return shared


def bench(bundle: Path, *words: str) -> int:
    return run(["bench", str(bundle), "--device", f"adb:{SERIAL}", *words, "-q"])


def runners(device: Device) -> list[str]:
    """Numbers of runners that live on the device."""
    each = "case $(readlink $p/exe) in *edgekit-runner) echo $p;; esac"
    answer = device.adb("-s", SERIAL, "shell", f"for p in /proc/[0-9]*; do {each}; done")
    return answer.stdout.split()


def test_exit_codes_and_binary_files_go_through(device, tmp_path):
    adb = Adb(SERIAL)
    content = os.urandom(200_000)
    (tmp_path / "a").write_bytes(content)

    answer = ask(adb, "echo out; echo err >&2; exit 7")
    adb.push(tmp_path / "a", "/data/local/tmp/it is there")
    adb.pull("/data/local/tmp/it is there", tmp_path / "b")

    assert (answer.code, answer.out, answer.err) == (7, "out\n", "err\n")
    assert (tmp_path / "b").read_bytes() == content
    assert only_device() == adb


def test_a_bundle_is_measured_on_the_device_and_sent_only_once(device, toy_bundle, tmp_path):
    file = tmp_path / "adb.json"

    first = bench(toy_bundle, "--calls", "110", "--out", str(file))
    result = json.loads(file.read_text())
    again = bench(toy_bundle, "--calls", "5", "--out", str(file))

    assert (first, again) == (0, 0)
    assert result["device"]["name"] == f"adb:{SERIAL}"
    assert [row["max_abs"] for row in result["rows"]] == [0.0, 0.0]
    assert all(len(row["wall_ms"]) == 110 for row in result["rows"])
    assert all(row["summary"]["p99_ms"] for row in result["rows"])
    assert len(result["copied"]) == 7  # runner and input once for both, two libraries, two models
    assert json.loads(file.read_text())["copied"] == []
    left = device.adb("-s", SERIAL, "shell", "ls /data/local/tmp/edgekit").stdout.split()
    assert left == ["files"]


def test_time_over_ends_the_runner_on_the_device(device, toy_bundle, tmp_path):
    file = tmp_path / "adb.json"
    words = ["--target", "onnx", "--calls", str(NEVER), "--budget", "90", "--timeout", "3"]

    code = bench(toy_bundle, *words, "--out", str(file))

    row = json.loads(file.read_text())["rows"][0]
    assert code == 8
    assert row["problem"] == "time-out"
    assert row["summary"]["calls"] == len(row["wall_ms"]) > 10  # checked, though incomplete
    assert runners(device) == []


def test_a_model_that_the_device_cannot_load_says_so(device, make_bundle, tmp_path, capsys):
    from tests.benchmarks.test_device_local import with_file

    bundle = with_file(make_bundle(tmp_path / "bundle"), "onnx", b"not a model" * 99)

    code = bench(bundle, "--target", "onnx")

    assert code == 8
    assert "CreateSession" in capsys.readouterr().err


def test_an_unknown_serial_names_those_that_are_there(device, toy_bundle, capsys):
    code = run(["bench", str(toy_bundle), "--device", "adb:nosuch"])

    said = capsys.readouterr().err
    assert code == 8
    assert f"adb knows no device 'nosuch' (connected: {SERIAL})" in said


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({"battery": android.BATTERY_LOW}, "battery of adb:127.0.0.1:15555 is at 9 %"),
        ({"thermalservice": android.THERMAL_HOT}, "too hot: thermal status 3 (severe)"),
        ({"thermalservice": android.THERMAL_WARM}, "too hot: 44.5 °C, above 38 °C"),
    ],
)
def test_a_phone_in_no_state_to_be_measured_is_refused(device, toy_bundle, capsys, texts, sentence):
    device.says(props=android.PHONE, **texts)

    words = ["--runner", "native", "--cc", "gcc", "--library", __file__]
    code = bench(toy_bundle, *words, "--cool-wait", "0")

    assert code == 8
    assert sentence in capsys.readouterr().err


def test_a_phone_that_cools_down_is_waited_for(device, toy_bundle):
    device.says(thermalservice=android.THERMAL_WARM)
    timer = threading.Timer(2, lambda: device.says(thermalservice=android.THERMAL_COOL))
    timer.start()

    code = bench(toy_bundle, "--target", "onnx", "--calls", "5", "--cool", "38")

    assert code == 0


def test_a_processor_without_a_runner_is_told_what_to_give(device, toy_bundle, capsys):
    device.says(props="ro.product.cpu.abi=riscv64\n")

    code = bench(toy_bundle, "--runner", "native")

    said = capsys.readouterr().err
    assert code == 8
    assert "no runner for riscv64" in said
    assert "--cc" in said


def test_a_compiler_and_a_library_of_ones_own_serve_an_android(device, toy_bundle, tmp_path):
    """As with the NDK's clang and LiteRT's AAR; here both are this machine's own."""
    device.says(props="ro.product.cpu.abi=x86_64\nro.build.version.release=15\n")
    library, _ = library_for(RUNTIMES["tflite"], os.uname().machine)
    file = tmp_path / "adb.json"
    words = ["--cc", "gcc", "--library", str(library), "--target", "android", "--calls", "20"]

    code = bench(toy_bundle, *words, "--out", str(file))

    result = json.loads(file.read_text())
    assert code == 0
    assert result["device"]["system"] == "Android 15"
    assert result["rows"][0]["max_abs"] == 0.0


def test_an_emulator_is_marked_on_the_first_line(device, toy_bundle, tmp_path, capsys):
    device.says(props="ro.kernel.qemu=1\n")
    file = tmp_path / "adb.json"

    code = bench(toy_bundle, "--target", "onnx", "--calls", "12", "--out", str(file))

    assert code == 0
    assert capsys.readouterr().out.startswith("EMULATED, says nothing about a phone")
    assert json.loads(file.read_text())["rows"][0]["verdicts"][0]["name"] == "emulated"


def test_what_a_phone_says_of_itself_is_read(device):
    device.says(
        props=android.PHONE,
        battery=android.BATTERY_CHARGING,
        thermalservice=android.THERMAL_COOL,
        power=android.POWER_AWAKE,
    )

    facts = device_facts(Adb(SERIAL))

    assert facts.model == "Google Pixel 8"
    assert (facts.abi, facts.sdk, facts.system) == ("arm64-v8a", 35, "Android 15")
    assert (facts.battery_percent, facts.charging, facts.screen_on) == (84, True, True)
    assert (facts.thermal_status, facts.temperature_c) == (0, 33.4)
    assert facts.android


def test_a_full_device_is_said(device, tmp_path):
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    device.adb("-s", SERIAL, "shell", "mkdir -p /tmp/small; mount -t tmpfs -o size=1m x /tmp/small")

    with pytest.raises(DeviceUnreachable, match="no room left for /tmp/small/big") as full:
        Adb(SERIAL).push(tmp_path / "big", "/tmp/small/big")

    device.adb("-s", SERIAL, "shell", "umount /tmp/small")
    assert "delete files" in full.value.hint


def test_a_device_that_is_lost_leaves_its_raw_samples(toy_bundle, tmp_path, monkeypatch):
    with running_device(tmp_path / "d", chroot_folder(), os.environ) as device:
        monkeypatch.setenv("PATH", f"{device.bin}:{os.environ['PATH']}")
        threading.Thread(target=_lose_while_it_runs, args=(device,), daemon=True).start()

        result = bench_device(
            toy_bundle,
            Adb(SERIAL),
            kit_for_device,
            plan=Plan(calls=NEVER, budget_seconds=60),
            limits=Limits(),
        )

    (row,) = result["rows"]  # the second file was not tried
    assert row["problem"] == "lost"
    assert "the device was lost" in row["reason"]
    assert len(row["wall_ms"]) > 10
    assert row["summary"] is None
    assert row["verdicts"][0]["why"].startswith("it broke off after")


def _lose_while_it_runs(device: Device) -> None:
    while not runners(device):
        time.sleep(0.2)
    time.sleep(1)
    device.lose()
