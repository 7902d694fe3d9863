"""Simple operations of the evaluator, in one real package, against coremltools' own definition.

Most operations of coremltools carry their meaning in numpy (value inference).
"""

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from tests.export.mil_packages import W, X, Y, checked, package

PLACES = np.array([3, 0, -1], np.int32)
UNARY = [
    "abs",
    "acos",
    "asin",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "floor",
    "round",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "logical_not",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "real_div",
    "floor_div",
    "mod",
    "maximum",
    "minimum",
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
]
REDUCED = [
    "reduce_mean",
    "reduce_sum",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_l1_norm",
    "reduce_l2_norm",
    "reduce_sum_square",
    "reduce_log_sum_exp",
]


def unit(x):
    """Values inside (-1, 1), where every function is defined."""
    return mb.mul(x=mb.tanh(x=x), y=np.float32(0.9))


def positive(x):
    return mb.add(x=mb.abs(x=x), y=np.float32(0.5))


SIMPLE = {
    **{name: lambda x, y, n=name: getattr(mb, n)(x=unit(x)) for name in UNARY},
    "sqrt": lambda x, y: mb.sqrt(x=positive(x)),
    "logical_not": lambda x, y: mb.logical_not(x=mb.greater(x=x, y=y)),
    **{name: lambda x, y, n=name: getattr(mb, n)(x=x, y=y) for name in BINARY},
    "pow": lambda x, y: mb.pow(x=positive(x), y=y),
    **{
        f"logical_{name}": lambda x, y, n=name: getattr(mb, f"logical_{n}")(
            x=mb.greater(x=x, y=np.float32(0)), y=mb.greater(x=y, y=np.float32(0))
        )
        for name in ("and", "or", "xor")
    },
    **{
        name: lambda x, y, n=name: getattr(mb, n)(x=x, axes=[1, -1], keep_dims=False)
        for name in REDUCED
    },
    "reduce_log_sum": lambda x, y: mb.reduce_log_sum(x=positive(x), axes=[2], keep_dims=True),
    "reduce_argmax": lambda x, y: mb.reduce_argmax(x=x, axis=1, keep_dims=True),
    "reduce_argmin": lambda x, y: mb.reduce_argmin(x=x, axis=-1, keep_dims=False),
    "rsqrt": lambda x, y: mb.rsqrt(x=positive(x), epsilon=np.float32(0.1)),
    "log": lambda x, y: mb.log(x=positive(x), epsilon=np.float32(0.1)),
    "inverse": lambda x, y: mb.inverse(x=positive(x), epsilon=np.float32(0.1)),
    "threshold": lambda x, y: mb.threshold(x=x, alpha=np.float32(0.2)),
    "clip": lambda x, y: mb.clip(x=x, alpha=np.float32(-0.5), beta=np.float32(0.7)),
    "leaky_relu": lambda x, y: mb.leaky_relu(x=x, alpha=np.float32(0.2)),
    "clamped_relu": lambda x, y: mb.clamped_relu(x=x, alpha=np.float32(0.2), beta=np.float32(0.4)),
    "thresholded_relu": lambda x, y: mb.thresholded_relu(x=x, alpha=np.float32(0.5)),
    "prelu": lambda x, y: mb.prelu(x=x, alpha=np.float32([0.1, 0.2, 0.3, 0.4])),
    "elu": lambda x, y: mb.elu(x=x, alpha=np.float32(0.7)),
    "gelu": lambda x, y: mb.gelu(x=x, mode="EXACT"),
    "gelu tanh": lambda x, y: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
    "gelu sigmoid": lambda x, y: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
    "sigmoid_hard": lambda x, y: mb.sigmoid_hard(x=x, alpha=np.float32(0.3), beta=np.float32(0.4)),
    "softplus_parametric": lambda x, y: mb.softplus_parametric(
        x=x, alpha=np.float32([1, 2, 3, 4]), beta=np.float32([0.5, 1, 1.5, 2])
    ),
    "scaled_tanh": lambda x, y: mb.scaled_tanh(x=x, alpha=np.float32(1.5), beta=np.float32(0.4)),
    "linear_activation": lambda x, y: mb.linear_activation(
        x=x, alpha=np.float32(2), beta=np.float32(0.5)
    ),
    "softmax": lambda x, y: mb.softmax(x=x, axis=1),
    "select": lambda x, y: mb.select(cond=mb.greater(x=x, y=y), a=x, b=y),
    "l2_norm": lambda x, y: mb.l2_norm(x=x, epsilon=np.float32(0.1)),
    "matmul": lambda x, y: mb.matmul(x=x, y=y, transpose_y=True),
    "linear": lambda x, y: mb.linear(x=x, weight=W.reshape(36, 8), bias=W.reshape(-1)[:36]),
    "reshape": lambda x, y: mb.reshape(x=x, shape=[1, -1, 12]),
    "transpose": lambda x, y: mb.transpose(x=x, perm=[0, 2, 3, 1]),
    "squeeze": lambda x, y: mb.squeeze(x=x, axes=[0]),
    "expand_dims": lambda x, y: mb.expand_dims(x=x, axes=[-1]),
    "flatten2d": lambda x, y: mb.flatten2d(x=x, axis=2),
    "concat": lambda x, y: mb.concat(values=[x, y], axis=1),
    "stack": lambda x, y: mb.stack(values=[x, y], axis=2),
    "split": lambda x, y: mb.split(x=x, split_sizes=[3, 5], axis=-1)[1],
    "slice_by_index": lambda x, y: mb.slice_by_index(
        x=x,
        begin=[0, 1, 5, 0],
        end=[0, 3, 0, 0],
        stride=[1, 1, -2, 1],
        end_mask=[False, False, False, True],
        squeeze_mask=[True, False, False, False],
    ),
    "slice_by_size": lambda x, y: mb.slice_by_size(x=x, begin=[0, 1, 2, 3], size=[1, 2, -1, 4]),
    "reverse": lambda x, y: mb.reverse(x=x, axes=[1, 3]),
    "pad": lambda x, y: mb.pad(x=x, pad=[1, 2, 0, 3], constant_val=np.float32(0.5)),
    "pad reflect": lambda x, y: mb.pad(x=x, pad=[1, 2, 0, 3], mode="reflect"),
    "pad replicate": lambda x, y: mb.pad(x=x, pad=[1, 2, 0, 3], mode="replicate"),
    "tile": lambda x, y: mb.tile(x=x, reps=[1, 2, 1, 3]),
    "band_part": lambda x, y: mb.band_part(x=x, lower=1, upper=2),
    "cumsum": lambda x, y: mb.cumsum(x=x, axis=2),
    "gather": lambda x, y: mb.gather(x=x, indices=PLACES, axis=2),
    "gather_along_axis": lambda x, y: mb.gather_along_axis(
        x=x, indices=np.abs(np.int32(X * 2)) % 6, axis=2
    ),
    "argsort": lambda x, y: mb.argsort(x=x, axis=-1, ascending=True),
    "topk": lambda x, y: mb.topk(x=x, k=3, axis=-1)[0],
    "sliding_windows": lambda x, y: mb.sliding_windows(x=x, axis=3, size=3, stride=2),
    "shape": lambda x, y: mb.shape(x=mb.concat(values=[x, y], axis=2)),
}
"""Operation -> how a program calls it; coremltools computes what is right where it can."""


def defined_by_coremltools(build):
    """Compute `build` on constants: coremltools folds them by its own numpy definition."""

    @mb.program(input_specs=[mb.TensorSpec(shape=(1,))])
    def program(dummy):
        made = build(mb.const(val=X.copy()), mb.const(val=Y.copy()))
        program_value.append(made.val)
        return mb.identity(x=dummy)

    return program_value.pop()


program_value: list = []


def test_simple_operations_mean_what_coremltools_computes(tmp_path):
    found = {name: defined_by_coremltools(build) for name, build in SIMPLE.items()}
    names = [name for name, value in found.items() if value is not None]
    path = package(tmp_path, [SIMPLE[name] for name in names], ct.target.iOS15)

    kinds = checked(path, names, [found[name] for name in names])

    assert {name.split()[0] for name in names} - kinds <= {"shape"}  # folded: sizes are known
    assert len(names) > 75
