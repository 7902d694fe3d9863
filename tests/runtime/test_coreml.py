"""What can be tried of Core ML outside macOS: a real package is opened and its ports are read."""

from pathlib import Path

import pytest

from edgekit.core.errors import BadInput
from edgekit.core.seams import Port
from edgekit.core.store import file_sha256

coremltools = pytest.importorskip("coremltools", reason="pip install 'edgekit-toolchain[ios]'")


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    from coremltools.converters.mil import Builder

    @Builder.program(
        input_specs=[Builder.TensorSpec((1, 3, 8, 8))], opset_version=coremltools.target.iOS16
    )
    def negative(image):
        return Builder.mul(x=image, y=-1.0, name="image_out")

    picture = coremltools.ImageType(name="image", shape=(1, 3, 8, 8))
    model = coremltools.convert(
        negative,
        inputs=[picture],
        minimum_deployment_target=coremltools.target.iOS16,
        skip_model_load=True,
    )
    file = tmp_path_factory.mktemp("coreml") / "toy.fp16.mlpackage"
    model.save(str(file))
    return file


def test_ports_are_read_and_the_package_stays_as_it_was(package):
    from edgekit.runtime.sessions.coreml import open_file

    before = file_sha256(package)

    session = open_file(package, threads=1)

    assert session.inputs == (Port("image", (1, 8, 8, 3), "uint8", "nhwc", 0.0, 255.0),)
    assert [port.name for port in session.outputs] == ["image_out"]
    assert file_sha256(package) == before


def test_a_damaged_package_is_one_sentence(tmp_path):
    from edgekit.runtime.sessions.coreml import open_file

    (tmp_path / "night.mlpackage").mkdir()

    with pytest.raises(BadInput, match="cannot be loaded"):
        open_file(tmp_path / "night.mlpackage", threads=1)
