"""What the tests of pages and examples share; they are of one xdist group, so it is made once."""

from pathlib import Path

import pytest
from tests.concepts import tiny_run
from tests.students import tiny_base

from edgekit.cli.main import run


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A tiny base for ONNX with two concepts."""
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder / "tiny")
    for seed, name in enumerate(("night", "snow")):
        tiny_run(folder / name, folder / "tiny", f"make it {name}", seed=seed)
    words = ["export", "--base", "--base-folder", folder / "tiny", "--size", 32]
    words += ["--target", "onnx", "--precision", "fp32", "--out", folder / "base", "-q"]
    assert run([str(word) for word in words]) == 0
    words = ["adapters", "add", folder / "base", folder / "night", folder / "snow"]
    assert run([str(word) for word in [*words, "--base-folder", folder / "tiny", "-q"]]) == 0
    return folder / "base" / "bundle"
