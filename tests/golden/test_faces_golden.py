"""Faces cut out and put back: golden pictures are what Python computes, and the web demo agrees."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from tests.golden.faces import GOLDEN, text
from tests.golden.test_golden import ROOT, flat


def test_the_golden_faces_are_what_python_computes():
    made = json.loads(text())

    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for got, wanted in zip(flat(made), flat(kept), strict=True):
        if isinstance(wanted, float):
            assert got == pytest.approx(wanted, rel=1e-5, abs=1e-5)
        else:
            assert got == wanted


def test_the_web_demo_cuts_and_pastes_faces_as_python_does():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the web demo's faces were not tested")

    done = subprocess.run(
        [node, "--test", str(ROOT / "web_demo" / "test" / "faces.test.js")],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert "# fail 0" in done.stdout
