"""The restorer's network: what references may and may not change, and what ships of it."""

import pytest
import torch
from pytorch_msssim import ms_ssim
from tests.shipped import CODES

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.identity.encoder import fresh_encoder
from edgekit.distill.restorer.bases import read_base, write_base
from edgekit.distill.restorer.diffusion import noised, picture_of, sampled, velocity_of
from edgekit.distill.restorer.one_step import Form, Given, memory_bytes, one_step
from edgekit.distill.restorer.phone import PHONE, TOY_PHONE, fresh_phone
from edgekit.distill.restorer.recipe import restorer_recipe
from edgekit.distill.restorer.recognizer import (
    cosface_loss,
    fresh_recognizer,
    identity_distance,
)
from edgekit.distill.restorer.ship import Enroller, Program, feeds_of, input_ports
from edgekit.distill.restorer.stages import CodeEncoder
from edgekit.distill.restorer.tasks import ENCODER_LR, Codes, RestorerTask
from edgekit.distill.restorer.terms import MultiScaleSSIM, Terms, TermWeights
from edgekit.distill.restorer.unet import TOY, UNetShape, fresh_unet, take_weights
from edgekit.distill.students.cost import count_parameters

SIZE = 32


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def restorer(**form: object):
    """A small one whose every layer does something: fresh ones end in zeros."""
    base = fresh_unet(TOY, seed=0)
    network = one_step(TOY, base.state_dict(), Form(places=2, **form), seed=0)
    dice = torch.Generator().manual_seed(1)
    for value in network.parameters():
        value.data += 0.05 * torch.randn(value.shape, generator=dice)
    return network.eval()


@torch.no_grad()
def restored(network, references, mask, code=None):
    return network.restored(pictures(2), network.given(references, mask, code))


@pytest.mark.parametrize("form", [{}, {"adain": False}, {"gate": False}])
def test_a_masked_reference_changes_no_bit(form):
    network, mask = restorer(**form), torch.tensor([[True, False], [False, False]])
    first, second = pictures(2, 2, seed=2), pictures(2, 2, seed=2)
    second[0, 1], second[1] = 7.0, -3.0

    one, two = restored(network, first, mask), restored(network, second, mask)

    assert torch.equal(one, two)


def test_a_reference_that_is_there_changes_the_picture():
    network, mask = restorer(), torch.ones(2, 2, dtype=torch.bool)

    one = restored(network, pictures(2, 2, seed=2), mask)
    two = restored(network, pictures(2, 2, seed=3), mask)

    assert (one - two).abs().max() > 1e-3


@pytest.mark.parametrize("tuned", [True, False])
def test_the_reference_branch_learns_as_far_as_its_form_says(tuned):
    network = restorer(tuned=tuned)
    given = network.given(pictures(1, 2), torch.ones(1, 2, dtype=torch.bool))

    network.restored(pictures(1), given).square().mean().backward()

    learns = {name for name, p in network.branch.named_parameters() if p.grad is not None}
    assert any(name.endswith("reader.weight") for name in learns)
    assert ("stem.weight" in learns) == tuned
    assert "head.weight" not in learns


def test_nobody_enrolled_gives_what_the_network_without_references_gives():
    network = restorer()

    alone = restored(network, pictures(2, 2), torch.zeros(2, 2, dtype=torch.bool))

    plain = network.network(0.9238795 * pictures(2), torch.full((2,), 0.25))
    cos, sin = 0.9238795, 0.3826834
    assert torch.allclose(alone, cos * cos * pictures(2) - sin * plain, atol=1e-5)


def test_an_encoder_that_is_trained_on_moves_slowly_and_is_held_to_what_tells_people_apart():
    codes = Codes(CodeEncoder(fresh_encoder(CODES, seed=0)), tuned=True)
    task = RestorerTask(
        fresh_phone(TOY_PHONE, seed=0),
        None,
        Terms(TermWeights(adversarial=0, identity=0), None, 64),
        torch.device("cpu"),
        batch=4,
        seed=0,
        codes=codes,
        lr=1e-3,
    )
    batch = {"references": pictures(4, 2), "mask": torch.ones(4, 2, dtype=torch.bool)}
    batch["mask"][3] = False
    task.learners["network"].use_rate(1e-3)

    same = task._moved(batch, codes.of(batch))
    alike = task._moved(batch, codes.of(batch)[:1].expand(4, -1, -1))

    rates = {len(g["params"]): g["lr"] for g in task.learners["network"].optimizer.param_groups}
    assert rates[len(list(codes.encoder.parameters()))] == pytest.approx(ENCODER_LR)
    assert max(rates.values()) == pytest.approx(1e-3)
    assert float(same) == pytest.approx(0, abs=0.05)  # bfloat16 where there is hardware for it
    assert float(alike) > 0.5


def test_without_conditioning_references_are_not_looked_at():
    known = restorer(conditioning="none").given(pictures(2, 2), torch.ones(2, 2, dtype=torch.bool))

    assert known == Given()


def test_the_same_photos_give_the_same_bits_and_draw_nothing():
    network, mask = restorer(), torch.ones(2, 2, dtype=torch.bool)
    before = torch.get_rng_state()

    one, two = (restored(network, pictures(2, 2), mask) for _ in range(2))

    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_a_velocity_leads_back_to_its_picture():
    picture, noise = pictures(4), pictures(4, seed=1)
    level = torch.tensor([0.0, 0.3, 0.7, 1.0])

    back = picture_of(noised(picture, noise, level), velocity_of(picture, noise, level), level)

    assert torch.allclose(back, picture, atol=1e-5)


def test_fifty_steps_with_perfect_answers_arrive_at_the_picture():
    picture, noise = pictures(2), torch.randn(2, 3, SIZE, SIZE)

    def perfect(noisy, level):
        angle = level[:, None, None, None] * torch.pi / 2
        rest = (noisy - angle.cos() * picture) / angle.sin()
        return angle.cos() * rest - angle.sin() * picture

    made = sampled(perfect, noise, steps=50)

    assert torch.allclose(made, picture, atol=1e-3)


@pytest.mark.parametrize("conditioning", ["none", "channels", "memory", "code"])
def test_what_ships_computes_what_was_trained(conditioning):
    network = restorer(conditioning=conditioning)
    references, code = pictures(2, 2, seed=4), torch.randn(2, 32, 256)
    mask = torch.tensor([[True, False], [True, True]])
    program = Program(network).eval()
    feeds = feeds_of(network, references, mask, code)
    names = [port.name for port in input_ports(network, SIZE)[1:]]

    made = [
        program(pictures(2)[i : i + 1], *(torch.from_numpy(feeds[n][i : i + 1]) for n in names))
        for i in range(2)
    ]

    wanted = restored(network, references, mask, code).clamp(-1, 1)
    assert torch.allclose(torch.cat(made), wanted, atol=1e-5)


def test_enrolled_one_by_one_the_ports_are_the_same():
    network, references = restorer(), pictures(1, 2, seed=5)
    enroller = Enroller(network.branch).eval()
    both = feeds_of(network, references, torch.ones(1, 2, dtype=torch.bool), None)

    with torch.no_grad():
        single = [enroller(references[:, i]) for i in range(2)]

    for place, name in enumerate(name for name in both if name.startswith("memory")):
        side_by_side = torch.cat([ports[place] for ports in single], 2)
        assert torch.allclose(side_by_side, torch.from_numpy(both[name]), atol=1e-4)


def test_more_inputs_change_nothing_before_training():
    base = fresh_unet(TOY, seed=0)
    base.head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    plain, wide = (
        one_step(TOY, base.state_dict(), Form(conditioning=kind), seed=3)
        for kind in ("none", "channels")
    )
    mask = torch.ones(2, 4, dtype=torch.bool)

    one, two = (restored(network, pictures(2, 4), mask) for network in (plain, wide))

    assert torch.allclose(one, two, atol=1e-6)


def test_weights_of_another_network_are_refused():
    weights = fresh_unet(UNetShape(widths=(16, 16, 16, 32), head_dim=8, time=32), seed=0)

    with pytest.raises(ValueError, match="the base has"):
        take_weights(fresh_unet(TOY, seed=0), weights.state_dict())


def test_a_base_that_was_changed_is_refused(tmp_path):
    write_base(tmp_path, fresh_unet(TOY, seed=0), size_px=64, recipe_sha256="1", facts={})
    assert read_base(tmp_path).shape == TOY
    path = tmp_path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\1\2\3\4")

    with pytest.raises(BadInput, match="sha256"):
        read_base(tmp_path)


def test_the_default_networks_have_the_size_they_claim():
    base, phone = fresh_unet(UNetShape(), seed=0), fresh_phone(PHONE, seed=0)

    assert 8e6 <= count_parameters(base) <= 15e6
    assert count_parameters(phone) <= 3e6


def test_a_code_takes_a_hundredth_of_the_bytes_of_one_reference():
    assert memory_bytes(UNetShape(), 128) >= 32 * 256 * 2 * 100


def test_a_phone_restorer_knows_nobody_without_references():
    phone, code = fresh_phone(TOY_PHONE, seed=0), torch.randn(2, 32, 256)

    known = phone.given(pictures(2, 2), torch.tensor([[True, False], [False, False]]), code).code

    assert torch.equal(known[0], code[0])
    assert not known[1].any()


def test_our_ms_ssim_is_the_published_one():
    one = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    two = (one + 0.1 * torch.rand(one.shape, generator=torch.Generator().manual_seed(1))).clamp(
        0, 1
    )

    mine = MultiScaleSSIM(192)(one * 2 - 1, two * 2 - 1)

    assert float(mine) == pytest.approx(float(ms_ssim(one, two, data_range=1.0)), abs=1e-4)


def test_the_margin_makes_the_right_person_harder():
    centres = torch.eye(3, 128)
    faces = torch.nn.functional.normalize(torch.eye(3, 128) + 1.0, dim=1)
    identity = torch.arange(3)

    loss = cosface_loss(faces, centres, identity)

    without = torch.nn.functional.cross_entropy(30 * faces @ centres.T, identity)
    assert loss > without


def test_a_face_has_no_distance_to_itself():
    network = fresh_recognizer(4, seed=0).eval()

    same = identity_distance(network, pictures(2), pictures(2))

    assert same.abs().max() < 1e-5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"conditioning": "memroy"}, "did you mean 'memory'"),
        ({"size_px": 100}, "multiple of 64"),
        ({"wrong_share": 1.5}, "from 0 to 1"),
        ({"l1": 0, "perceptual": 0, "ms_ssim": 0}, "give one of them a weight"),
        ({"widht": 3}, "known: "),
        ({"profile": "tpu"}, "known: cpu, gpu"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_before_any_work(change, told):
    with pytest.raises(EdgekitError) as caught:
        restorer_recipe(**change)

    assert told in caught.value.hint
