"""A student that becomes a part of another is copied whole, or not at all."""

import pytest
from tests.students import tiny_student

from edgekit.core.errors import BadInput
from edgekit.core.store import file_sha256, read_manifest
from edgekit.distill.program import PROGRAM, WEIGHTS, copy_student


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return tiny_student(tmp_path_factory.mktemp("student") / "run", size_px=32)


def test_a_copy_is_a_finished_student_of_the_same_files(student, tmp_path):
    (student / "notes.txt").write_text("not a file of the student")

    copy_student(student, tmp_path / "identity")

    assert read_manifest(tmp_path / "identity", kind="student") == read_manifest(
        student, kind="student"
    )
    assert file_sha256(tmp_path / "identity" / PROGRAM) == file_sha256(student / PROGRAM)
    assert not (tmp_path / "identity/notes.txt").exists()


def test_a_student_whose_weights_were_changed_is_not_copied(student, tmp_path):
    copy_student(student, tmp_path / "changed")
    weights = tmp_path / "changed" / WEIGHTS
    weights.write_bytes(weights.read_bytes() + b" ")

    with pytest.raises(BadInput, match="is not the file that was written with the student"):
        copy_student(tmp_path / "changed", tmp_path / "identity")

    assert not (tmp_path / "identity/manifest.json").exists()
