"""`make bench`: every committed result has an entry that says how it is made."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import run_all  # noqa: E402 - a script, found by the line above


def test_every_result_has_an_entry_and_every_entry_a_result():
    committed = {path.name for path in (ROOT / "benchmarks" / "results").iterdir()}

    assert set(run_all.RESULTS) == committed


def test_every_script_of_an_entry_takes_the_options_that_it_is_given():
    scripts = {
        words[1]: words[2:]
        for entry in run_all.RESULTS.values()
        for text in entry.commands
        if "PEERS" not in text and "-m" not in (words := run_all.words_of(text))
    }
    unknown = []
    for script, words in scripts.items():
        source = Path(script).read_text(encoding="utf-8")
        options = [word for word in words if word.startswith("--")]
        unknown += [f"{script}: {word}" for word in options if f'"{word}"' not in source]

    assert not unknown


def test_the_list_says_commands_and_runs_none(capsys):
    assert run_all.main(["--list", "--only", "faults.json", "gpu_latency.json"]) == 0

    said = capsys.readouterr().out
    assert "benchmarks/faults.py --folder" in said
    assert "gpu_latency.json: skipped, needs a GPU" in said


def test_a_measurement_that_fails_ends_with_its_code(monkeypatch, tmp_path):
    entry = run_all.Measurement(("python -c 'import sys; sys.exit(6)'",))
    monkeypatch.setattr(run_all, "RESULTS", {"broken.json": entry})

    done = run_all.main(["--out", str(tmp_path), "--work", str(tmp_path)])

    assert done == 6


def test_options_of_edgekit_are_those_of_the_command_line():
    pages = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    texts = [text for entry in run_all.RESULTS.values() for text in entry.commands]
    options = {
        word
        for text in texts
        if text.startswith("edgekit")
        for word in run_all.words_of(text)
        if word.startswith("--")
    }

    assert {word for word in options if word not in pages} == set()


def test_it_starts_as_a_script():
    words = [sys.executable, str(ROOT / "benchmarks/run_all.py"), "--list"]

    assert subprocess.run(words, capture_output=True, check=True).stdout.count(b"# ") >= 30
