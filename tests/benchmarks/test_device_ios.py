"""iPhones through coremltools: its own classes, with a device that is none. Never run on a phone.

What Linux allows: coremltools' device list, credentials and benchmarker are imported and called as
they are; only the service on the device, which answers with durations, is a stand-in.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import needs

from edgekit.benchmarks.devices import ios
from edgekit.benchmarks.devices.plan import Plan
from edgekit.core.errors import BadInput, DeviceUnreachable, EdgekitError, TargetUnsupported
from edgekit.core.manifest import ModelEntry, read_bundle
from edgekit.runtime.verify import read_golden

pytestmark = [needs.modules("ios", "coremltools"), pytest.mark.xdist_group("device")]
EXPERIMENTAL = "coremltools.models.ml_program.experimental"
PORT = {"dtype": "float32", "layout": "nchw", "low": -1.0, "high": 1.0, "shape": (1, 3, 32, 32)}


def apple(name: str) -> Any:
    """A module of coremltools; imported late, because it takes seconds."""
    return import_module(f"{EXPERIMENTAL}.{name}")


def device(udid: str = "00008130-A", **more: Any) -> Any:
    remote_device = apple("remote_device")
    told = {
        "name": "Test iPhone",
        "type": remote_device.DeviceType.IPHONE,
        "identifier": "B",
        "udid": udid,
        "state": remote_device.DeviceState.CONNECTED,
        "os_version": "26.1",
        "os_build_number": "23B85",
        "developer_mode_state": "enabled",
        "session": None,
    }
    return remote_device.Device(**{**told, **more})


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A Core ML package that negates its input, written by coremltools itself."""
    import coremltools as ct
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=PORT["shape"])])
    def program(image):
        return Builder.mul(x=image, y=np.float32(-1), name="image_out")

    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
    )
    path = tmp_path_factory.mktemp("ios") / "toy.fp32.mlpackage"
    model.save(str(path))
    return path


def entry_of(path: Path) -> ModelEntry:
    return ModelEntry.model_validate(
        {
            "target": "ios",
            "format": "mlpackage",
            "precision": "fp32",
            "path": path.name,
            "sha256": "0" * 64,
            "bytes": 1,
            "inputs": [{"name": "image", **PORT}],
            "outputs": [{"name": "image_out", **PORT}],
            "recipe": "by hand",
            "executed": False,
            "parity": None,
            "tools": {},
        }
    )


class Service:
    """What coremltools' app on a device does, with a clock that says 7 ms."""

    def __init__(self, sign: float = -1.0) -> None:
        self.sign = sign
        self.last_predict_duration_in_nano_seconds = 7_000_000
        self.load_duration_in_nano_seconds = 40_000_000

    async def load(self) -> None: ...

    async def unload(self) -> None: ...

    def make_state_if_needed(self) -> None: ...

    async def predict(self, inputs: dict[str, Any], state: Any = None) -> dict[str, Any]:
        return {"image_out": self.sign * np.asarray(inputs["image"])}


@pytest.fixture
def phone(monkeypatch) -> Any:
    """Put the stand-in where coremltools asks for a model on a device."""

    def answer(service: Any) -> Any:
        monkeypatch.setattr(
            apple("async_wrapper").MLModelAsyncWrapper,
            "from_spec_or_path",
            staticmethod(lambda *words, **more: service),
        )
        return device()

    return answer


def row_of(package: Path, toy_bundle: Path, held: Any, **plan: Any) -> dict[str, Any]:
    golden = read_golden(toy_bundle, read_bundle(toy_bundle))
    facts = ios.device_facts_of(held)
    entry = entry_of(package)
    return asyncio.run(ios.measured(package.parent, entry, held, golden, Plan(**plan), facts))


def test_durations_of_coremltools_become_samples_and_its_answers_are_compared(
    package, toy_bundle, phone
):
    row = row_of(package, toy_bundle, phone(Service()), calls=12, warmup=2, loads=3)

    assert row["problem"] == ""
    assert row["wall_ms"] == (7.0,) * 12
    assert (row["first_ms"], row["warm_ms"], row["loads_ms"]) == (7.0, (7.0, 7.0), (40.0,) * 3)
    assert row["max_abs"] < 1e-6
    assert row["summary"]["cpu_p50_ms"] is None  # nobody told it
    assert row["cpu_ms"] == ()
    assert row["runner"].startswith("coremltools 9")


def test_a_wrong_answer_of_a_phone_gets_no_number(package, toy_bundle, phone):
    row = row_of(package, toy_bundle, phone(Service(sign=1.0)), calls=12)

    assert (row["problem"], row["summary"], row["wall_ms"]) == ("wrong", None, ())


def test_what_fails_on_the_device_stands_in_the_row(package, toy_bundle, phone):
    class Broken(Service):
        async def predict(self, inputs: dict[str, Any], state: Any = None) -> dict[str, Any]:
            raise RuntimeError("the neural engine said no")

    row = row_of(package, toy_bundle, phone(Broken()))

    assert row["problem"] == "failed"
    assert "the neural engine said no" in row["reason"]


def test_the_calls_are_those_that_coremltools_has():
    """Names and parameters that this module uses, in the installed version."""
    benchmarker = apple("perf_utils").MLModelBenchmarker
    held = apple("remote_device").Device
    load = inspect.signature(benchmarker.benchmark_load).parameters
    predict = inspect.signature(benchmarker.benchmark_predict).parameters
    prepare = inspect.signature(held.prepare_for_model_debugging).parameters

    assert "iterations" in load
    assert {"inputs", "iterations"} <= set(predict)
    assert "credentials" in prepare
    assert {"udid", "identifier", "name", "type", "os_version", "os_build_number"} <= set(
        held.__dataclass_fields__
    )


def test_the_device_is_chosen_by_its_identifier(monkeypatch):
    def connected(kind: Any) -> list[Any]:
        return [device(), device("00008130-C")] if kind.name == "IPHONE" else []

    monkeypatch.setattr(
        apple("remote_device").Device, "get_connected_devices", staticmethod(connected)
    )

    assert ios.device_named("00008130-C").udid == "00008130-C"
    with pytest.raises(DeviceUnreachable, match=r"no connected device .*00008130-A") as unknown:
        ios.device_named("X")
    with pytest.raises(DeviceUnreachable, match="2 devices are connected"):
        ios.device_named("")
    assert unknown.value.exit_code == 8


def test_an_app_needs_a_team_or_a_profile():
    with pytest.raises(EdgekitError, match="EDGEKIT_IOS_TEAM is not set"):
        ios.signing({})

    assert ios.signing({ios.TEAM: "ABCDE12345"}).development_team == "ABCDE12345"
    assert ios.signing({ios.PROFILE: "u", ios.IDENTIFIER: "a.b"}).bundle_identifier == "a.b"


def test_a_device_that_is_not_connected_cannot_be_prepared():
    away = device(state=apple("remote_device").DeviceState.UNAVAILABLE)

    with pytest.raises(DeviceUnreachable, match="could not be built for or installed on") as failed:
        asyncio.run(ios.prepared(away, ios.signing({ios.TEAM: "ABCDE12345"})))

    assert "developer mode" in failed.value.hint


def test_another_system_than_macos_is_refused(toy_bundle, monkeypatch):
    monkeypatch.setattr(ios.sys, "platform", "linux")

    with pytest.raises(TargetUnsupported, match="from a Mac only"):
        ios.bench_ios(toy_bundle, "x", plan=Plan(), wanted=lambda entry: True)


def test_a_bundle_without_a_package_is_refused(toy_bundle, monkeypatch):
    monkeypatch.setattr(ios.sys, "platform", "darwin")

    with pytest.raises(BadInput, match="no Core ML package"):
        ios.bench_ios(toy_bundle, "x", plan=Plan(), wanted=lambda entry: False)
