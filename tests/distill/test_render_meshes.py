"""Pictures of meshes in a batch: the same object by both ways of rendering, gradients, backends."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from edgekit.core.errors import EdgekitError, TargetUnsupported
from edgekit.distill.render.backends import (
    NvdiffrastRasterizer,
    Rasterizer,
    TorchRasterizer,
    rasterizer_named,
)
from edgekit.distill.render.marching import Meshes, cut_of, marched, meshes_of
from edgekit.distill.render.mesh_views import mesh_views
from edgekit.distill.render.rasterize import NOTHING, Raster, antialias, neighbors_of
from edgekit.distill.render.views import Cameras, random_cameras, ring
from edgekit.distill.render.volume import volume_views

CELLS = 16


def lattice(cells: int = CELLS) -> Tensor:
    axis = torch.linspace(-1, 1, cells + 1)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)


def spheres(*radii: float, cells: int = CELLS) -> Meshes:
    return marched(torch.stack([lattice(cells).norm(dim=1) - each for each in radii]), cells)


def rainbow(points: Tensor) -> Tensor:
    """A colour for each place in the world."""
    return points / 2 + 0.5


def grounds(count: int) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1))


def test_a_mesh_looks_like_the_field_it_was_cut_from():
    cameras, size_px = random_cameras(3, torch.Generator().manual_seed(0)), 32

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        return points.norm(dim=-1) - 0.6, rainbow(points)

    soft = volume_views(field, cameras, size_px, grounds(3), coarse=96, fine=96, beta=0.003)
    hard = mesh_views(
        spheres(0.6, cells=32),
        cameras,
        size_px,
        grounds(3),
        paint=rainbow,
        which=torch.zeros(3).long(),
    )

    assert (soft.picture - hard.picture).abs().mean() < 0.01
    assert (soft.opacity - hard.opacity).abs().mean() < 0.01
    assert (soft.picture - hard.picture.flip(2)).abs().mean() > 0.025


def test_a_batch_shows_what_each_mesh_shows_alone_and_an_empty_one_its_background():
    cameras = random_cameras(3, torch.Generator().manual_seed(0))

    together = mesh_views(spheres(0.3, -1.0, 0.8), cameras, 24, grounds(3), paint=rainbow)

    for number, radius in ((0, 0.3), (2, 0.8)):
        which = slice(number, number + 1)
        alone = mesh_views(spheres(radius), cameras[which], 24, grounds(3)[which], paint=rainbow)
        assert torch.allclose(together.picture[which], alone.picture, atol=1e-6)
    assert torch.equal(together.picture[1], grounds(3)[1].expand(24, 24, 3))
    assert together.opacity[1].max() == 0


def test_nothing_but_empty_meshes_shows_backgrounds_and_a_loss_can_still_go_back():
    sdf = torch.ones(2, len(lattice()), requires_grad=True)

    views = mesh_views(marched(sdf, CELLS), ring(2), 8, grounds(2), paint=rainbow)
    views.picture.sum().backward()

    assert torch.equal(sdf.grad, torch.zeros_like(sdf))
    assert torch.equal(views.picture, grounds(2)[:, None, None].expand(-1, 8, 8, -1))


def test_several_pictures_show_one_mesh():
    meshes, cameras = spheres(0.4, 0.7), ring(5)
    which = torch.tensor([1, 0, 1, 1, 0])

    views = mesh_views(meshes, cameras, 24, grounds(5), paint=rainbow, which=which)

    each = [
        mesh_views(
            spheres((0.4, 0.7)[w]), cameras[i : i + 1], 24, grounds(5)[i : i + 1], paint=rainbow
        )
        for i, w in enumerate(which.tolist())
    ]
    assert torch.allclose(views.picture, torch.cat([one.picture for one in each]), atol=1e-6)


def test_numbers_that_disagree_are_refused():
    with pytest.raises(ValueError, match="2 pictures, 3 cameras"):
        mesh_views(spheres(0.4, 0.7), ring(3), 8, grounds(3), paint=rainbow)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_from_pictures_to_the_field_are_those_of_differences(seed):
    """Through colours, light, outlines, perspective and the place of vertices on their edges."""
    generator = torch.Generator().manual_seed(seed)
    cells, points = 6, lattice(6).double()
    cameras = random_cameras(2, generator)
    cameras = Cameras(*(each.double() for each in cameras._values()))
    probe = torch.rand(2, 20, 20, 3, generator=generator).double()
    start = torch.rand(5, generator=generator).double() * 0.2
    ground = torch.zeros(2, 3).double()
    bend = torch.rand(len(points), 3, generator=generator).double() - 0.5

    def sdf(values: Tensor) -> Tensor:
        return ((points - values[:3]) * (1 + values[3])).norm(dim=1)[None].expand(2, -1) - 0.61

    cut = cut_of(sdf(start), cells)

    def total(values: Tensor) -> Tensor:
        moved = cut.corners.of((bend * values[4]).expand(2, -1, -1))
        meshes = meshes_of(cut, cut.corners.of(sdf(values)), moved, deform=0.6)
        picture = mesh_views(meshes, cameras, 20, ground, paint=rainbow).picture
        return (picture * probe).sum()

    values = start.clone().requires_grad_(True)
    total(values).backward()
    steps = torch.eye(5, dtype=torch.float64) * 1e-7
    numeric = torch.stack([(total(start + s) - total(start - s)) / 2e-7 for s in steps])

    assert numeric.abs().max() > 1
    assert torch.allclose(values.grad, numeric, rtol=1e-3, atol=1e-3)


def test_the_same_meshes_give_the_same_picture_and_the_same_gradient():
    cameras = random_cameras(2, torch.Generator().manual_seed(0))

    def drawn() -> tuple[Tensor, Tensor]:
        sdf = (lattice().norm(dim=1) - 0.6).expand(2, -1).clone().requires_grad_(True)
        views = mesh_views(marched(sdf, CELLS), cameras, 24, grounds(2), paint=rainbow)
        views.picture.square().sum().backward()
        return views.picture.detach(), sdf.grad

    first, second = drawn(), drawn()

    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_pictures_do_not_tremble_where_networks_are_trained_at_half_precision():
    cameras = random_cameras(2, torch.Generator().manual_seed(0))

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        return points.norm(dim=-1) - 0.6, rainbow(points)

    def drawn() -> list[Tensor]:
        hard = mesh_views(spheres(0.4, 0.7), cameras, 24, grounds(2), paint=rainbow)
        clip = cameras.projected(lattice())
        return [hard.picture, volume_views(field, cameras, 16, grounds(2)).picture, clip]

    plain = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        halved = drawn()

    assert all(torch.equal(one, two) for one, two in zip(plain, halved, strict=True))


class Documented:
    """What nvdiffrast promises of its tensors, kept by this project's rasterizer on a processor.

    Rows from the bottom, triangles from 1 in a float, weights of the first two corners, joined
    meshes by ranges of triangles, int32 and float32 only.
    """

    @staticmethod
    def RasterizeCudaContext(device: torch.device) -> object:
        return object()

    @staticmethod
    def rasterize(context, pos, tri, resolution, *, ranges, grad_db):
        assert (pos.dtype, tri.dtype, ranges.dtype) == (torch.float32, torch.int32, torch.int32)
        assert pos.is_contiguous()
        assert tri.is_contiguous()
        pictures = torch.repeat_interleave(torch.arange(len(ranges)), ranges[:, 1].long())
        raster = TorchRasterizer().seen(pos, tri.long(), pictures, len(ranges), resolution[0])
        depth = torch.where(raster.covered, raster.depth, 0)
        parts = [*raster.weights.unbind(-1)[:2], depth, (raster.triangle + 1).float()]
        return torch.stack(parts, -1).flip(1), None

    @staticmethod
    def antialias(color, rast, pos, tri):
        u, v, depth, number = rast.flip(1).unbind(-1)
        triangle = number.long() - 1
        depth = torch.where(triangle != NOTHING, depth, 1)
        raster = Raster(triangle, torch.stack([u, v, 1 - u - v], -1), depth)
        tri = tri.long()
        return antialias(color.flip(1), raster, pos, tri, neighbors_of(tri)).flip(1)


@pytest.fixture
def documented(monkeypatch):
    library = ModuleType("nvdiffrast.torch")
    for name in ("RasterizeCudaContext", "rasterize", "antialias"):
        setattr(library, name, getattr(Documented, name))
    monkeypatch.setitem(sys.modules, "nvdiffrast", SimpleNamespace(torch=library))
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", library)


def pictures_and_gradients(rasterizer: Rasterizer, device: str = "cpu") -> tuple[Tensor, Tensor]:
    radii = (0.4, -1.0, 0.7)
    sdf = torch.stack([lattice().norm(dim=1) - each for each in radii]).to(device)
    sdf.requires_grad_(True)
    cameras = random_cameras(3, torch.Generator().manual_seed(0), device)
    views = mesh_views(
        marched(sdf, CELLS),
        cameras,
        24,
        grounds(3).to(device),
        paint=rainbow,
        rasterizer=rasterizer,
    )
    (views.picture.square().sum() + views.opacity.sum()).backward()
    return views.picture.detach().cpu(), sdf.grad.cpu()


@pytest.mark.usefixtures("documented")
def test_nvdiffrast_is_called_by_its_own_conventions():
    ours, ours_gradient = pictures_and_gradients(TorchRasterizer())

    theirs, gradient = pictures_and_gradients(NvdiffrastRasterizer(torch.device("cpu")))

    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(ours_gradient, gradient, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_real_nvdiffrast_sees_what_torch_sees():
    pytest.importorskip("nvdiffrast.torch", reason="nvdiffrast is not installed")
    ours, ours_gradient = pictures_and_gradients(TorchRasterizer(), "cuda")

    theirs, gradient = pictures_and_gradients(rasterizer_named("nvdiffrast", "cuda"), "cuda")

    assert (ours - theirs).abs().mean() < 1e-3
    similar = torch.nn.functional.cosine_similarity(
        ours_gradient.flatten(), gradient.flatten(), dim=0
    )
    assert similar > 0.98


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_shows_what_the_processor_shows():
    here, gradient_here = pictures_and_gradients(TorchRasterizer())
    there, gradient_there = pictures_and_gradients(TorchRasterizer(), "cuda")

    assert torch.allclose(here, there, atol=1e-4)
    assert torch.allclose(gradient_here, gradient_there, atol=1e-2)


def test_rasterizers_are_found_by_name_and_a_missing_one_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvdiffrast", None)

    assert rasterizer_named("auto", "cpu").name == "torch"
    with pytest.raises(EdgekitError, match="did you mean 'torch'"):
        rasterizer_named("troch", "cpu")
    with pytest.raises(EdgekitError, match="not installed"):
        NvdiffrastRasterizer(torch.device("cpu"))


def test_a_device_on_which_nvdiffrast_cannot_be_built_is_named(documented):
    def broken(device):
        raise RuntimeError("no nvcc")

    sys.modules["nvdiffrast.torch"].RasterizeCudaContext = broken

    with pytest.raises(TargetUnsupported, match="does not run on cpu: no nvcc"):
        NvdiffrastRasterizer(torch.device("cpu"))
