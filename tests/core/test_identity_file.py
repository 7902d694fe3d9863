"""The file of an identity code: what is in it, what is refused, how it goes away."""

import json
import os
import stat
from dataclasses import replace

import numpy as np
import pytest

from edgekit.core.errors import BadInput
from edgekit.core.identity import (
    MOST_BYTES,
    IdentityCode,
    cosine,
    erase_identity,
    read_identity,
    similarity,
    write_identity,
)

VALUES = np.random.default_rng(0).normal(size=(32, 256)).astype(np.float16).astype(np.float32)
CODE = IdentityCode(values=VALUES, encoder_sha256="a" * 64, photos=3, threshold=0.4)


def test_a_code_comes_back_and_takes_17_kb(tmp_path):
    size = write_identity(tmp_path / "me.code", CODE)

    found = read_identity(tmp_path / "me.code")
    assert size == (tmp_path / "me.code").stat().st_size < 17_000 < MOST_BYTES
    assert np.array_equal(found.values, CODE.values)
    assert replace(found, values=VALUES) == replace(CODE, values=VALUES)


def test_the_file_says_no_more_than_it_must_and_no_date_unless_asked(tmp_path):
    path = tmp_path / "me.code"
    write_identity(path, CODE)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])

    assert set(header["__metadata__"]) == {"format", "encoder_sha256", "photos", "threshold"}
    assert set(header) == {"__metadata__", "code"}
    write_identity(path, replace(CODE, created="2026-11-23"))
    assert read_identity(path).created == "2026-11-23"


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")
def test_only_its_owner_may_read_it(tmp_path):
    write_identity(tmp_path / "me.code", CODE)

    assert stat.S_IMODE((tmp_path / "me.code").stat().st_mode) == 0o600


def test_safetensors_reads_it_too(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    write_identity(tmp_path / "me.code", CODE)

    assert numpy.load_file(tmp_path / "me.code")["code"].shape == (32, 256)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"0",
        lambda data: data[:40],
        lambda data: b"",
        lambda data: data.replace(b"identity.1", b"identity.9"),
        lambda data: data.replace(b"F16", b"F32"),
        lambda data: (1 << 40).to_bytes(8, "little") + data[8:],
        lambda data: data[:-2] + np.array([np.nan], "<f2").tobytes(),
        lambda data: data + bytes(MOST_BYTES),
    ],
)
def test_a_damaged_file_is_refused_with_one_sentence(damage, tmp_path):
    path = tmp_path / "me.code"
    write_identity(path, CODE)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(BadInput, match="is not an identity code"):
        read_identity(path)


@pytest.mark.parametrize("values", [np.zeros((200, 256)), np.zeros(8), np.full((2, 2), np.inf)])
def test_what_is_no_code_is_not_written(values, tmp_path):
    with pytest.raises(ValueError, match="code"):
        write_identity(tmp_path / "me.code", replace(CODE, values=values))

    assert not list(tmp_path.iterdir())


def test_codes_of_two_encoders_are_not_compared():
    with pytest.raises(BadInput, match="different encoders"):
        similarity(CODE, replace(CODE, encoder_sha256="b" * 64))


def test_similarity_is_a_cosine_whatever_the_size_of_the_code():
    assert similarity(CODE, replace(CODE, values=3 * VALUES)) == pytest.approx(1)
    assert similarity(CODE, replace(CODE, values=-VALUES)) == pytest.approx(-1)
    assert cosine(VALUES, np.zeros_like(VALUES)) == 0


def test_deleting_overwrites_before_it_removes(tmp_path):
    path, kept = tmp_path / "me.code", tmp_path / "hard link"
    write_identity(path, CODE)
    before = path.read_bytes()
    os.link(path, kept)

    size = erase_identity(path)

    assert not path.exists()
    assert size == len(before) == len(kept.read_bytes())
    assert sum(a == b for a, b in zip(before, kept.read_bytes(), strict=True)) < 0.02 * size


def test_a_damaged_code_can_be_deleted(tmp_path):
    path = tmp_path / "me.code"
    write_identity(path, CODE)
    path.write_bytes(path.read_bytes()[:-7])

    erase_identity(path)

    assert not path.exists()


def test_nothing_but_a_code_is_deleted(tmp_path):
    photo, link, code = tmp_path / "photo.jpg", tmp_path / "link", tmp_path / "me.code"
    photo.write_bytes(b"\xff\xd8 a photo")
    write_identity(code, CODE)
    link.symlink_to(code)

    for path, what in (
        (photo, "is not an identity code"),
        (link, "is a link"),
        (tmp_path / "none", "does not exist"),
        (tmp_path, "does not exist"),
    ):
        with pytest.raises(BadInput, match=what):
            erase_identity(path)
    assert photo.exists()
    assert code.exists()
