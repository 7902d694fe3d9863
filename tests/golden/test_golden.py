"""One golden folder for all languages: it is what Python computes, and node agrees with it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.golden.make import text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def flat(value: Any) -> list[Any]:
    """All leaves in order."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in (key, *flat(value[key]))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


def test_the_golden_file_is_what_python_computes():
    made = json.loads(text())

    kept = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
    for got, wanted in zip(flat(made), flat(kept), strict=True):
        if isinstance(wanted, float):
            assert got == pytest.approx(wanted, rel=1e-6, abs=1e-6)
        else:
            assert got == wanted


def test_the_core_of_the_web_demo_agrees():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the web demo's core was not tested")

    done = subprocess.run(
        [node, "--test", str(ROOT / "web_demo" / "test" / "core.test.js")],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert "# fail 0" in done.stdout
