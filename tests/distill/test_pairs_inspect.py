"""The contact sheet and the summary show what was kept, what was not, and why."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgekit.core.errors import OutputError
from edgekit.distill.pairs.inspect import RED, contact_sheet, summary, summary_text
from edgekit.distill.pairs.make import make_pairs
from edgekit.distill.pairs.settings import PairSettings
from edgekit.distill.pairs.store import PairSet


class Moody:
    """A teacher without weights that leaves every fourth photo as it is."""

    identity = "moody@0"

    def edit(self, images, prompt, *, seed):
        return np.stack(
            [image if one % 4 == 0 else image // 2 for one, image in zip(seed, images, strict=True)]
        )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> PairSet:
    settings = PairSettings(prompt="make it dim", count=24, size_px=64, variation=0.0)
    return make_pairs(settings, Moody(), tmp_path_factory.mktemp("pairs"))


def test_the_summary_counts_what_the_index_holds(pairs):
    facts = summary(pairs)

    assert facts["made"] == 24
    assert facts["kept"] + sum(facts["rejected"].values()) == 24
    assert facts["rejected"]["the edit changed almost nothing"] >= 1
    assert facts["train"] + facts["heldout"] == facts["kept"]
    assert facts["scores"]["change"]["least"] == 0
    assert f"kept {facts['kept']} of 24" in summary_text(facts)


def test_the_sheet_frames_rejected_pairs_in_red(pairs, tmp_path):
    sheet = contact_sheet(pairs, tmp_path / "new" / "sheet.png")

    picture = np.asarray(Image.open(sheet).convert("RGB"))
    framed = (picture == RED).all(-1).sum()
    assert picture.shape[1] > 1000
    assert framed >= len(pairs.rejected) * 2 * 128 * 3


def test_a_sheet_shows_at_most_what_is_asked_for(pairs, tmp_path):
    sheet = contact_sheet(pairs, tmp_path / "few.jpg", limit=3)

    assert Image.open(sheet).size[1] < 260


def test_an_unwritable_sheet_is_one_sentence(pairs, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="cannot be written"):
        contact_sheet(pairs, tmp_path / "file" / "sheet.png")
