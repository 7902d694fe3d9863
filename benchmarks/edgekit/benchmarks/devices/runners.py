"""What is sent to a device to run a model: the runner, compiled on demand, and its library.

The runner's sources (`runner/*.c`) are part of this package; what is compiled from them, and the
libraries of other processors, lie in the user's cache folder. A library comes from the installed
wheel for this machine's own processor, and from the pinned wheel of the same project for others.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edgekit.core.cache import cache_folder
from edgekit.core.errors import BadInput, DependencyMissing, DeviceUnreachable, EdgekitError
from edgekit.core.store import file_sha256, prepared_folder, write_bytes

SOURCES = Path(__file__).with_name("runner")
PROGRAM = "edgekit-runner"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
COMPILERS = {
    "x86_64": ("x86_64-linux-gnu-gcc", "gcc"),
    "aarch64": ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
}
"""Processor -> compiler for it, and the Debian package that brings it."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of a package index, pinned."""

    platform: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that the runner opens by dlopen."""

    engine: str
    module: str
    package: str
    extra: str
    library: str
    """Path pattern of the shared library below the module's folder."""
    pinned: str
    """Version whose library is sent to other processors than this machine's."""
    wheels: Mapping[str, Wheel]
    """Processor -> wheel of that version for Python 3.11."""


RUNTIMES = {
    "onnx": Runtime(
        "onnxruntime",
        "onnxruntime",
        "onnxruntime",
        "onnx",
        "capi/libonnxruntime.so.*",
        "1.32.0",
        {
            "aarch64": Wheel(
                "manylinux_2_28_aarch64",
                "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
            )
        },
    ),
    "tflite": Runtime(
        "litert",
        "ai_edge_litert",
        "ai-edge-litert",
        "android",
        "libLiteRt.so",
        "2.3.0",
        {
            "aarch64": Wheel(
                "manylinux_2_27_aarch64",
                "853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae",
            )
        },
    ),
}
"""Format of a model file -> what runs it."""


@dataclass(frozen=True, slots=True)
class Kit:
    """Everything beside the model and its pictures that one measurement needs on the device."""

    runner: str
    """native or app-process."""
    engine: str
    version: str
    program: str
    """Shell words that start the runner, with {name} for the place of each file, {work} for the
    folder of the run."""
    files: Mapping[str, Path]
    """Name -> file of this machine."""
    links: tuple[str, ...] = ()
    """Files that must also be found under their own name in the folder of the run."""


def native_kit(
    form: str, abi: str, *, compiler: str | None = None, library: Path | None = None
) -> Kit:
    """Return the C runner with the library for model files of the format `form`.

    `compiler` and `library` replace edgekit's own, for devices that it has none for: Android's NDK
    and the libraries of an AAR. Raises DeviceUnreachable if there is no runner for `abi`.
    """
    runtime = RUNTIMES[form]
    machine = abi.removeprefix("linux-")
    known = abi.startswith("linux-") and machine in COMPILERS
    if not known and (compiler is None or library is None):
        have = ", ".join(f"linux-{name}" for name in COMPILERS)
        raise DeviceUnreachable(
            f"no runner for {abi} and .{form} files (there are: {have})",
            hint="give --cc, a compiler for that processor, and --library, the shared library of "
            f"{runtime.package} for it",
        )
    if library is not None and not library.is_file():
        raise BadInput(f"{library} does not exist", hint="name the shared library of the runtime")
    shared, told = (library, "given") if library else library_for(runtime, machine)
    return Kit(
        "native",
        runtime.engine,
        told,
        f"{{{PROGRAM}}} --engine {runtime.engine} --library {{library}}",
        {PROGRAM: build_runner(machine, compiler=compiler), "library": shared},
    )


def build_runner(machine: str, *, compiler: str | None = None) -> Path:
    """Compile the runner for a processor, unless the cache holds it, and return the program.

    Raises EdgekitError (exit code 3) without a compiler, BadInput with what the compiler says.
    """
    words = _compiler(machine, compiler)
    sources = sorted(SOURCES.glob("*.[ch]"))
    recipe = hashlib.sha256(" ".join([*words, *FLAGS]).encode())
    for path in sources:
        recipe.update(path.read_bytes())
    program = cache_folder() / "runner" / f"{machine}-{recipe.hexdigest()[:16]}" / PROGRAM
    if program.is_file():
        return program
    prepared_folder(program.parent)
    with tempfile.TemporaryDirectory(dir=program.parent) as work:
        made = Path(work) / PROGRAM
        command = [*words, *FLAGS, "-o", str(made)]
        command += [str(path) for path in sources if path.suffix == ".c"]
        done = subprocess.run(
            [*command, "-ldl"], capture_output=True, text=True, check=False, cwd=work
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            said = next((line for line in lines if "error" in line), (lines or ["no reason"])[-1])
            raise BadInput(
                f"{words[0]} did not compile the runner: {said}",
                hint="check --cc, or install the usual compiler and leave it out",
            )
        made.replace(program)
    return program


def _compiler(machine: str, given: str | None) -> list[str]:
    if given is not None:
        words = given.split()
        if not words or shutil.which(words[0]) is None:
            raise _missing(f"{given!r} is no compiler that can be started", "check --cc")
        return words
    own = machine == platform.machine()
    name, package = COMPILERS.get(machine, ("", ""))
    for candidate in (*(("cc", "gcc") if own else ()), name):
        if candidate and shutil.which(candidate):
            return [candidate]
    raise _missing(
        f"no C compiler for {machine} is installed",
        f"on Debian: apt-get install {package} libc6-dev" if package else "give one with --cc",
    )


def _missing(what: str, hint: str) -> EdgekitError:
    error = EdgekitError(what, hint=hint)
    error.exit_code = 3
    return error


def library_for(runtime: Runtime, machine: str) -> tuple[Path, str]:
    """Return the runtime's shared library for a Linux of that processor, and its version.

    Raises DependencyMissing without the package, EdgekitError (exit code 3) if pip does not fetch
    the pinned wheel, BadInput if it is not the pinned one.
    """
    if machine == platform.machine() and sys.platform == "linux":
        spec = find_spec(runtime.module)
        if spec is None or spec.origin is None:
            raise DependencyMissing(runtime.package, extra=runtime.extra)
        found = sorted(Path(spec.origin).parent.glob(runtime.library))
        if not found:
            raise DependencyMissing(runtime.package, extra=runtime.extra)
        return found[0], _version(runtime.package)
    if machine not in runtime.wheels:
        raise DeviceUnreachable(
            f"no library of {runtime.package} for {machine}", hint="give one with --library"
        )
    folder = cache_folder() / "runner" / f"{runtime.engine}-{runtime.pinned}-{machine}"
    kept = sorted(folder.glob("*.so*"))
    return (kept[0] if kept else _fetched(runtime, machine, folder)), runtime.pinned


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _fetched(runtime: Runtime, machine: str, folder: Path) -> Path:
    wheel = runtime.wheels[machine]
    what = f"{runtime.package}=={runtime.pinned}"
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", what]
        command += ["--only-binary", ":all:", "--python-version", "3.11", "--dest", work]
        done = subprocess.run(
            [*command, "--platform", wheel.platform], capture_output=True, text=True, check=False
        )
        files = list(Path(work).glob("*.whl"))
        if done.returncode or not files:
            last = (done.stderr.strip() or "no answer").splitlines()[-1]
            raise _missing(
                f"pip did not fetch {what} for {machine}: {last}",
                "check the network and try again, or give the library with --library",
            )
        if file_sha256(files[0]) != wheel.sha256:
            raise BadInput(
                f"{what} for {machine} is not the wheel that edgekit was tested with",
                hint="check the index that pip uses, or update edgekit",
            )
        with zipfile.ZipFile(files[0]) as content:
            inside = Path(runtime.module) / runtime.library
            name = next(row for row in content.namelist() if Path(row).match(str(inside)))
            write_bytes(folder / Path(name).name, content.read(name))
    return folder / Path(name).name
