"""Layers, pictures and moves of the evaluator, in real packages, against PyTorch."""

import coremltools as ct
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from coremltools.converters.mil import Builder as mb
from tests.export.mil_packages import W, X, Y, checked, package

GRID = np.random.default_rng(1).uniform(-1.2, 1.2, (1, 5, 7, 2)).astype(np.float32)


def t(array):
    return torch.from_numpy(np.array(array))


WITH_TORCH = {
    "cumsum": (  # coremltools' own definition fails on these two
        lambda x, y: mb.cumsum(x=x, axis=2, exclusive=True, reverse=True),
        lambda x, y: x.flip(2).cumsum(2).flip(2) - x,
    ),
    "gather_nd": (
        lambda x, y: mb.gather_nd(x=x, indices=np.int32([[0, 1, 2], [0, 3, 5]])),
        lambda x, y: x[[0, 0], [1, 3], [2, 5]],
    ),
    "scatter_nd": (
        lambda x, y: mb.scatter_nd(
            data=x, indices=np.int32([[0, 1], [0, 1]]), updates=Y[0, :2], mode="add"
        ),
        lambda x, y: torch.cat([x[:, :1], x[:, 1:2] + t(Y[0, :2].sum(0)), x[:, 2:]], 1),
    ),
    "sliding_windows": (
        lambda x, y: mb.sliding_windows(x=x, axis=3, size=3, stride=2),
        lambda x, y: x.unfold(3, 3, 2).movedim(-1, 4),
    ),
    "argsort": (
        lambda x, y: mb.argsort(x=x, axis=-1, ascending=True),
        lambda x, y: x.argsort(-1),
    ),
    "topk": (
        lambda x, y: mb.topk(x=x, k=3, axis=-1)[0],
        lambda x, y: x.topk(3, -1).values,
    ),
    "shape": (
        lambda x, y: mb.shape(x=x),
        lambda x, y: torch.tensor([1, 4, 6, 8]),
    ),
    "einsum": (
        lambda x, y: mb.einsum(
            values=[x, mb.transpose(x=y, perm=[0, 3, 2, 1])], equation="nchw,nwhu->nchu"
        ),
        lambda x, y: torch.einsum("nchw,nuhw->nchu", x, y),
    ),
    "batch_norm": (
        lambda x, y: mb.batch_norm(
            x=x,
            mean=W[:4, 0, 0, 0],
            variance=W[:4, 0, 1, 1] ** 2,
            gamma=W[:4, 1, 0, 0],
            beta=W[:4, 2, 0, 0],
            epsilon=np.float32(1e-3),
        ),
        lambda x, y: F.batch_norm(
            x,
            t(W[:4, 0, 0, 0]),
            t(W[:4, 0, 1, 1] ** 2),
            t(W[:4, 1, 0, 0]),
            t(W[:4, 2, 0, 0]),
            eps=1e-3,
        ),
    ),
    "instance_norm": (
        lambda x, y: mb.instance_norm(
            x=x, gamma=W[:4, 1, 0, 0], beta=W[:4, 2, 0, 0], epsilon=np.float32(1e-3)
        ),
        lambda x, y: F.instance_norm(x, weight=t(W[:4, 1, 0, 0]), bias=t(W[:4, 2, 0, 0]), eps=1e-3),
    ),
    "layer_norm": (
        lambda x, y: mb.layer_norm(
            x=x, axes=[1], gamma=W[:4, 1, 0, 0], beta=W[:4, 2, 0, 0], epsilon=np.float32(1e-3)
        ),
        lambda x, y: F.layer_norm(
            x.movedim(1, -1), [4], t(W[:4, 1, 0, 0]), t(W[:4, 2, 0, 0]), 1e-3
        ).movedim(-1, 1),
    ),
    "conv": (
        lambda x, y: mb.conv(
            x=x,
            weight=W[:, :2],
            strides=[2, 1],
            pad_type="custom",
            pad=[1, 0, 2, 1],
            dilations=[1, 2],
            groups=2,
            bias=W[:, 0, 0, 0],
        ),
        lambda x, y: F.conv2d(
            F.pad(x, [2, 1, 1, 0]), t(W[:, :2]), t(W[:, 0, 0, 0]), (2, 1), 0, (1, 2), 2
        ),
    ),
    "conv same": (
        lambda x, y: mb.conv(x=x, weight=W, strides=[2, 2], pad_type="same"),
        lambda x, y: F.conv2d(F.pad(x, [0, 1, 0, 1]), t(W), None, 2),
    ),
    "conv_transpose": (
        lambda x, y: mb.conv_transpose(
            x=x,
            weight=W[:4],
            strides=[2, 2],
            pad_type="custom",
            pad=[1, 1, 1, 1],
            bias=W[:4, 0, 0, 0],
        ),
        lambda x, y: F.conv_transpose2d(x, t(W[:4]), t(W[:4, 0, 0, 0]), 2, 1),
    ),
    "conv_transpose output_shape": (
        lambda x, y: mb.conv_transpose(
            x=x,
            weight=W[:4],
            strides=[2, 2],
            pad_type="custom",
            pad=[1, 1, 1, 1],
            output_shape=[1, 4, 12, 16],
        ),
        lambda x, y: F.conv_transpose2d(x, t(W[:4]), None, 2, 1, 1),
    ),
    "conv_transpose valid": (
        lambda x, y: mb.conv_transpose(
            x=x, weight=W[:4, :2], strides=[2, 1], dilations=[2, 1], groups=2
        ),
        lambda x, y: F.conv_transpose2d(x, t(W[:4, :2]), None, (2, 1), 0, 0, 2, (2, 1)),
    ),
    "avg_pool": (
        lambda x, y: mb.avg_pool(
            x=x,
            kernel_sizes=[3, 3],
            strides=[2, 2],
            pad_type="custom",
            pad=[1, 1, 1, 1],
            exclude_padding_from_average=True,
        ),
        lambda x, y: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    "max_pool": (
        lambda x, y: mb.max_pool(
            x=x,
            kernel_sizes=[3, 3],
            strides=[2, 2],
            pad_type="custom",
            pad=[1, 1, 1, 1],
            ceil_mode=True,
        ),
        lambda x, y: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    "l2_pool": (
        lambda x, y: mb.l2_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid"),
        lambda x, y: F.lp_pool2d(x, 2.0, 2, 2),
    ),
    "upsample_nearest_neighbor": (
        lambda x, y: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
        lambda x, y: F.interpolate(x, scale_factor=(2.0, 3.0)),
    ),
    "resize_nearest_neighbor": (
        lambda x, y: mb.resize_nearest_neighbor(x=x, target_size_height=9, target_size_width=5),
        lambda x, y: F.interpolate(x, size=(9, 5)),
    ),
    "upsample_bilinear": (
        lambda x, y: mb.upsample_bilinear(
            x=x, scale_factor_height=2, scale_factor_width=3, align_corners=False
        ),
        lambda x, y: F.interpolate(x, scale_factor=(2.0, 3.0), mode="bilinear"),
    ),
    "upsample_bilinear corners": (
        lambda x, y: mb.upsample_bilinear(
            x=x, scale_factor_height=2, scale_factor_width=3, align_corners=True
        ),
        lambda x, y: F.interpolate(x, scale_factor=(2.0, 3.0), mode="bilinear", align_corners=True),
    ),
    "resize_bilinear": (
        lambda x, y: mb.resize_bilinear(
            x=x, target_size_height=9, target_size_width=5, sampling_mode="UNALIGN_CORNERS"
        ),
        lambda x, y: F.interpolate(x, size=(9, 5), mode="bilinear"),
    ),
    "resize_bilinear strict": (
        lambda x, y: mb.resize_bilinear(
            x=x, target_size_height=9, target_size_width=5, sampling_mode="STRICT_ALIGN_CORNERS"
        ),
        lambda x, y: F.interpolate(x, size=(9, 5), mode="bilinear", align_corners=True),
    ),
    "affine": (
        lambda x, y: mb.affine(
            x=x,
            transform_matrix=np.float32([[0.9, 0.1, 0.05, -0.1, 0.8, 0.1]]),
            output_height=5,
            output_width=6,
            sampling_mode="bilinear",
            padding_mode="constant",
            padding_value=np.float32(0),
            coordinates_mode="normalized_minus_one_to_one",
            align_corners=True,
        ),
        lambda x, y: F.grid_sample(
            x,
            F.affine_grid(
                torch.tensor([[[0.9, 0.1, 0.05], [-0.1, 0.8, 0.1]]]),
                [1, 4, 5, 6],
                align_corners=True,
            ),
            align_corners=True,
        ),
    ),
    "crop": (
        lambda x, y: mb.crop(x=x, crop_height=[1, 2], crop_width=[0, 3]),
        lambda x, y: x[..., 1:4, 0:5],
    ),
    "pixel_shuffle": (
        lambda x, y: mb.pixel_shuffle(x=x, upscale_factor=2),
        lambda x, y: F.pixel_shuffle(x, 2),
    ),
    "space_to_depth": (
        lambda x, y: mb.space_to_depth(x=x, block_size=2),
        lambda x, y: (
            F.pixel_unshuffle(x, 2).reshape(1, 4, 4, 3, 4).transpose(1, 2).reshape(1, 16, 3, 4)
        ),
    ),
    "depth_to_space": (
        lambda x, y: mb.depth_to_space(x=x, block_size=2),
        lambda x, y: F.pixel_shuffle(
            x.reshape(1, 4, 1, 6, 8).transpose(1, 2).reshape(1, 4, 6, 8), 2
        ),
    ),
}

MODERN = {
    "resample": (
        lambda x, y: resampled(x, "bilinear", "constant", "normalized_minus_one_to_one", False),
        lambda x, y: F.grid_sample(x, t(GRID), align_corners=False),
    ),
    "resample nearest": (
        lambda x, y: resampled(x, "nearest", "border", "normalized_minus_one_to_one", True),
        lambda x, y: F.grid_sample(x, t(GRID), "nearest", "border", align_corners=True),
    ),
    "resample reflection": (
        lambda x, y: resampled(x, "bilinear", "reflection", "normalized_zero_to_one", True),
        lambda x, y: F.grid_sample(
            x, t(GRID) * 2 - 1, "bilinear", "reflection", align_corners=True
        ),
    ),
    "pixel_unshuffle": (
        lambda x, y: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)),
        lambda x, y: F.pixel_unshuffle(x, 2),
    ),
    "resize": (
        lambda x, y: mb.resize(
            x=x, shape=[1, 0, 5], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"
        ),
        lambda x, y: F.interpolate(x, size=(6, 5), mode="bilinear"),
    ),
    "gather batched": (
        lambda x, y: mb.gather(
            x=x,
            indices=np.int32(
                [
                    [2, 0],
                ]
            ),
            axis=2,
            batch_dims=1,
        ),
        lambda x, y: x.index_select(2, torch.tensor([2, 0])),
    ),
    "quantize": (
        lambda x, y: mb.dequantize(
            input=mb.quantize(
                input=x, scale=np.float32(0.02), zero_point=np.uint8(120), output_dtype="uint8"
            ),
            scale=np.float32(0.02),
            zero_point=np.uint8(120),
        ),
        lambda x, y: torch.fake_quantize_per_tensor_affine(x, 0.02, 120, 0, 255),
    ),
    "dequantize": (
        lambda x, y: mb.dequantize(
            input=mb.quantize(
                input=x, scale=np.float32([0.01, 0.02, 0.03, 0.01]), axis=1, output_dtype="int8"
            ),
            scale=np.float32([0.01, 0.02, 0.03, 0.01]),
            axis=1,
        ),
        lambda x, y: torch.fake_quantize_per_channel_affine(
            x, torch.tensor([0.01, 0.02, 0.03, 0.01]), torch.zeros(4), 1, -128, 127
        ),
    ),
    "scaled_dot_product_attention": (
        lambda x, y: mb.scaled_dot_product_attention(query=x, key=y, value=x),
        lambda x, y: F.scaled_dot_product_attention(x, y, x),
    ),
    "scaled_dot_product_attention masked": (
        lambda x, y: mb.scaled_dot_product_attention(
            query=x, key=y, value=x, attn_mask=Y[:, :, :, :6]
        ),
        lambda x, y: F.scaled_dot_product_attention(x, y, x, t(Y[:, :, :, :6])),
    ),
    "slice_update": (
        lambda x, y: mb.slice_update(
            x=x, update=Y[:, :2, :, ::2], begin=[0, 1, 0, 0], end=[1, 3, 6, 8], stride=[1, 1, 1, 2]
        ),
        lambda x, y: updated(x),
    ),
}
"""Operations of iOS 16 to 18."""


def resampled(x, sampling, padding, coordinates, corners):
    return mb.resample(
        x=x,
        coordinates=GRID,
        sampling_mode=sampling,
        padding_mode=padding,
        padding_value=np.float32(0),
        coordinates_mode=coordinates,
        align_corners=corners,
    )


def updated(x):
    made = x.clone()
    made[:, 1:3, :, ::2] = t(Y[:, :2, :, ::2])
    return made


@pytest.mark.parametrize(("cases", "target"), [(WITH_TORCH, "iOS15"), (MODERN, "iOS18")])
def test_layers_pictures_and_moves_mean_what_pytorch_computes(tmp_path, cases, target):
    builds = [build for build, _ in cases.values()]
    path = package(tmp_path, builds, getattr(ct.target, target))

    kinds = checked(path, list(cases), [right(t(X), t(Y)) for _, right in cases.values()])

    assert {name.split()[0] for name in cases} - kinds <= {"shape"}  # folded: sizes are known
