"""Core AI's interpreter on a real asset that coreai-torch wrote."""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekit.core.errors import BadInput
from edgekit.runtime.sessions import open_session

pytest.importorskip("coreai_torch", reason="pip install 'edgekit-toolchain[ios]'")


@pytest.fixture(scope="module")
def asset(tmp_path_factory) -> Path:
    import torch
    from coreai_torch import TorchConverter, get_decomp_table

    class Negative(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return -image

    half = torch.zeros(1, 3, 8, 8, dtype=torch.float16)
    program = torch.export.export(Negative(), (half,)).run_decompositions(get_decomp_table())
    converter = TorchConverter().add_exported_program(
        program, input_names=["image"], output_names=["image_out"], entrypoint_name="main"
    )
    file = tmp_path_factory.mktemp("coreai") / "toy.fp16.aimodel"
    converter.to_coreai().save_asset(file)
    return file


def test_an_asset_is_executed_in_half_precision(asset):
    session = open_session(asset)
    values = np.linspace(-1, 1, 192, dtype=np.float16).reshape(1, 3, 8, 8)

    result = session.run({"image": values})["image_out"]

    assert session.inputs[0].dtype == "float16"
    np.testing.assert_array_equal(result, -values)


@pytest.mark.parametrize("harm", ["cut short", "emptied"])
def test_a_damaged_asset_is_an_error_and_not_the_end_of_the_process(asset, tmp_path, harm):
    copy = Path(shutil.copytree(asset, tmp_path / "copy.aimodel"))
    program = copy / "main.mlirb"
    program.write_bytes(program.read_bytes()[:100] if harm == "cut short" else b"")

    with pytest.raises(BadInput, match="sha256"):
        open_session(copy)


def test_a_result_is_not_overwritten_by_the_next_call(asset):
    session = open_session(asset)
    first = session.run({"image": np.ones((1, 3, 8, 8), np.float16)})["image_out"]

    session.run({"image": np.zeros((1, 3, 8, 8), np.float16)})

    assert (first == -1).all()


def test_it_can_be_called_inside_a_running_event_loop(asset):
    session = open_session(asset)

    async def called() -> float:
        return float(session.run({"image": np.ones((1, 3, 8, 8), np.float16)})["image_out"].min())

    assert asyncio.run(called()) == -1
