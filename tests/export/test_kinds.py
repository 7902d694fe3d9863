"""Any student: several inputs and outputs of any shape, on every target that executes here."""

import pytest
from tests import needs
from tests.export.kinds import TOKENS, WIDTH, write_mesh_generator, write_restorer

from edgekit.export.bundle import export_student
from edgekit.export.targets import TARGETS
from edgekit.runtime.sessions import open_session
from edgekit.runtime.verify import verify_bundle

QUICK = ["onnx", "openvino", "tensorrt"]
pytestmark = needs.EVERYTHING


@pytest.fixture(scope="module")
def restorer(tmp_path_factory):
    return write_restorer(tmp_path_factory.mktemp("restorer") / "student")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    return write_mesh_generator(tmp_path_factory.mktemp("mesh") / "student")


def exported(student, out, targets, *precisions):
    return export_student(
        student,
        targets,
        out,
        open_session=open_session,
        precisions=precisions,
        isolated=False,
    )


def ports(entries):
    return {entry.name: entry.shape for entry in entries}


def test_a_restorer_keeps_its_picture_and_its_cached_keys_and_values(restorer, tmp_path):
    bundle = exported(restorer, tmp_path / "b", QUICK, "fp32", "fp16")

    assert {model.format for model in bundle.models} == {"onnx", "openvino", "engine", "trt"}
    for model in bundle.models:
        assert ports(model.inputs) == {
            "image": (1, 3, 32, 32),
            "ref_k": (1, TOKENS, WIDTH),
            "ref_v": (1, TOKENS, WIDTH),
        }
        assert ports(model.outputs) == {"image_out": (1, 3, 32, 32), "attention": (1, TOKENS + 64)}
        assert model.parity.worst_psnr_db >= (100 if model.precision == "fp32" else 55)
    assert {c.path for c in verify_bundle(tmp_path / "b").checks if c.status == "ok"} == {
        model.path for model in bundle.models if model.executed
    }


def test_a_mesh_generator_goes_from_a_text_to_planes_and_a_field(mesh, tmp_path):
    bundle = exported(mesh, tmp_path / "b", QUICK, "fp32")

    for model in bundle.models:
        assert ports(model.inputs) == {"text": (1, 256)}
        assert ports(model.outputs) == {"planes": (3, 16, 64, 64), "field": (1, 4, 12, 12, 12)}
        assert model.parity.worst_psnr_db >= (100 if model.precision == "fp32" else 55)
    assert sum(model.executed for model in bundle.models) == 2
    assert verify_bundle(tmp_path / "b").passed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names"), [("restorer", ["executorch"]), ("mesh", ["android", "ios"])]
)
def test_phones_and_executorch_take_them_too(request, tmp_path, kind, names):
    student = request.getfixturevalue(kind)

    bundle = exported(student, tmp_path / "b", names, "fp32")

    assert {model.format for model in bundle.models} == {
        form for name in names for form in TARGETS[name]
    }
    for model in bundle.models:
        assert model.parity.worst_psnr_db >= 80, model.path  # Core ML's pictures are bytes
        assert {p.name for p in model.inputs} == {p.name for p in bundle.models[0].inputs}
    assert verify_bundle(tmp_path / "b").passed
