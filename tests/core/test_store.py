import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.core import store
from edgekit.core.errors import BadInput, OutputError


def test_a_file_appears_at_once_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "model.bin"
    store.write_bytes(target, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        store.write_bytes(target, b"new")

    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_really_full_disk_is_one_sentence():
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("needs /dev/full")

    with pytest.raises(OSError, match="No space") as caught, device.open("wb", buffering=0) as file:
        file.write(b"x")
    with pytest.raises(OutputError, match="disk is full"), store._told(device):
        raise caught.value


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("x")

    with pytest.raises(OutputError, match="cannot be written"):
        store.prepared_folder(tmp_path / "out")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_place_where_nobody_can_write_is_told():
    with pytest.raises(OutputError, match="cannot be written"):
        store.prepared_folder(Path("/proc/edgekit/out"))


def test_a_folder_counts_only_with_its_manifest_and_its_recipe(tmp_path):
    assert not store.complete(tmp_path, kind="pairs", recipe_sha256="a" * 64)

    store.finish_folder(tmp_path, kind="pairs", recipe_sha256="a" * 64, facts={"pairs": 3})

    assert store.complete(tmp_path, kind="pairs", recipe_sha256="a" * 64)
    assert not store.complete(tmp_path, kind="pairs", recipe_sha256="b" * 64)
    assert not store.complete(tmp_path, kind="student", recipe_sha256="a" * 64)
    assert store.read_manifest(tmp_path, kind="pairs")["pairs"] == 3


def test_reading_something_else_says_what_it_is(tmp_path):
    with pytest.raises(BadInput, match="not a finished student"):
        store.read_manifest(tmp_path, kind="student")

    store.finish_folder(tmp_path, kind="pairs", recipe_sha256="a" * 64, facts={})

    with pytest.raises(BadInput, match="holds a pairs, not a student"):
        store.read_manifest(tmp_path, kind="student")


def test_a_folder_is_hashed_by_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    before = store.file_sha256(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")

    assert store.file_sha256(tmp_path) != before
    assert store.size_bytes(tmp_path) == 1


def test_two_processes_do_not_write_one_folder(tmp_path):
    code = "import sys; from pathlib import Path; from edgekit.core.store import locked\n"
    code += "with locked(Path(sys.argv[1])): pass"
    with store.locked(tmp_path):
        other = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
        )

    assert "in use by another edgekit process" in other.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_told(tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(OutputError, match="cannot be written"):
        store.write_bytes(tmp_path / "x", b"")
