"""Other processors: the runner cross-compiled, and run on aarch64 programs by qemu. No speed."""

from __future__ import annotations

import json
import os
import struct

import pytest
from tests import needs
from tests.benchmarks.adb_device import SERIAL, chroot_folder, running_device

from edgekit.benchmarks.devices.runners import build_runner
from edgekit.cli.main import run

pytestmark = pytest.mark.xdist_group("device")
AARCH64 = 183


@needs.ARM64_COMPILER
def test_the_runner_is_built_for_boards():
    program = build_runner("aarch64").read_bytes()

    assert program[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", program, 18)[0] == AARCH64


@needs.ARM64_COMPILER
@needs.ARM64_DEVICE
def test_an_aarch64_device_computes_the_same_and_is_marked_emulated(
    toy_bundle, tmp_path, monkeypatch, capsys
):
    """The pinned wheels of another processor, its runner, and the whole way there and back."""
    file = tmp_path / "arm64.json"
    with running_device(tmp_path / "d", chroot_folder("arm64"), os.environ) as device:
        monkeypatch.setenv("PATH", f"{device.bin}:{os.environ['PATH']}")
        words = ["bench", str(toy_bundle), "--device", f"adb:{SERIAL}", "--calls", "12"]
        code = run([*words, "--out", str(file), "-q"])

    result = json.loads(file.read_text())
    assert code == 0
    assert result["device"]["abi"] == "linux-aarch64"
    assert result["device"]["emulated"]
    assert [row["max_abs"] for row in result["rows"]] == [0.0, 0.0]
    assert all(row["verdicts"][0]["name"] == "emulated" for row in result["rows"])
    assert capsys.readouterr().out.startswith("EMULATED")
