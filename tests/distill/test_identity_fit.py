"""Training the identity encoder: few-to-many draws, two decoders, arms, resuming."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.distill.identity_faces import random_faces

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.identity.decoders import FlowDecoder, MaskedDecoder, spots
from edgekit.distill.identity.fit import fit_generator, fit_identity, losses
from edgekit.distill.identity.recipe import ARMS, IdentityRecipe, toy
from edgekit.distill.identity.sampling import Few, IdentitySampler, batch_of

FACES = random_faces()
EVERY_STEP = (0.0, 0.0)


def short(arm: str, steps: int, **values: object) -> IdentityRecipe:
    """A toy recipe whose rates are large enough for a few steps."""
    fast = {"pictures": 8, "lr": 3e-3, "flow_lr": 3e-3, **values}
    return replace(toy(IdentityRecipe(arm=arm, steps=steps)), **fast)


def test_three_photos_go_in_and_eight_others_come_out():
    draw = IdentitySampler(random_faces(each=11), Few()).at(7, 6, seed=0)

    for inputs, targets in zip(draw.inputs.tolist(), draw.targets.tolist(), strict=True):
        assert len(set(inputs)) == 3
        assert len(set(targets)) == 8
        assert not set(inputs) & set(targets)
        assert len({row // 11 for row in (*inputs, *targets)}) == 1


def test_people_with_few_photos_give_fewer_inputs_and_repeated_targets():
    draw = IdentitySampler(random_faces(each=3), Few()).at(0, 12, seed=0)

    assert ((draw.inputs >= 0).sum(1) == 2).all()
    assert all(len(set(targets)) == 1 for targets in draw.targets.tolist())


def test_eight_to_eight_rebuilds_what_went_in():
    draw = IdentitySampler(FACES, ARMS["eight-to-eight"].few).at(0, 4, seed=0)

    assert [sorted(row) for row in draw.inputs.tolist()] == [
        sorted(row) for row in draw.targets.tolist()
    ]


def test_a_draw_follows_from_seed_and_step_and_every_person_comes_up():
    sampler = IdentitySampler(FACES, Few())

    one, two, other = (sampler.at(step, 12, seed=3) for step in (5, 5, 6))

    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert sorted(one.people.tolist()) == list(range(12))


def test_a_mirrored_photo_has_mirrored_points_and_pose():
    sampler = IdentitySampler(FACES, Few(1, 1, 1))
    draw = sampler.at(0, 12, seed=0)
    flipped = batch_of(FACES, draw._replace(flips=torch.ones(12, dtype=torch.bool)))
    plain = batch_of(FACES, draw._replace(flips=torch.zeros(12, dtype=torch.bool)))

    torch.testing.assert_close(flipped.targets, plain.targets.flip(-1))
    torch.testing.assert_close(flipped.points[..., 0, 0], 1 - plain.points[..., 1, 0])
    torch.testing.assert_close(flipped.poses[..., 0], -plain.poses[..., 0])
    assert (flipped.points[..., 0, 0] < flipped.points[..., 1, 0]).all()


def test_one_photo_each_is_too_little():
    with pytest.raises(BadInput, match="two photos"):
        IdentitySampler(random_faces(each=1), Few())


def test_the_masked_decoder_sees_a_twentieth_and_is_judged_by_the_rest():
    decoder = MaskedDecoder(8, size_px=64, width=16, heads=2, layers=1)
    pictures, code = torch.rand(2, 3, 64, 64), torch.rand(2, 4, 8)
    lots = torch.rand(2, 64, generator=torch.Generator().manual_seed(0))
    seen = lots[0].argsort()[0]
    hidden = lots[0].argsort()[-1]
    base = decoder(code, pictures, lots)

    def changed(patch: int) -> torch.Tensor:
        other = pictures.clone()
        row, column = divmod(int(patch), 8)
        other[0, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 1
        return decoder(code, other, lots)

    assert decoder.num_seen == 3
    assert not torch.allclose(base, changed(hidden))
    decoder.embed.weight.data.zero_()  # blind: a patch that is seen can only come in as a target
    torch.testing.assert_close(decoder(code, pictures, lots), changed(seen))


def test_spots_lie_at_the_points():
    drawn = spots(torch.tensor([[[0.25, 0.5], [0.75, 0.125]]]), 16)[0]

    heights, widths = drawn.sum(2).argmax(1).tolist(), drawn.sum(1).argmax(1).tolist()
    assert heights[0] in (7, 8)
    assert heights[1] in (1, 2)
    assert widths[0] in (3, 4)
    assert widths[1] in (11, 12)


def test_a_flow_decoder_that_knows_the_velocity_walks_to_the_picture():
    class Known(FlowDecoder):
        def forward(self, noised, times, points, poses, code_PQC):
            return torch.full_like(noised, 0.5) - noise

    noise = torch.randn(1, 3, 16, 16)
    decoder = Known(8, size_px=16, channels=(16, 16), heads=2)

    made = decoder.sampled(torch.zeros(1, 4, 8), torch.zeros(1, 5, 2), torch.zeros(1, 3), noise)

    torch.testing.assert_close(made, torch.full_like(made, 0.5), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("arm", "steps"), [("masked", 100), ("flow", 20), ("cosface", 40)])
def test_training_reduces_the_loss(arm, steps, tmp_path):
    fit_identity(short(arm, steps), FACES, tmp_path, every_s=(60, 0))

    found = losses(tmp_path, f"1-{arm}")
    tenth = len(found) // 10
    assert len(found) == steps
    assert sum(found[-tenth:]) < 0.8 * sum(found[:tenth])


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_gives_the_same_encoder_and_codes_centred_on_the_mean_person(arm, tmp_path):
    recipe = short(arm, 4)

    encoder = fit_identity(recipe, FACES, tmp_path)

    assert encoder is not None
    assert encoder.shape == recipe.shape
    assert not any(p.requires_grad for p in encoder.parameters())
    images = FACES.images.float().reshape(12, 10, 3, 32, 32) / 127.5 - 1
    codes = encoder(images[:, :3], torch.ones(12, 3, dtype=torch.bool))
    assert codes.mean(0).abs().max() < 0.5 * codes.abs().max()


def test_a_generator_learns_from_codes_that_stay_as_they_are(tmp_path):
    encoder = fit_identity(short("masked", 3), FACES, tmp_path / "encoder")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}

    recipe = short("masked", 15)
    decoder = fit_generator(encoder, recipe, FACES, tmp_path, of="masked", every_s=(60, 0))

    found = losses(tmp_path, "generator")
    assert sum(found[-5:]) < sum(found[:5])
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    made = decoder.sampled(
        torch.zeros(2, *encoder.shape.code),
        torch.rand(2, 5, 2),
        torch.zeros(2, 3),
        torch.randn(2, 3, 32, 32),
        steps=2,
    )
    assert made.abs().max() <= 1


RUN = """
import sys
from pathlib import Path
from tests.distill.test_identity_fit import EVERY_STEP, FACES, short
from edgekit.distill.identity.fit import fit_identity
fit_identity(short("full", 40), FACES, Path(sys.argv[1]), every_s=EVERY_STEP)
"""


def test_a_run_that_was_killed_ends_like_one_that_was_not(tmp_path):
    whole = fit_identity(short("full", 40), FACES, tmp_path / "whole")
    killed = tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(killed)], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (killed / "2-flow.pt").is_file() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    again = fit_identity(short("full", 40), FACES, killed)

    assert "resumed_at_s" in (killed / "log.jsonl").read_text()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_a_run_out_of_time_says_so_and_goes_on_later(tmp_path):
    recipe = short("masked", 30)

    early = fit_identity(recipe, FACES, tmp_path, stop_at=time.monotonic())

    assert early is None
    assert fit_identity(recipe, FACES, tmp_path) is not None


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"arm": "ful", "steps": 1}, "did you mean 'full'"),
        ({}, "seconds or steps"),
        ({"steps": 1, "target_px": 256}, "no larger"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_a_recipe_that_could_only_fail_is_refused(wrong, what):
    with pytest.raises(EdgekitError, match=what):
        IdentityRecipe(**wrong)
