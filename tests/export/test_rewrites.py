"""Rewrites change no output, and do what they are there for."""

import math

import pytest
import torch
import torch.nn.functional as F
from tests.export.programs import write_student
from torch import nn

from edgekit.core.errors import EdgekitError
from edgekit.export.program import load_program, read_student
from edgekit.export.rewrites import FOR, HALF, REWRITES, rewritten

ATEN = torch.ops.aten


class Picture(nn.Module):
    """A picture to a picture through `inner`, which keeps 8 channels."""

    def __init__(self, inner):
        super().__init__()
        self.into, self.inner, self.out = nn.Conv2d(3, 8, 3, 1, 1), inner, nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, x):
        return torch.tanh(self.out(self.inner(self.into(x))))


class Group(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, 8)

    def forward(self, x):
        return self.norm(x)


class Root(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.RMSNorm(8, eps=1e-6)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class Attend(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2).reshape(1, -1, 2, 4).transpose(1, 2)
        made = F.scaled_dot_product_attention(tokens, tokens * 2, tokens + 1, **self.options)
        return made.transpose(1, 2).reshape(1, -1, 8).transpose(1, 2).reshape(x.shape)


class WrittenGelu(nn.Module):
    def forward(self, x):
        return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class Resize(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, x):
        return F.interpolate(F.interpolate(x, **self.options), size=x.shape[2:], mode="bilinear")


class Pooled(nn.Module):
    def forward(self, x):
        return F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0)


class Odd(nn.Module):
    """A nearest resize of 16 pixels to 13, and no other."""

    def forward(self, x):
        return F.pad(F.interpolate(x, size=(13, 13), mode="nearest"), (0, 3, 3, 0))


class Transposed(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 8, **options)

    def forward(self, x):
        return F.interpolate(self.up(x), size=x.shape[2:])


class Spread(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.kind, self.options = kind, options

    def forward(self, x):
        return x * getattr(x, self.kind)((1, -1), keepdim=True, **self.options)


class Averaged(nn.Module):
    def __init__(self, size, **options):
        super().__init__()
        self.pool = nn.AvgPool2d(size, count_include_pad=False, **options)

    def forward(self, x):
        return F.interpolate(self.pool(x), size=x.shape[2:])


class Computed(nn.Module):
    """A convolution whose kernel depends on its input."""

    def __init__(self, size, bias=False, **options):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 8, size, size))
        self.bias = nn.Parameter(torch.zeros(8)) if bias else None
        self.options = options

    def forward(self, x):
        kernel = self.weight * (1 + x.mean((2, 3))[:, :, None, None])
        return F.interpolate(F.conv2d(x, kernel, self.bias, **self.options), size=x.shape[2:])


class Tokens(nn.Module):
    """A linear layer over the pixels, each a token."""

    def __init__(self, width=8, **options):
        super().__init__()
        self.wide = nn.Linear(8, width, **options)
        self.width = width

    def forward(self, x):
        made = self.wide(x.flatten(2).transpose(1, 2)).reshape(1, -1, 8, self.width // 8).mean(-1)
        return made.transpose(1, 2).reshape(x.shape)


CASES = {
    "linear_by_convolution": [Tokens(), Tokens(24, bias=False)],
    "group_norm_by_instances": [Group(2), Group(1), Group(8)],
    "instance_norm_by_moments": [nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True)],
    "rms_norm_by_layer_norm": [Root()],
    "written_out_attention": [Attend(), Attend(scale=0.3), Attend(is_causal=True)],
    "fused_gelu": [WrittenGelu()],
    "explicit_pool_stride": [Pooled()],
    "nearest_exact_as_nearest": [Resize(scale_factor=2.0, mode="nearest-exact")],
    "resize_by_products": [
        Resize(scale_factor=2.0, mode="bicubic"),
        Resize(size=(20, 12), mode="bicubic", align_corners=True),
        Resize(size=(20, 12), mode="bilinear", antialias=True),
        Resize(size=(20, 13), mode="nearest-exact"),
        Resize(scale_factor=1.25, mode="nearest-exact"),
        Odd(),
    ],
    "transposed_by_pixel_shuffle": [
        Transposed(kernel_size=2, stride=2),
        Transposed(kernel_size=4, stride=2, padding=1),
        Transposed(kernel_size=3, stride=2, padding=1, output_padding=1, bias=False),
        Transposed(kernel_size=5, stride=3, padding=1),
    ],
    "written_out_tanh_gelu": [nn.GELU("tanh")],
    "written_out_elu": [nn.ELU(), nn.ELU(0.5)],
    "variance_by_means": [Spread("var"), Spread("std"), Spread("var", unbiased=False)],
    "average_pool_by_count": [Averaged(3, stride=1, padding=1), Averaged((2, 5), padding=(1, 2))],
    "channel_average_by_sums": [nn.LocalResponseNorm(3, k=2.0), nn.LocalResponseNorm(4)],
    "plain_group_norm_by_instances": [nn.GroupNorm(2, 8, affine=False)],
    "computed_kernel_by_products": [
        Computed(3, padding=1),
        Computed(1),
        Computed(2, stride=2, bias=True),
        Computed(3, dilation=2, padding=(2, 2), bias=True),
    ],
    "transposed_without_border": [
        Transposed(kernel_size=3, stride=2, padding=1, output_padding=1),
        Transposed(kernel_size=5, stride=2, padding=1, dilation=2, bias=False),
        Transposed(kernel_size=(3, 4), stride=2, padding=1, output_padding=(1, 0), groups=2),
    ],
}


SAME_OPERATOR = (
    "transposed_without_border",
    "explicit_pool_stride",
    "average_pool_by_count",
    "linear_by_convolution",
)
"""Rewrites that keep the operator and change its arguments, or replace a layer, which is none."""


def program_of(folder, inner):
    torch.manual_seed(0)
    network = Picture(inner).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return load_program(read_student(write_student(folder / "s", network, size=16)))


def operators(program):
    return [node.target for node in program.module.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(
    ("name", "inner"), [(name, inner) for name, inners in CASES.items() for inner in inners]
)
def test_a_rewrite_is_done_and_preserves_the_output(tmp_path, name, inner):
    program = program_of(tmp_path, inner)
    x = torch.randn(program.inputs[0].shape, generator=torch.Generator().manual_seed(1))

    made, counts = rewritten(program, [name])

    assert counts == {name: 1}
    if name not in SAME_OPERATOR:
        assert set(operators(program)) - set(operators(made))  # what it replaces is gone
    with torch.no_grad():
        before, after = program.module(x)[0], made.module(x)[0]
    assert float((before - after).abs().max()) <= 1e-5 * 2  # of the range of a picture
    assert all("val" in node.meta for node in made.module.graph.nodes if node.op != "output")


def test_a_network_without_an_offender_stays_the_same_program(tmp_path):
    program = program_of(tmp_path, nn.ReLU())

    made, counts = rewritten(program, list(REWRITES))

    assert made is program
    assert counts == {}


def test_every_rewrite_has_a_case_and_every_target_names_known_ones():
    assert CASES.keys() == REWRITES.keys()
    named = (*FOR.values(), *HALF.values())
    assert {name for names in named for name in names} <= REWRITES.keys()


def test_an_unknown_rewrite_suggests_the_nearest(tmp_path):
    with pytest.raises(EdgekitError) as caught:
        rewritten(program_of(tmp_path, nn.ReLU()), ["fused_gleu"])

    assert "did you mean 'fused_gelu'" in caught.value.hint


def test_the_gelu_of_another_scale_is_left_alone(tmp_path):
    class Other(nn.Module):
        def forward(self, x):
            return x * 0.5 * (1.0 + torch.erf(x / 1.5))

    _, counts = rewritten(program_of(tmp_path, Other()), ["fused_gelu"])

    assert counts == {}


class Loud(nn.Module):
    """A group norm of trained size: its inputs are a few hundred, their squares beyond float16."""

    def __init__(self):
        super().__init__()
        self.into, self.norm = nn.Conv2d(3, 8, 3, 1, 1), nn.GroupNorm(2, 8)
        self.out = nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, x):
        return torch.tanh(self.out(torch.relu(self.norm(self.into(x)))))


def test_a_group_norm_that_overflows_in_half_precision_is_saved_twice_over(tmp_path, monkeypatch):
    from edgekit.export import rewrites
    from edgekit.export.mil.session import open_package
    from edgekit.export.parity import measured
    from edgekit.export.program import calibration_feeds, heldout_feeds, reference_outputs
    from edgekit.export.targets import Sources, coreml

    torch.manual_seed(0)
    network = Loud().eval()
    with torch.no_grad():
        network.into.weight *= 400
    student = read_student(write_student(tmp_path / "s", network, size=32))
    program, feeds = load_program(student), heldout_feeds(student, limit=2)
    references = reference_outputs(student, feeds)
    calibration = calibration_feeds(student, limit=4)

    def worst_db(name):
        folder = tmp_path / name
        folder.mkdir()

        def made(precision):
            path = folder / f"{precision}.mlpackage"
            if not path.exists():
                words[name] = coreml.convert(
                    program, path, precision=precision, recipe="plain", sources=sources
                )
            return path

        sources = Sources(made, lambda: calibration)
        ports = [(p, coreml.file_port(p, output=False).port()) for p in program.inputs]
        given = [(p, coreml.file_port(p, output=True).port()) for p in program.outputs]
        session = open_package(made("fp16"))
        return min(measured(session, feeds, references, inputs=ports, outputs=given).psnr_db)

    words = {}
    rewritten_db = worst_db("rewritten")
    monkeypatch.setitem(rewrites.FOR, "mlpackage", ())
    kept_wide_db = worst_db("kept wide")
    monkeypatch.setattr(coreml, "_outside_half", lambda program, sources: [])
    plain_db = worst_db("plain")

    assert plain_db < 30  # what coremltools writes by itself
    assert kept_wide_db > 55
    assert rewritten_db > 55
    assert "group_norm_by_instances (1)" in words["rewritten"]
    assert "float32 for " in words["kept wide"]
    assert "float32 for " not in words["rewritten"]


class LongSums(nn.Module):
    """A layer that adds up 512 products for each of 64 tokens."""

    def __init__(self):
        super().__init__()
        self.long = nn.Linear(512, 3, bias=False)

    def forward(self, x):
        tokens = F.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2).repeat(1, 1, 43)[..., :512]
        made = self.long(tokens).transpose(1, 2).reshape(1, 3, 8, 8)
        return F.interpolate(torch.tanh(made), size=x.shape[2:])


def test_core_ai_does_not_lose_long_sums_in_half_precision(tmp_path, monkeypatch):
    pytest.importorskip("coreai_torch")
    from edgekit.export import rewrites
    from edgekit.export.parity import psnr_db
    from edgekit.export.program import heldout_feeds, reference_outputs
    from edgekit.export.targets import Sources, coreai
    from edgekit.runtime.sessions import open_session

    torch.manual_seed(0)
    student = read_student(write_student(tmp_path / "s", LongSums().eval(), size=16))
    program, feeds = load_program(student), heldout_feeds(student, limit=2)
    wanted = reference_outputs(student, feeds)
    (port,) = program.outputs

    def worst_db(name):
        path, sources = tmp_path / f"{name}.aimodel", Sources(lambda _: tmp_path, lambda: feeds)
        words = coreai.convert(program, path, precision="fp16", recipe="plain", sources=sources)
        session = open_session(path)
        made = [session.run(dict(feed))[port.name] for feed in feeds]
        return words, min(
            psnr_db(one[port.name], other) for one, other in zip(wanted, made, strict=True)
        )

    words, rewritten_db = worst_db("rewritten")
    monkeypatch.setattr(rewrites, "HALF", {})
    _, plain_db = worst_db("plain")

    assert "linear_by_convolution (1)" in words
    assert rewritten_db > plain_db + 6


def test_a_rewrite_takes_up_what_another_made(tmp_path):
    program = program_of(tmp_path, nn.GroupNorm(4, 8))
    names = ["group_norm_by_instances", "instance_norm_by_moments"]
    made, counts = rewritten(program, names)
    x = torch.randn(program.inputs[0].shape, generator=torch.Generator().manual_seed(1))

    assert counts == dict.fromkeys(names, 1)
    assert not {"group_norm", "instance_norm"} & {str(t).split(".")[1] for t in operators(made)}
    with torch.no_grad():
        assert abs(program.module(x)[0] - made.module(x)[0]).max() < 1e-5
