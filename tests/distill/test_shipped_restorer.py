"""The restorer that ships, on a photo that no training saw."""

import numpy as np
import pytest
import torch
from tests import needs

from edgekit.core.assets import asset_folder
from edgekit.distill.faces.align import Bars, aligned
from edgekit.distill.faces.degrade import damaged, drawn_damage
from edgekit.distill.metrics import as_photos, quality
from edgekit.distill.restorer.phone import alone
from edgekit.distill.shipped import read_shipped

SHIPS = asset_folder("restorer")


def test_the_shipped_restorer_is_that_of_its_card_and_knows_its_bytes():
    shipped = read_shipped(SHIPS)

    assert shipped.card["packing"]["psnr_db"] >= shipped.card["packing"]["bar_db"] == 40.0
    assert sum(file.stat().st_size for file in SHIPS.iterdir()) < 8 << 20
    assert set(shipped.card["data"]["licences"]["us-congress-portraits"].split(", ")) == {
        "pd (676)",
        "pd-presumed (889)",
    }


@needs.FACES
@needs.KORNIA
def test_a_severely_damaged_face_comes_back_nearer_to_the_truth():
    photo = pytest.importorskip("skimage.data").astronaut()
    face = aligned(photo, 128, Bars()).photo
    shipped = read_shipped(SHIPS)
    network = alone(shipped.network, size_px=128)
    true = torch.from_numpy(np.stack([face] * 4)).permute(0, 3, 1, 2).float() / 255
    harm = drawn_damage(4, 128, "severe", torch.Generator().manual_seed(0))

    degraded = damaged(true, harm) * 2 - 1
    with torch.no_grad():
        made = torch.cat([network(one[None]) for one in degraded])

    found = quality(as_photos(degraded), as_photos(true * 2 - 1), as_photos(made))
    assert found["student"]["psnr_db"] > found["source"]["psnr_db"] + 0.5
    assert found["student"]["perceptual"] < 0.7 * found["source"]["perceptual"]
