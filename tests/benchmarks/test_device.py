"""What a device says, whether it may be measured, and what its numbers are worth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.benchmarks import android_texts as android

from edgekit.benchmarks.devices.facts import DeviceFacts, read_facts, sections
from edgekit.benchmarks.devices.preflight import Limits, check_fit, cooled
from edgekit.benchmarks.devices.result import (
    check_result,
    comparison_line,
    comparisons,
    file_name,
    read_result,
    shown,
)
from edgekit.benchmarks.devices.samples import Samples, samples_of
from edgekit.benchmarks.devices.verdicts import strict_faults, verdicts
from edgekit.benchmarks.statistics import summary
from edgekit.core.errors import (
    BadInput,
    DeviceUnreachable,
    ParityFailed,
    QualityFailed,
)

PHONE = {
    "machine": "aarch64",
    "abi": "arm64-v8a",
    "model": "Pixel 8",
    "maker": "Google",
    "cpus": "9",
    "battery": android.BATTERY_FULL,
    "thermal": android.THERMAL_COOL,
    "power": android.POWER_AWAKE,
    "free": "Filesystem 1024-blocks Used Available Capacity\n/dev/x 9 9 4194304 1% /data",
}


def facts(**told: str) -> DeviceFacts:
    return read_facts("adb:x", {**PHONE, **told})


def events(ms: list[float], *, cpu: float = 1.0, ended: str = "done", **sensors) -> list[dict]:
    """The lines of a session whose calls took `ms`, all of it or a share on the processor."""
    lines: list[dict] = [{"event": "load", "ns": 5e6, "rss_kb": 10240}]
    lines += [{"event": "first", "ns": 9e6}]
    lines += [{"event": "sensors", **row} for row in sensors.get("before", [])]
    lines += [{"event": "run", "ns": value * 1e6, "cpu_ns": value * cpu * 1e6} for value in ms]
    lines += [{"event": "sensors", **row} for row in sensors.get("after", [])]
    end = {"event": "end", "ended": ended, "wall_ns": sum(ms) * 1e6, "peak_rss_kb": 20480}
    return [*lines, end] if ended else lines


def judged(samples: Samples, *, calls: int = 30, before=None, after=None, threads: int = 1):
    numbers = summary(samples.timing("x"), threads=threads) if samples.wall_ms else None
    before = before or facts()
    return verdicts(
        samples,
        numbers,
        calls=calls,
        min_seconds=0,
        threads=threads,
        before=before,
        after=after or before,
    )


STEADY = [10.0, 10.1, 9.9] * 10


def test_a_steady_session_has_no_verdict():
    assert judged(samples_of(events(STEADY))) == []


@pytest.mark.parametrize(
    ("ms", "more", "name", "why"),
    [
        (STEADY, {"cpu": 0.7}, "preempted", "only 70% of the time"),
        ([5.0, 15.0] * 15, {}, "unstable", "off the median"),
        ([10.0] * 26 + [20.0] * 4, {}, "unstable", "p90 is 2.00 times p50"),
        ([10.0] * 10 + [11.0] * 10 + [12.0] * 10, {}, "unstable", "took 1.20 times the first"),
        (STEADY[:12], {"ended": ""}, "incomplete", "broke off after 12 of 30 calls"),
        (STEADY[:12], {"ended": "budget"}, "incomplete", "the time was over after 12"),
        (STEADY[:12], {"ended": "signal"}, "incomplete", "it was stopped after 12"),
    ],
)
def test_each_reason_to_doubt_a_session_has_a_name(ms, more, name, why):
    found = judged(samples_of(events(ms, **more)))

    assert [row.name for row in found] == [name]
    assert why in found[0].why


SLOWER = [10.0] * 10 + [10.8] * 10 + [11.6] * 10


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({"milli_c": [31000]}, {"milli_c": [36500]}, "5.5 °C warmer"),
        ({"khz": [2_800_000]}, {"khz": [1_900_000]}, "from 2.80 to 1.90 GHz"),
    ],
)
def test_slower_and_hotter_is_throttled_and_not_called_unstable(before, after, why):
    lines = events(SLOWER, before=[before, before], after=[after])

    found = judged(samples_of(lines))

    assert [row.name for row in found] == ["throttled"]
    assert why in found[0].why


def test_hotter_but_as_fast_is_no_throttling_and_slower_without_heat_is_none_either():
    warm = {"before": [{"milli_c": [31000]}], "after": [{"milli_c": [39000]}]}

    assert judged(samples_of(events(STEADY, **warm))) == []
    assert "throttled" not in [row.name for row in judged(samples_of(events(SLOWER)))]


def test_androids_own_thermal_status_counts_even_at_full_speed():
    after = facts(thermal=android.THERMAL_HOT)

    found = judged(samples_of(events(STEADY)), after=after)

    assert [(row.name, row.why) for row in found] == [
        ("throttled", "Android's thermal status rose to 3")
    ]


def test_processor_time_of_several_threads_says_nothing_about_preemption():
    assert judged(samples_of(events(STEADY, cpu=0.5)), threads=2) == []


def test_mlperfs_rule_needs_calls_and_time_and_a_real_device():
    short = samples_of(events(STEADY))
    enough = samples_of(events([60.0] * 1024))
    emulated = facts(qemu="1")

    assert len(strict_faults(short, [])) == 2
    assert strict_faults(enough, []) == []
    waiting = samples_of(events([60.0] * 1024, cpu=0.3))
    assert "preempted" in strict_faults(waiting, judged(waiting, calls=1024))[0]
    assert "emulated" in strict_faults(enough, judged(enough, calls=1024, before=emulated))[0]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"qemu": "1\n\nranchu"}, "Android's emulator"),
        ({"abi": "", "binfmt": "enabled\ninterpreter /usr/bin/qemu-aarch64"}, "run by qemu"),
        ({"abi": "", "cpuinfo": "vendor_id : AuthenticAMD"}, "on an x86 processor"),
        ({"abi": "", "cpuinfo": "model name : QEMU Virtual CPU version 2.5+"}, "made of software"),
        ({"qemu": "0\n\nshiba"}, ""),
    ],
)
def test_emulation_is_found_out(told, why):
    found = facts(**told)

    assert found.emulated == bool(why)
    assert why in found.emulated_because


def test_a_board_tells_zones_supplies_and_no_android():
    told = {
        "machine": "aarch64",
        "system": "Linux 6.6.20",
        "cpuinfo": "Hardware : BCM2835\n",
        "zones": "0 switched-off\n48700 cpu-thermal\n999000 broken",
        "supplies": "Mains 0 x\nBattery 55 Discharging",
        "memory": "MemTotal:        3884360 kB",
        "load": "0.31 0.20 0.10 1/120 999",
    }

    found = read_facts("ssh:pi", told)

    assert (found.abi, found.android, found.model) == ("linux-aarch64", False, "BCM2835")
    assert (found.temperature_c, found.battery_percent, found.charging) == (48.7, 55, False)
    assert (found.memory_mb, found.load, found.thermal_word) == (3793, 0.31, "unknown")


def test_answers_are_cut_at_their_marks():
    text = "noise\n@@edgekit a\n1\n2\n\n@@edgekit b\n\n@@edgekit c\n3\n"

    assert sections(text) == {"a": "1\n2", "b": "", "c": "3"}


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"battery": android.BATTERY_LOW}, "at 9 %, below 20 %"),
        ({"free": "a b c d\n/dev/x 9 9 2048 1% /data"}, "has 2 MB of room, 100 MB are needed"),
    ],
)
def test_an_unfit_device_is_refused(told, sentence):
    with pytest.raises(DeviceUnreachable, match=sentence):
        check_fit(facts(**told), Limits())


def test_what_may_disturb_a_measurement_is_noted():
    busy = facts(battery=android.BATTERY_CHARGING, power=android.POWER_ASLEEP, load="7.5 1 1")
    mute = replace(facts(), temperature_c=None, thermal_status=None, governor="powersave")

    assert check_fit(facts(), Limits()) == []
    words = " ".join(check_fit(busy, Limits()) + check_fit(mute, Limits()))
    for word in ("charging", "screen is off", "load 7.5 on 9 cores", "no temperature", "powersave"):
        assert word in words


def test_a_hot_device_is_waited_for_until_it_is_cool():
    states = iter([facts(thermal=android.THERMAL_WARM), facts()])
    slept: list[float] = []

    found = cooled(
        lambda: next(states),
        facts(thermal=android.THERMAL_HOT),
        Limits(),
        sleep=slept.append,
        clock=lambda: sum(slept),
    )

    assert found.temperature_c == 33.4
    assert slept == [5.0, 5.0]


def test_a_device_that_stays_hot_is_refused_when_patience_ends():
    slept: list[float] = []
    hot = facts(thermal=android.THERMAL_WARM)

    with pytest.raises(DeviceUnreachable, match=r"44\.5 °C, above 38 °C after 12 s of waiting"):
        cooled(
            lambda: hot,
            hot,
            Limits(patience_s=12),
            sleep=slept.append,
            clock=lambda: sum(slept),
        )


def test_a_computer_may_be_warmer_than_a_phone():
    board = read_facts("local", {"machine": "x86_64", "zones": "52000 cpu"})

    assert cooled(lambda: board, board, Limits()) is board
    with pytest.raises(DeviceUnreachable, match="above 50 °C"):
        cooled(lambda: board, board, Limits(temperature_c=50, patience_s=0))


def result(ms: list[float], **device) -> dict:
    """A result with one file, as the JSON has it."""
    samples = samples_of(events(ms))
    told = {"emulated": False, "model": "Pixel 8", "abi": "arm64-v8a", "system": "Android 15"}
    told |= {"temperature_c": 30.0, "battery_percent": 90, "charging": False}
    numbers = summary(samples.timing("x"), threads=1)
    row = {
        "name": "a.onnx",
        "precision": "fp32",
        "sha256": "0",
        "wall_ms": ms,
        "cpu_ms": ms,
        "summary": {"p50_ms": numbers.p50_ms, "p90_ms": numbers.p90_ms, "p99_ms": None}
        | {"cpu_p50_ms": numbers.cpu_p50_ms, "calls": len(ms), "drift": 1.0},
        "problem": "",
        "reason": "",
        "hint": "",
        "verdicts": [],
        "strict": None,
        "first_ms": 9.0,
        "load_ms": 5.0,
        "loads_ms": [5.0],
        "peak_mb": 20,
        "max_abs": 1e-6,
        "bar": "max abs <= 0.0001",
        "seconds": 1.0,
        "temperature_c": [30.0, 31.0],
    }
    return {
        "protocol": "device-latency-1",
        "created": "2026-01-01",
        "threads": 1,
        "device": {**told, **device},
        "rows": [row],
        "notes": [],
        "skipped": [],
    }


def test_a_regression_is_told_from_noise_by_its_interval():
    before = result(STEADY)

    slower = comparison_line(comparisons(result([v * 1.2 for v in STEADY]), before)[0])
    same = comparison_line(comparisons(result(STEADY[::-1]), before)[0])

    assert "1.200 times as long" in slower
    assert slower.endswith(": slower")
    assert same.endswith(": no difference")


def test_a_busy_device_makes_no_regression():
    busy = result([v * 1.4 for v in STEADY])
    busy["rows"][0]["cpu_ms"] = STEADY  # the calls themselves cost what they did

    line = comparison_line(comparisons(busy, result(STEADY))[0])

    assert "slower by the clock, but no difference by processor time" in line


def test_emulated_and_real_numbers_are_never_compared_and_another_device_is_said():
    before = result(STEADY)

    with pytest.raises(BadInput, match="emulated"):
        comparisons(result(STEADY, emulated=True), before)
    other = comparisons(result(STEADY, model="Pixel 9"), before)[0]

    assert comparison_line(other).endswith("; other model")


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"problem": "wrong", "reason": "3 dB", "summary": None}, ParityFailed, 5),
        ({"problem": "lost", "reason": "gone"}, DeviceUnreachable, 8),
        ({"strict": ["30 calls"]}, QualityFailed, 6),
    ],
)
def test_the_worst_of_a_result_decides_the_exit_code(change, error, code):
    found = result(STEADY)
    found["rows"].append({**found["rows"][0], **change})

    with pytest.raises(error) as raised:
        check_result(found)

    assert raised.value.exit_code == code


def test_an_interrupted_session_ends_like_ctrl_c():
    found = result(STEADY)
    found["rows"][0]["problem"] = "interrupted"

    with pytest.raises(KeyboardInterrupt):
        check_result(found)


def test_the_table_has_no_p99_of_thirty_calls_and_names_the_device():
    text = shown(result(STEADY))

    assert text.splitlines()[0] == "Pixel 8; arm64-v8a; Android 15; 30 °C; battery 90 %; 1 thread"
    assert text.splitlines()[2].split()[:4] == ["a.onnx", "10", "10.1", "-"]


def test_a_file_that_is_no_result_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"protocol": "latency-1/interleaved"}')

    with pytest.raises(BadInput, match="no result of"):
        read_result(tmp_path / "x.json")


def test_a_results_file_is_named_by_its_device():
    assert file_name("adb:127.0.0.1:5555") == "bench-adb-127.0.0.1-5555.json"
    assert file_name("local") == "bench-local.json"
