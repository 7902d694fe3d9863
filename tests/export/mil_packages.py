"""Real Core ML packages of single operations, and what the evaluator makes of them."""

import shutil

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from edgekit.export.mil.package import read_package
from edgekit.export.mil.session import open_package

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(1, 4, 6, 8)).astype(np.float32)
Y = RANDOM.normal(size=(1, 4, 6, 8)).astype(np.float32)
W = RANDOM.normal(size=(8, 4, 3, 3)).astype(np.float32) * 0.3


def package(folder, builds, target):
    """Write one real package whose outputs are the results of `builds`."""

    @mb.program(
        input_specs=[mb.TensorSpec(shape=X.shape), mb.TensorSpec(shape=Y.shape)],
        opset_version=target,
    )
    def program(x, y):
        made = []
        for i, build in enumerate(builds):
            value = build(x, y)
            kind = "fp32" if value.dtype != types.fp32 else None
            value = mb.cast(x=value, dtype=kind) if kind else value
            made.append(mb.identity(x=value, name=f"out_{i}"))
        return tuple(made)

    model = ct.convert(
        program,
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=target,
        skip_model_load=True,
    )
    path = folder / "program.mlpackage"
    shutil.rmtree(path, ignore_errors=True)
    model.save(str(path))
    return path


def checked(path, names, expected):
    got = open_package(path).run({"x": X, "y": Y})
    for i, (name, wanted) in enumerate(zip(names, expected, strict=True)):
        wanted = np.asarray(wanted, np.float32)
        np.testing.assert_allclose(
            got[f"out_{i}"].reshape(wanted.shape), wanted, rtol=2e-5, atol=2e-5, err_msg=name
        )
    return {operation.kind for operation in read_package(path).operations}
