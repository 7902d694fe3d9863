"""What the command says when a device or an option is not as it must be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.benchmarks.devices.adb import Adb, only_device
from edgekit.benchmarks.devices.local import Local
from edgekit.benchmarks.devices.named import transport_named
from edgekit.benchmarks.devices.sending import send
from edgekit.benchmarks.devices.transport import ask
from edgekit.cli.main import run
from edgekit.core.errors import DeviceUnreachable, EdgekitError


@pytest.fixture
def adb_says(tmp_path, monkeypatch):
    """A stand-in for adb that lists devices: a real phone is needed to be unauthorized."""

    def write(listing: str, code: int = 0) -> None:
        program = tmp_path / "adb"
        program.write_text(f"#!/bin/sh\ncat <<'END'\nList of devices attached\n{listing}\nEND\n")
        program.write_text(program.read_text() + f"echo cannot bind >&2\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return write


@pytest.mark.parametrize(
    ("state", "sentence", "hint"),
    [
        ("unauthorized", "31JEC is unauthorized", "accept the question about USB debugging"),
        ("offline", "31JEC is offline", "cable out and in"),
        ("no permissions (user in plugdev?); see [http]", "31JEC is no permissions", "udev"),
        ("recovery", "31JEC is recovery", "adb reboot"),
    ],
)
def test_a_phone_that_is_not_ready_says_what_to_do(
    adb_says, toy_bundle, capsys, state, sentence, hint
):
    adb_says(f"31JEC\t{state}")

    code = run(["bench", str(toy_bundle), "--device", "adb:31JEC"])

    said = capsys.readouterr().err
    assert code == 8
    assert sentence in said
    assert hint in said


def test_adb_alone_takes_the_only_device_and_refuses_none_or_two(adb_says):
    adb_says("31JEC\tdevice")
    assert only_device() == Adb("31JEC")

    adb_says("31JEC\tdevice\n4GX\tdevice")
    with pytest.raises(DeviceUnreachable, match="2 devices") as two:
        transport_named("adb")
    adb_says("")
    with pytest.raises(DeviceUnreachable, match="knows no device"):
        transport_named("adb:auto")

    assert "adb:31JEC" in two.value.hint


def test_a_machine_without_adb_or_with_a_broken_one_says_so(adb_says, monkeypatch, tmp_path):
    adb_says("", code=1)
    with pytest.raises(DeviceUnreachable, match="adb failed: cannot bind"):
        only_device()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(EdgekitError, match="adb is not installed") as missing:
        only_device()

    assert missing.value.exit_code == 3


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--device", "lokal"], 2, "did you mean 'local'"),
        (["--device", "local:x"], 2, "names no device"),
        (["--device", "web:lynx"], 2, "unknown browser 'lynx'"),
        (["--device", "local", "--runner", "x"], 2, "unknown runner"),
        (["--device", "local", "--baseline", "teacher"], 2, "never on a --device"),
        (["--device", "local", "--device", "adb"], 2, "given twice"),
        (["--device", "local", "--min-seconds", "200"], 2, "longer than --budget 120"),
        (["--device", "local", "--target", "tv"], 2, "no file that was asked for"),
        (["--strict"], 2, "--strict needs a --device"),
        (["--estimate", "--min-seconds", "5"], 2, "--min-seconds needs a --device"),
        (["--device", "local", "--against", __file__], 4, "is not readable JSON"),
        (["--device", "ios:00008130"], 7, "from a Mac only"),
    ],
)
def test_a_mistake_is_one_sentence(toy_bundle, capsys, monkeypatch, words, code, sentence):
    monkeypatch.setattr("sys.platform", "linux")

    assert run(["bench", str(toy_bundle), *words]) == code
    assert sentence in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_done(toy_bundle, capsys):
    code = run(["bench", str(toy_bundle), "--device", "adb:x", "--strict", "--dry-run"])

    plan = json.loads(capsys.readouterr().out)
    assert code == 0
    assert "1024" in str(plan["plan"])
    assert plan["device"] == "adb:x"


class Faulty:
    """This machine as a device with a bad cable, or without the usual programs."""

    def __init__(self, place: Path, *, corrupts: bool = False, path: str = "/usr/bin:/bin") -> None:
        self.local, self.corrupts, self.path = Local(place), corrupts, path
        self.name, self.folder = "test:faulty", str(place)

    def argv(self, command: str) -> list[str]:
        return ["/usr/bin/env", "-i", f"PATH={self.path}", "/bin/sh", "-c", command]

    def check(self) -> None: ...

    def push(self, source: Path, place: str) -> None:
        self.local.push(source, place)
        if self.corrupts:
            Path(place).write_bytes(b"x" + Path(place).read_bytes()[1:])

    def pull(self, place: str, target: Path) -> None:
        self.local.pull(place, target)


def test_bytes_that_changed_on_their_way_are_never_used(tmp_path):
    (tmp_path / "model").write_bytes(b"abc")

    with pytest.raises(DeviceUnreachable, match="arrived on test:faulty with other bytes"):
        send(Faulty(tmp_path / "d", corrupts=True), {"model": tmp_path / "model"})

    assert list((tmp_path / "d" / "files").iterdir()) == []


def test_a_device_that_cannot_hash_is_told_what_it_lacks(tmp_path):
    (tmp_path / "model").write_bytes(b"abc")

    with pytest.raises(DeviceUnreachable, match="no sha256sum") as missing:
        send(Faulty(tmp_path / "d", path="/nothing"), {"model": tmp_path / "model"})

    assert "busybox" in missing.value.hint


def test_a_device_that_hangs_is_not_waited_for(tmp_path):
    with pytest.raises(DeviceUnreachable, match=r"gave no answer in 0\.3 s"):
        ask(Local(tmp_path), "sleep 5", timeout_s=0.3)
