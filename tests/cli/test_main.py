import json
import subprocess
import sys

import pytest

from edgekit.cli.main import COMMANDS, run
from edgekit.core.errors import (
    BadInput,
    DependencyMissing,
    DeviceUnreachable,
    EdgekitError,
    OutputError,
    ParityFailed,
    QualityFailed,
    TargetUnsupported,
)


def test_the_exit_codes_are_the_documented_ones():
    hinted = {"hint": "do this"}
    codes = {
        EdgekitError("x", **hinted).exit_code: "usage",
        DependencyMissing("x", extra="ios").exit_code: "dependency",
        BadInput("x", **hinted).exit_code: "input",
        ParityFailed("x", **hinted).exit_code: "parity",
        QualityFailed("x", **hinted).exit_code: "quality",
        TargetUnsupported("x", **hinted).exit_code: "target",
        DeviceUnreachable("x", **hinted).exit_code: "device",
    }

    assert list(codes) == [2, 3, 4, 5, 6, 7, 8]
    assert OutputError("x", **hinted).exit_code == 4


def test_a_misspelt_command_is_answered_with_the_nearest(capsys):
    assert run(["exprot", "x"]) == 2

    assert "did you mean 'export'?" in capsys.readouterr().err


def test_a_misspelt_option_is_answered_with_the_nearest(capsys):
    assert run(["doctor", "--jsn"]) == 2

    assert "did you mean --json?" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_and_gives_an_example(command, capsys):
    assert run([command, "--help"]) == 0

    page = capsys.readouterr().out
    assert "Exit codes" in page
    assert "edgekit " + command in page


def test_flags_may_stand_anywhere(capsys):
    assert run(["--json", "doctor"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run(["doctor", "--json"]) == 0

    assert {f["name"] for f in first["findings"]} == {
        f["name"] for f in json.loads(capsys.readouterr().out)["findings"]
    }


def test_doctor_names_every_target_and_what_mends_a_gap(capsys):
    run(["doctor", "--json"])

    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    targets = {"onnx", "android", "ios", "tensorrt", "executorch", "openvino"}
    assert {*targets, "distill", "teacher", "base", "cache"} <= set(findings)
    machine = ("adb", "xcrun", "gpu")
    assert all(f["ready"] or f["fix"] or f["name"] in machine for f in findings.values())
    assert "[tensorrt-full]" in (findings["tensorrt-full"]["fix"] or "[tensorrt-full]")


def test_doctor_gives_the_command_for_a_missing_extra(capsys, monkeypatch):
    from edgekit.core import versions

    monkeypatch.setattr(versions, "installed", lambda name: None)
    run(["doctor"])

    assert "run: pip install 'edgekit-toolchain[android]'" in capsys.readouterr().out


def test_version_prints_what_is_installed(capsys):
    assert run(["--version"]) == 0

    assert capsys.readouterr().out.startswith("edgekit ")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[distil]\n", 2, "did you mean 'distill'?"),
        ("[distill]\nconcpt = 'x'\n", 2, "did you mean 'concept'?"),
        ("[distill\n", 4, "is not TOML"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, capsys, text, code, said):
    file = tmp_path / "edgekit.toml"
    file.write_text(text)

    assert run(["doctor", "--config", str(file)]) == code

    assert said in capsys.readouterr().err


def test_a_missing_configuration_is_bad_input(tmp_path, capsys):
    assert run(["doctor", f"--config={tmp_path / 'none.toml'}"]) == 4

    assert "does not exist" in capsys.readouterr().err


def test_flags_beat_environment_beats_configuration(tmp_path, capsys, monkeypatch):
    file = tmp_path / "edgekit.toml"
    file.write_text("[distill]\nconcept = 'from file'\nseed = 5\n")
    arguments = ["distill", "--out", str(tmp_path / "o"), "--dry-run", "--json", "--profile", "cpu"]
    arguments += ["--teacher", str(tmp_path), "--config", str(file)]

    def planned() -> dict:
        assert run(arguments) == 0
        return json.loads(capsys.readouterr().out)

    from_file = planned()
    monkeypatch.setenv("EDGEKIT_DISTILL_CONCEPT", "from environment")
    from_environment = planned()
    arguments += ["--concept", "from flag"]
    from_flag = planned()

    assert "from file" in json.dumps(from_file)
    assert "from environment" in json.dumps(from_environment)
    assert "from flag" in json.dumps(from_flag)
    assert not (tmp_path / "o").exists()


def test_a_traceback_is_shown_only_with_debug(capsys):
    with pytest.raises(EdgekitError):
        run(["nonsense", "--debug"])

    assert run(["nonsense"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_package_names_its_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "edgekit.cli.doctor", None)

    def missing(name: str) -> None:
        raise ModuleNotFoundError("no", name="coremltools")

    monkeypatch.setattr("edgekit.cli.main.import_module", missing)

    assert run(["doctor"]) == 3
    assert "pip install 'edgekit-toolchain[ios]'" in capsys.readouterr().err


def test_completion_offers_the_commands():
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main"],
        env={"_EDGEKIT_COMPLETE": "complete_bash", "COMP_WORDS": "edgekit ex", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )

    assert done.stdout.split() == ["export"]
