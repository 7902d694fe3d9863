"""Batches of faces: what a step of training sees."""

from hashlib import sha256

import numpy as np
import pytest
import torch
from tests import needs

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.faces.make import write_faces
from edgekit.distill.faces.sets import Faces, FaceSampler, load_faces
from edgekit.distill.faces.store import FaceEntry, Refused, encoded, open_faces, rounded
from edgekit.distill.restorer.tasks import InTurns

SIZE = 32


def made_up(person: int, photo: int, split: str = "train") -> tuple[FaceEntry, bytes]:
    rng = np.random.default_rng([person, photo])
    picture = np.full((SIZE, SIZE, 3), 40 + 20 * person, np.uint8)
    picture[:, : SIZE // 2] += np.uint8(photo)
    jpeg = encoded(picture)
    points = rng.uniform(4, SIZE - 4, (68, 2)).astype(np.float32)
    entry = FaceEntry(
        key="",
        shard="",
        identity=f"person {person}",
        split=split,
        source=f"{person}/{photo}.jpg",
        licence="CC0",
        points=rounded(points[:5]),
        landmarks=rounded(points),
        pose=(0.0, 0.0, 0.0),
        native_px=SIZE,
        gray=False,
        jpeg_sha256=sha256(jpeg).hexdigest(),
    )
    return entry, jpeg


def folder_of(place, counts: list[int]):
    work = [made_up(who, photo) for who, count in enumerate(counts) for photo in range(count)]
    return write_faces(lambda i: work[i], len(work), {"counts": counts}, place, size_px=SIZE).folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Faces:
    return load_faces(folder_of(tmp_path_factory.mktemp("sets") / "faces", [6, 5, 4, 1]))


@needs.KORNIA
def test_a_step_gives_the_same_batch_each_time_and_another_step_another_one(faces):
    sampler = FaceSampler(faces, references=(1, 4))

    first, again, other = (sampler.at(step, 8, seed=3) for step in (5, 5, 6))

    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first.degraded, other.degraded)


@needs.KORNIA
def test_batches_made_together_are_those_made_one_by_one(faces):
    samplers = [FaceSampler(faces, references=some, places=4) for some in ((1, 4), (0, 0))]
    alone, together = InTurns(samplers), InTurns(samplers, together=4)

    for step in (0, 1, 3, 6):  # of the second group too, and not from its beginning
        one, other = alone.at(step, 8, seed=3), together.at(step, 8, seed=3)

        for wanted, found in zip(one, other, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@needs.KORNIA
def test_references_are_other_photos_of_the_person_unless_they_are_declared_wrong(faces):
    sampler = FaceSampler(faces, references=(1, 4), wrong_share=0.5)

    batch = sampler.at(0, 64, seed=0)

    rows, mask = batch.reference_rows, batch.reference_mask
    owner = faces.identities[rows.clamp(min=0)]
    assert (owner == batch.reference_identity[:, None])[mask].all()
    assert ((batch.reference_identity != batch.identity) == batch.wrong).all()
    assert 16 <= int(batch.wrong.sum()) <= 48
    assert not (rows == batch.rows[:, None])[mask].any()
    for row, seen in zip(rows, mask, strict=True):
        assert len(set(row[seen].tolist())) == int(seen.sum())


@needs.KORNIA
def test_places_without_a_reference_are_masked_and_empty_and_come_last(faces):
    sampler = FaceSampler(faces, references=(1, 8), wrong_share=0)

    batch = sampler.at(0, 64, seed=0)

    counts = batch.reference_mask.sum(1)
    own = torch.bincount(faces.identities)[batch.identity]
    assert (counts >= 1).all()
    assert (counts <= own - 1).all()
    assert set(counts.tolist()) == {1, 2, 3, 4, 5}
    assert (batch.reference_mask.int().diff(dim=1) <= 0).all()
    assert (batch.references[~batch.reference_mask] == 0).all()
    assert (batch.reference_landmarks[~batch.reference_mask] == 0).all()


@needs.KORNIA
def test_a_person_with_one_photo_is_no_target_when_a_reference_is_needed(faces):
    alone = faces.people.index("person 3")

    with_reference = FaceSampler(faces, references=(1, 2)).targets()
    without = FaceSampler(faces, references=(0, 2)).targets()

    assert alone not in faces.identities[with_reference]
    assert alone in faces.identities[without]


@needs.KORNIA
def test_no_references_at_all_leaves_every_place_masked(faces):
    batch = FaceSampler(faces, references=(0, 0), places=3).at(0, 4, seed=0)

    assert batch.references.shape == (4, 3, 3, SIZE, SIZE)
    assert not batch.reference_mask.any()


@needs.KORNIA
def test_a_mirrored_face_has_its_landmarks_at_the_mirrored_places(faces):
    sampler = FaceSampler(faces, references=(1, 1))
    rows = torch.arange(8)

    seen = sampler.of(rows, torch.Generator().manual_seed(0))

    plain = faces.images[rows].float() / 127.5 - 1
    flipped = (seen.target - plain).abs().amax((1, 2, 3)) > 0.01
    assert flipped.any()
    assert not flipped.all()
    assert torch.allclose(seen.target[flipped], plain[flipped].flip(-1))
    right, left = seen.target_landmarks[flipped][:, 36], faces.landmarks[rows][flipped][:, 45]
    assert torch.allclose(right[:, 0], SIZE - left[:, 0])
    assert torch.allclose(right[:, 1], left[:, 1])


@needs.KORNIA
def test_a_resized_set_moves_its_landmarks(tmp_path):
    place = folder_of(tmp_path / "faces", [2, 2])

    whole, half = load_faces(place), load_faces(place, size_px=SIZE // 2)

    assert half.images.shape[-1] == SIZE // 2
    assert torch.allclose(half.landmarks * 2, whole.landmarks)


def test_nobody_with_enough_photos_is_told(faces):
    with pytest.raises(BadInput, match="nobody has 8 photos") as caught:
        FaceSampler(faces, references=(7, 8))

    assert "fewer references" in caught.value.hint


@pytest.mark.parametrize(
    "wrong", [{"references": (3, 2)}, {"wrong_share": 1.5}, {"severity": "sever"}]
)
def test_arguments_that_cannot_be_meant_are_refused(faces, wrong):
    with pytest.raises(EdgekitError):
        FaceSampler(faces, **wrong)


def test_a_split_without_faces_is_told(tmp_path):
    with pytest.raises(BadInput, match="no face of the split test"):
        load_faces(folder_of(tmp_path / "faces", [2, 2]), split="test")


def test_a_killed_run_goes_on_with_the_same_bytes(tmp_path):
    work = [made_up(who, photo) for who in range(4) for photo in range(40)]
    calls = []

    def face(place: int, *, until: int = 10**6):
        if place >= until:
            raise KeyboardInterrupt
        calls.append(place)
        refused = Refused(source=str(place), identity="x", what="no face was found", hint="y")
        return refused if place == 3 else work[place]

    whole = write_faces(face, 160, {"a": 1}, tmp_path / "whole", size_px=SIZE)
    with pytest.raises(KeyboardInterrupt):
        write_faces(lambda i: face(i, until=100), 160, {"a": 1}, tmp_path / "cut", size_px=SIZE)
    calls.clear()
    cut = write_faces(face, 160, {"a": 1}, tmp_path / "cut", size_px=SIZE)
    again = write_faces(face, 160, {"a": 1}, tmp_path / "cut", size_px=SIZE)

    assert calls == list(range(64, 160))
    assert again.manifest == cut.manifest
    assert cut.manifest == whole.manifest
    assert (cut.folder / "index.jsonl").read_bytes() == (whole.folder / "index.jsonl").read_bytes()
    assert len((cut.folder / "refused.jsonl").read_text().splitlines()) == 1


def test_a_folder_of_other_faces_is_not_overwritten(tmp_path):
    place = folder_of(tmp_path / "faces", [2, 2])

    with pytest.raises(EdgekitError, match="another counts"):
        folder_of(place, [2, 3])

    assert len(open_faces(place).entries) == 4
