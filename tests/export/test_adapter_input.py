"""A base with a concept as its second input, converted to every format that executes here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.concepts import SIZE, adapted, edit, image, merged_student, random_adapter
from tests.students import tiny_base

from edgekit.core.seams import Port
from edgekit.distill.adapters import ports
from edgekit.distill.adapters_pack import concept_of_adapter
from edgekit.distill.base import load_base
from edgekit.export.graph import plain_graph
from edgekit.export.mil.operations import MEANING
from edgekit.export.mil.session import open_package
from edgekit.export.program import Program
from edgekit.export.quantize_onnx import INT8_RECIPES, _float_layers
from edgekit.export.targets import FORMATS, Sources, converter_of
from edgekit.runtime.adapters import input_vector
from edgekit.runtime.pipeline import from_golden, to_golden
from edgekit.runtime.sessions import open_session

PROMPTS = ("make it night", "make it snowy")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The program, two concepts as inputs, and what their merged students give."""
    base = load_base(tiny_base(tmp_path_factory.mktemp("base") / "tiny"))
    student, entry = adapted(base)
    adapters = [random_adapter(base, prompt, seed=seed) for seed, prompt in enumerate(PROMPTS)]
    vectors = [input_vector(concept_of_adapter(a, base), entry) for a in adapters]
    wanted = [edit(merged_student(base, a), image()) for a in adapters]
    with torch.no_grad():
        saved = torch.export.export(
            student, (torch.zeros(1, 3, SIZE, SIZE), torch.zeros(1, entry.length))
        )
    inputs, outputs = ports(SIZE, student.layout)
    return Program(plain_graph(saved), inputs, outputs), vectors, wanted


@pytest.fixture(scope="module")
def floats(prepared, tmp_path_factory):
    """Return the fp32 file of a format; each is made once."""
    folder = tmp_path_factory.mktemp("floats")

    def made(form: str) -> Path:
        path = folder / f"base.{form}"
        if not path.exists():
            none = Sources(lambda kind: path, lambda: [])
            converter_of(form).convert(
                prepared[0], path, precision="fp32", recipe="plain", sources=none
            )
        return path

    return made


def picture(file: Path, form: str, program: Program, vector: np.ndarray) -> np.ndarray:
    converter = converter_of(form)
    inputs = tuple(converter.file_port(port, output=False).port() for port in program.inputs)
    result = converter.file_port(program.outputs[0], output=True).port()
    feeds = from_golden({"image": image(), "adapter": vector}, inputs)
    if FORMATS[form].evaluator:
        return open_package(file).unrounded(feeds)["image_out"] * np.float32(2 / 255) - 1
    return to_golden(open_session(file).run(feeds)["image_out"], result)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "tflite", "mlpackage", "aimodel"])
def test_one_file_gives_each_merged_students_picture(prepared, floats, form):
    program, vectors, wanted = prepared

    found = [picture(floats(form), form, program, vector) for vector in vectors]

    assert np.abs(wanted[0] - wanted[1]).max() > 0.05
    for got, expected in zip(found, wanted, strict=True):
        assert np.abs(got - expected).max() <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_an_int8_base_takes_float_concepts(prepared, floats, tmp_path, form):
    program, vectors, wanted = prepared
    feeds = [{"image": image(seed=s), "adapter": vectors[s % 2]} for s in range(6)]
    converter, file = converter_of(form), tmp_path / f"base.{form}"
    sources = Sources(lambda kind: floats(form), lambda: feeds)
    recipe = converter.recipes("int8")[0]
    converter.convert(program, file, precision="int8", recipe=recipe, sources=sources)

    found = [picture(file, form, program, vector) for vector in vectors]

    for got, expected, other in zip(found, wanted, wanted[::-1], strict=True):
        near, far = (float(np.mean((got - value) ** 2)) for value in (expected, other))
        assert 10 * np.log10(4 / near) > 25  # a random network of 16 channels: coarse, not wrong
        assert near < far / 4
    kinds = converter.weight_elements(file)
    assert any("int8" in kind for kind in kinds)


@pytest.mark.slow
def test_an_adapter_input_does_not_make_every_layer_a_first_layer(floats, tmp_path):
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(str(floats("onnx")), str(tmp_path / "p.onnx"), skip_symbolic_shape=True)
    model = onnx.load(tmp_path / "p.onnx")

    kept = _float_layers(model, INT8_RECIPES["ends-1"])

    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    assert 0 < len(set(kept) & set(convolutions)) < len(convolutions) / 4


def test_padding_in_a_package_is_that_of_its_last_dimensions():
    x = torch.arange(6.0).reshape(1, 1, 2, 3)

    padded = MEANING["pad"]({"x": x, "pad": np.array([1, 0, 0, 2]), "mode": "constant"})

    assert padded.shape == (1, 1, 3, 5)
    assert padded[0, 0].tolist() == [[0] * 5, [0, 1, 2, 0, 0], [3, 4, 5, 0, 0]]
    mirrored = MEANING["pad"]({"x": x, "pad": np.array([1, 0, 0, 2]), "mode": "reflect"})
    assert np.array_equal(mirrored[0, 0], np.pad(x[0, 0].numpy(), ((1, 0), (0, 2)), "reflect"))


def test_the_ports_of_an_adapted_student_are_a_picture_and_a_flat_vector(prepared):
    program, vectors, _ = prepared

    names = [(port.name, port.shape, port.layout) for port in program.inputs]

    assert names[0] == ("image", (1, 3, SIZE, SIZE), "nchw")
    assert names[1] == ("adapter", vectors[0].shape, "flat")
    assert program.outputs == (Port("image_out", (1, 3, SIZE, SIZE)),)
