"""The two losses against a guide that knows the answer, and the terms that keep shapes in order."""

import pytest
import torch
from tests.distill.mesh_guides import ExactGuide, box, of_mesh

from edgekit.distill.mesh.distillation import SHIFT, Draws, Wanted, score_loss
from edgekit.distill.mesh.generator import lattice_points
from edgekit.distill.mesh.guide import Guide
from edgekit.distill.mesh.regularity import regularity
from edgekit.distill.render.views import ring

SIDE, COUNT = 12, 4
CAMERAS = ring(COUNT)
THINGS = {
    "a red plate": of_mesh(box((0.6, 0.3, 0.6), (0.9, 0.1, 0.1))),
    "a blue tower": of_mesh(box((0.3, 0.7, 0.3), (0.1, 0.2, 0.9))),
}
GUIDE = ExactGuide(THINGS, size_px=SIDE)
LAST = torch.tensor(0.98)


class Watched:
    """A guide that notes what it is asked, and answers what it is told to."""

    def __init__(self, guide: ExactGuide = GUIDE, answer: float | None = None) -> None:
        self.guide, self.answer, self.asked = guide, answer, []
        self.size_px, self.alphas, self.encode = guide.size_px, guide.alphas, guide.encode

    def latents(self, pictures):
        return pictures

    def noise(self, noisy, step, text, cameras):
        self.asked.append((noisy, step, text, cameras))
        if self.answer is not None:
            return torch.full_like(noisy, self.answer)
        return self.guide.noise(noisy, step, text, cameras)


def right(background: float = 0.5) -> torch.Tensor:
    """Pictures of the plate."""
    colour, cover = THINGS["a red plate"](CAMERAS, SIDE).split((3, 1), 1)
    return colour + (1 - cover) * background


def draws(seed: int = 0, level: float | None = None) -> Draws:
    dice = torch.Generator().manual_seed(seed)
    levels = torch.rand(COUNT, generator=dice)
    if level is not None:
        levels = torch.full((COUNT,), level)
    noise = torch.randn(COUNT, 3, SIDE, SIDE, generator=dice)
    return Draws(levels, torch.rand(COUNT, generator=dice), noise)


def wanted(prompt: str = "a red plate") -> Wanted:
    return Wanted(GUIDE.encode([prompt] * COUNT), GUIDE.encode([""]), CAMERAS)


def scored(pictures, guide=GUIDE, *, kind="asd", guidance=1.0, chance=None, prompt="a red plate"):
    return score_loss(
        guide,
        pictures,
        wanted(prompt),
        chance or draws(),
        kind=kind,
        guidance=guidance,
        last=LAST,
    )


def known(noisy, step, pictures) -> torch.Tensor:
    """What a model that expects exactly `pictures` answers."""
    share = GUIDE.alphas[step].view(-1, 1, 1, 1)
    clean = (2 * pictures - 1).repeat(len(noisy) // len(pictures), 1, 1, 1)
    return (noisy - share.sqrt() * clean) / (1 - share).sqrt()


def slope_of(pictures, **more) -> torch.Tensor:
    pictures = pictures.clone().requires_grad_()
    scored(pictures, **more).loss.backward()
    return pictures.grad


def test_the_exact_guide_is_a_guide():
    assert isinstance(GUIDE, Guide)


@pytest.mark.parametrize("kind", ["sds", "asd"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_step_against_the_slope_brings_pictures_nearer_to_what_the_prompt_shows(kind, guidance):
    start, goal = torch.full((COUNT, 3, SIDE, SIDE), 0.5), right()

    slope = slope_of(start, kind=kind, guidance=guidance)

    moved = start - 0.05 * slope / slope.abs().max()
    assert (moved - goal).square().sum() < (start - goal).square().sum()


@pytest.mark.parametrize("kind", ["sds", "asd"])
def test_pictures_that_are_right_are_left_alone(kind):
    exact = Watched()
    exact.noise = lambda noisy, step, text, cameras: known(noisy, step, right())

    at_goal, away = (scored(x, exact, kind=kind) for x in (right(), right().flip(-2)))

    assert at_goal.push < 1e-5 * away.push
    assert slope_of(right(), guide=exact, kind=kind).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["sds", "asd"])
def test_the_slope_has_the_same_size_for_both_losses(kind):
    slope = slope_of(torch.full((COUNT, 3, SIDE, SIDE), 0.5), kind=kind)

    # The mean over pictures and pixels; a picture in 0..1 moves half as far as in -1..1.
    size = slope.square().mean().sqrt() * COUNT * SIDE * SIDE / 2
    assert float(size) == pytest.approx(0.15, rel=0.01)


def test_sds_subtracts_the_noise_that_was_added():
    guide = Watched(answer=0.0)
    chance = draws(level=0.5)

    slope = slope_of(right(), guide=guide, kind="sds", chance=chance)

    cosine = torch.nn.functional.cosine_similarity(slope.flatten(), -chance.noise.flatten(), dim=0)
    assert cosine > 0.999


def test_asd_asks_again_at_a_noisier_step_of_the_same_noise():
    guide, chance = Watched(), draws(level=0.6)
    pictures = right()

    scored(pictures, guide, kind="asd", guidance=3.0, chance=chance)

    ((noisy, step, text, cameras),) = guide.asked
    plain, nothing, later = step.chunk(3)
    kept = GUIDE.alphas[later].sqrt().view(-1, 1, 1, 1) * (2 * pictures - 1)
    found = (noisy.chunk(3)[2] - kept) / (1 - GUIDE.alphas[later]).sqrt().view(-1, 1, 1, 1)
    assert torch.equal(plain, nothing)
    assert (later >= plain).all()
    assert ((later - plain) <= SHIFT * plain + 1).all()
    assert (later > plain).any()
    assert torch.allclose(found, chance.noise, atol=1e-4)
    assert text[:, 0, 0].tolist() == [0.0] * 4 + [2.0] * 4 + [0.0] * 4
    assert torch.equal(cameras.yaw, CAMERAS.yaw.repeat(3))


@pytest.mark.parametrize(
    ("kind", "guidance", "rows"), [("sds", 1, 1), ("sds", 4, 2), ("asd", 1, 2)]
)
def test_the_guide_is_asked_no_more_than_needed(kind, guidance, rows):
    guide = Watched()

    scored(right(), guide, kind=kind, guidance=guidance)

    assert [len(step) for _, step, _, _ in guide.asked] == [rows * COUNT]


def test_an_answer_that_is_no_number_says_nothing():
    slope = slope_of(right(), guide=Watched(answer=float("nan")), kind="asd")

    assert torch.equal(slope, torch.zeros_like(slope))


def test_larger_renders_reach_the_guide_at_its_size_and_get_a_slope_everywhere():
    guide = Watched()
    large = torch.full((COUNT, 3, 2 * SIDE, 2 * SIDE), 0.3)

    slope = slope_of(large, guide=guide)

    assert guide.asked[0][0].shape[-2:] == (SIDE, SIDE)
    assert slope.abs().amin((0, 1)).min() >= 0
    assert (slope.abs().sum((0, 1)) > 0).float().mean() > 0.9


def test_a_guide_of_latents_is_followed_through_its_encoder():
    class Latent(Watched):
        def latents(self, pictures):
            return torch.nn.functional.avg_pool2d(pictures, 2)[:, :2]

    chance = Draws(*draws()[:2], torch.randn(COUNT, 2, SIDE // 2, SIDE // 2))

    slope = slope_of(right(), guide=Latent(answer=1.0), kind="sds", chance=chance)

    assert (slope[:, :2].abs() > 0).float().mean() > 0.9
    assert torch.equal(slope[:, 2], torch.zeros_like(slope[:, 2]))


def ball(radius: float, cells: int = 16) -> torch.Tensor:
    return lattice_points(cells).norm(dim=-1)[None] - radius


def test_a_ball_is_in_order():
    found = regularity(ball(0.5), 16)

    assert found.eikonal < 0.01
    assert found.empty == 0


def test_a_distance_that_grows_too_fast_is_not():
    assert float(regularity(3 * ball(0.5), 16).eikonal) == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize(("sdf", "way"), [(ball(-0.3), 1), (ball(0.01), 1), (ball(2.0), -1)])
def test_a_field_without_a_surface_is_pushed_to_where_it_has_one(sdf, way):
    sdf = sdf.clone().requires_grad_()

    found = regularity(sdf, 16)
    found.empty.backward()

    moved = torch.sign(sdf.grad[sdf.grad != 0])
    assert found.empty > 0
    assert (moved == way).all()


def test_one_empty_shape_in_a_batch_is_not_hidden_by_the_others():
    assert regularity(torch.cat([ball(0.5), ball(-0.3)]), 16).empty > 0.1
