"""The Swift sources are built and tested once, for all tests that need them."""

from __future__ import annotations

import subprocess

import pytest
from tests.ios.swift import DEMO


@pytest.fixture(scope="session")
def tested() -> str:
    """What test.sh says: style, tests, stand-ins, LinuxEngine; it fails if one of them does."""
    done = subprocess.run(
        [DEMO / "test.sh"], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout + done.stderr
