"""What a device says about itself: one shell command, and its answer read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.benchmarks.devices.transport import Transport, ask
from edgekit.core.errors import DeviceUnreachable

_QUESTIONS = {
    "machine": "uname -m",
    "system": "uname -sr",
    "cpus": "nproc --all",
    "memory": "grep MemTotal /proc/meminfo",
    "cpuinfo": "head -n 60 /proc/cpuinfo",
    "load": "cat /proc/loadavg",
    "binfmt": "cat {root}/proc/sys/fs/binfmt_misc/qemu-$(uname -m)",
    "abi": "getprop ro.product.cpu.abi",
    "model": "getprop ro.product.model",
    "maker": "getprop ro.product.manufacturer",
    "soc": "getprop ro.soc.model",
    "sdk": "getprop ro.build.version.sdk",
    "release": "getprop ro.build.version.release",
    "qemu": "getprop ro.kernel.qemu; getprop ro.boot.qemu; getprop ro.hardware",
    "battery": "dumpsys battery",
    "thermal": "dumpsys thermalservice",
    "power": "dumpsys power | grep -E 'mWakefulness=|Display Power: state'",
    "governor": "cat {root}/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "zones": "for z in {root}/sys/class/thermal/thermal_zone*; do "
    'echo "$(cat $z/temp) $(cat $z/type)"; done',
    "supplies": "for s in {root}/sys/class/power_supply/*; do "
    'echo "$(cat $s/type) $(cat $s/capacity) $(cat $s/status)"; done',
    "free": "df -Pk {folder}",
}
_MARK = "@@edgekit "
_X86_WORDS = ("vendor_id", "GenuineIntel", "AuthenticAMD")
_EMULATOR_HARDWARE = ("goldfish", "ranchu", "cutf_cvm", "vsoc")
_ANDROID_STATES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device before a measurement; None where it does not tell."""

    name: str
    """As ``--device`` names it."""
    model: str
    abi: str
    """Android's ABI, or linux-MACHINE."""
    system: str
    sdk: int | None
    soc: str
    cpu: str
    cpus: int | None
    memory_mb: int | None
    free_mb: int | None
    emulated: bool
    emulated_because: str
    virtual: bool
    """Whether a hypervisor runs it: the processor is real, its clock speed is not told."""
    battery_percent: int | None
    charging: bool | None
    screen_on: bool | None
    thermal_status: int | None
    """Android's: 0 none, 1 light, 2 moderate, 3 severe and more."""
    temperature_c: float | None
    """Of the hottest sensor that is plausible."""
    governor: str
    load: float | None

    @property
    def android(self) -> bool:
        """Tell whether Android answers, not another Linux."""
        return not self.abi.startswith("linux-")

    @property
    def thermal_word(self) -> str:
        """Android's word for the thermal status."""
        if self.thermal_status is None:
            return "unknown"
        return _ANDROID_STATES[min(self.thermal_status, len(_ANDROID_STATES) - 1)]


def device_facts(transport: Transport, *, sysfs_root: str = "") -> DeviceFacts:
    """Ask the device everything in one go.

    Raises DeviceUnreachable if it does not answer, or if its folder cannot be made.
    """
    folder = shlex.quote(transport.folder)
    places = {"root": sysfs_root, "folder": folder}
    lines = [f"mkdir -p {folder} || exit 9"]
    for key, question in _QUESTIONS.items():
        lines.append(f"echo; echo '{_MARK}{key}'; {question.format(**places)}")
    answer = ask(transport, "{ " + "; ".join(lines) + "; } 2>/dev/null; true")
    if _MARK not in answer.out:
        said = (answer.err or answer.out).strip().splitlines()
        raise DeviceUnreachable(
            f"{transport.name} cannot hold the folder {transport.folder}"
            + (f": {said[-1]}" if said else ""),
            hint="make room on the device, or make the folder above it writable",
        )
    return read_facts(transport.name, sections(answer.out))


def sections(text: str) -> dict[str, str]:
    """Return the answers by the key of their question."""
    found: dict[str, str] = {}
    for part in text.split(_MARK)[1:]:
        key, _, rest = part.partition("\n")
        found[key.strip()] = rest.strip()
    return found


def read_facts(name: str, told: Mapping[str, str]) -> DeviceFacts:
    """Read the answers to the questions; what a device does not know is missing or empty."""
    machine = told.get("machine", "") or "unknown"
    abi = told.get("abi", "") or f"linux-{machine}"
    cpuinfo = told.get("cpuinfo", "")
    battery = _pairs(told.get("battery", ""))
    supplies = [line.split() for line in told.get("supplies", "").splitlines()]
    levels = [row for row in supplies if row and row[0] == "Battery" and len(row) > 2]
    reason = _emulation(machine, cpuinfo, told)
    model = " ".join(filter(None, (told.get("maker", ""), told.get("model", ""))))
    return DeviceFacts(
        name=name,
        model=model or _cpu(cpuinfo) or machine,
        abi=abi,
        system=f"Android {told['release']}" if told.get("release") else told.get("system", ""),
        sdk=_whole(told.get("sdk")),
        soc=told.get("soc", ""),
        cpu=_cpu(cpuinfo),
        cpus=_whole(told.get("cpus")),
        memory_mb=_scaled(told.get("memory", ""), 1024),
        free_mb=_free_mb(told.get("free", "")),
        emulated=bool(reason),
        emulated_because=reason,
        virtual="hypervisor" in cpuinfo,
        battery_percent=_whole(battery.get("level")) if battery else _whole(_first(levels, 1)),
        charging=_charging(battery, levels),
        screen_on=_screen(told.get("power", "")),
        thermal_status=_whole(_after(told.get("thermal", ""), r"Thermal Status:\s*(\d+)")),
        temperature_c=hottest(told),
        governor=told.get("governor", ""),
        load=_number(told.get("load", "").split(" ")[0]),
    )


def hottest(told: Mapping[str, str]) -> float | None:
    """Return the highest plausible temperature in degrees Celsius that the device told.

    Android's skin, processor and battery sensors; elsewhere the zones of sysfs. Sensors that are
    switched off say 0 or thousands of degrees.
    """
    thermal = told.get("thermal", "")
    current = thermal.partition("Current temperatures from HAL")[2] or thermal
    found = [
        float(value)
        for value, kind in re.findall(r"mValue=([-\d.]+), mType=(-?\d+)", current)
        if kind in ("0", "1", "2", "3", "9")  # CPU, GPU, battery, skin, NPU
    ]
    if not found:
        numbers = [line.split(" ")[0] for line in told.get("zones", "").splitlines()]
        found = [int(word) / 1000 for word in numbers if re.fullmatch(r"-?\d+", word)]
    plausible = [value for value in found if 1 < value < 130]
    return max(plausible) if plausible else None


def _emulation(machine: str, cpuinfo: str, told: Mapping[str, str]) -> str:
    android = told.get("qemu", "").split()
    if "1" in android or any(word in _EMULATOR_HARDWARE for word in android):
        return "Android's emulator"
    if told.get("binfmt", "").startswith("enabled"):
        return f"{machine} programs run by qemu on another processor"
    if machine.startswith(("aarch64", "arm")) and any(word in cpuinfo for word in _X86_WORDS):
        return f"{machine} programs run on an x86 processor"
    if "QEMU Virtual CPU" in cpuinfo or "TCG" in cpuinfo:
        return "a processor made of software (QEMU)"
    return ""


def _pairs(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, colon, value in lines if colon}


def _charging(battery: Mapping[str, str], levels: list[list[str]]) -> bool | None:
    if battery:
        ways = [value for key, value in battery.items() if key.endswith(" powered")]
        return "true" in ways if ways else None
    status = _first(levels, 2)
    return None if status is None else status in ("Charging", "Full", "Not")


def _screen(text: str) -> bool | None:
    if not text:
        return None
    return "mWakefulness=Awake" in text or "state=ON" in text


def _cpu(cpuinfo: str) -> str:
    found = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def _free_mb(text: str) -> int | None:
    last = text.splitlines()[-1].split() if text else []
    return int(last[3]) // 1024 if len(last) > 3 and last[3].isdigit() else None


def _scaled(text: str, divisor: int) -> int | None:
    found = _whole(_after(text, r"(\d+)"))
    return None if found is None else found // divisor


def _after(text: str, pattern: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _first(rows: list[list[str]], column: int) -> str | None:
    return rows[0][column] if rows else None


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?\d+", text) else None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None
