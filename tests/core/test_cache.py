"""Folders of the cache that nobody uses any more."""

import os

import pytest

from edgekit.core.cache import drop_unused, touch
from edgekit.core.store import locked


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "old"
    (folder / "bundle").mkdir(parents=True)
    (folder / "bundle" / "model.onnx").write_bytes(b"weights")
    os.utime(folder, (0, 0))
    return folder


def test_a_folder_that_nobody_used_for_a_day_goes_with_all_that_is_in_it(old, tmp_path):
    gone = drop_unused([old, tmp_path / "never there"])

    assert gone == [old]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_just_used_stays(old):
    touch(old)

    assert drop_unused([old]) == []
    assert (old / "bundle" / "model.onnx").is_file()


def test_a_folder_in_which_a_process_works_stays(old):
    with locked(old):
        os.utime(old, (0, 0))

        gone = drop_unused([old])

    assert gone == []
    assert (old / "bundle" / "model.onnx").is_file()


def test_a_file_that_is_open_is_read_to_its_end(old):
    with (old / "bundle" / "model.onnx").open("rb") as opened:
        drop_unused([old])

        assert opened.read() == b"weights"
