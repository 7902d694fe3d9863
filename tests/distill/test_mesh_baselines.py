"""Networks beside the generator: they begin as the same sphere and learn by the same calls."""

import pytest
import torch

from edgekit.distill.mesh.baselines import fresh_hypernetwork, fresh_planes
from edgekit.distill.mesh.generator import MeshNetwork, fresh_generator, lattice_points
from edgekit.distill.mesh.shape import TOY

WORDS = torch.tensor([[1, 2, 3] + [0] * (TOY.length - 3), [3, 4] + [0] * (TOY.length - 2)])
MAKERS = {
    "generator": lambda seed: fresh_generator(TOY, 4, seed=seed),
    "hypernetwork": lambda seed: fresh_hypernetwork(TOY, 4, seed=seed),
    "planes": lambda seed: fresh_planes(TOY, seed=seed),
}
networks = pytest.mark.parametrize("name", MAKERS)


@networks
def test_every_network_of_the_comparison_starts_as_the_same_sphere(name):
    network = MAKERS[name](0)
    points = torch.rand(2, 500, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1

    field = network.field(network.codes(WORDS), points)

    assert isinstance(network, MeshNetwork)
    assert (field.sdf - (points.norm(dim=-1) - TOY.radius)).abs().max() < 0.08
    assert field.deformation.abs().max() < 0.2
    assert (field.colors - 0.5).abs().max() < 0.1


@networks
def test_the_lattice_is_the_field_at_its_corners(name):
    network = MAKERS[name](1)
    codes = network.codes(WORDS)

    whole = network.on_lattice(codes, 6)

    parts = network.field(codes, lattice_points(6).expand(2, -1, -1))
    for one, two in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


@networks
def test_the_same_seed_gives_the_same_network_and_another_another(name):
    points = lattice_points(3).expand(2, -1, -1)

    first, again, other = (
        network.field(network.codes(WORDS), points).colors
        for network in (MAKERS[name](5), MAKERS[name](5), MAKERS[name](6))
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@networks
def test_a_few_steps_bend_the_sphere_into_two_others(name):
    network = MAKERS[name](0)
    points = torch.rand(2, 400, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    sizes = torch.tensor([[0.3], [0.3 if name == "planes" else 0.7]])
    wanted = points.norm(dim=-1) - sizes
    optimizer = torch.optim.Adam(network.parameters(), 2e-3 if name == "hypernetwork" else 1e-2)

    def loss():
        return (network.field(network.codes(WORDS), points).sdf - wanted).abs().mean()

    before = loss().item()
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    assert loss().item() < before / 3


def test_free_planes_do_not_read_the_prompt_and_the_hypernetwork_does():
    points = lattice_points(3).expand(2, -1, -1)

    free, hyper = (
        network.field(network.codes(WORDS), points).sdf
        for network in (MAKERS["planes"](0), MAKERS["hypernetwork"](0))
    )

    assert torch.equal(free[0], free[1])
    assert not torch.equal(hyper[0], hyper[1])
