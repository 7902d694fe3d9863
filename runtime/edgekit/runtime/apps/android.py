"""The Android demo as a signed APK: code, screens, ONNX Runtime and bundles, without Gradle."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.core.errors import BadInput, EdgekitError, unknown_name
from edgekit.core.progress import Report, silent
from edgekit.core.store import file_sha256, prepared_folder
from edgekit.runtime.apps.android_assets import usable, write_assets
from edgekit.runtime.apps.android_code import Code, built_code, facts
from edgekit.runtime.apps.android_tools import ABIS, Tools, called, sources, tools
from edgekit.runtime.apps.android_zip import Apk, misaligned

FORMATS = ("onnx",)
PASSWORD = "EDGEKIT_KEYSTORE_PASSWORD"
DEBUG_PASSWORD = "android"


@dataclass(frozen=True, slots=True)
class AndroidApp:
    """A built app."""

    apk: Path
    bundles: tuple[str, ...]
    abis: tuple[str, ...]
    bytes: int
    sha256: str


def build_android(
    bundles: Sequence[Path],
    out: Path,
    *,
    abis: Sequence[str] = ABIS[:1],
    keystore: Path | None = None,
    report: Report = silent,
) -> AndroidApp:
    """Write a signed APK that works with `bundles`; a file that is there is replaced.

    The same bundles, sources, tools and key give the same bytes. Without `keystore` a debug key is
    made once and kept beside the tools: a phone takes an update from the key that it knows alone.

    Raises BadInput for a damaged bundle or a file of something else, TargetUnsupported for a bundle
    without a file that the app runs, EdgekitError for an unknown processor, for missing tools, or
    nets that find faces, (exit code 3) or a key that cannot be used; `out` is then as it was.
    """
    for abi in abis:
        if abi not in ABIS:
            raise unknown_name("processor", abi, ABIS)
    manifests = usable(bundles, FORMATS)
    _check_replaceable(out)
    kit = tools()
    key, password = _key(keystore)
    code = built_code(kit, report)
    prepared_folder(out.parent)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        work = Path(folder)
        report("app", 0, 2, "packing")
        named = write_assets(bundles, manifests, work / "assets", FORMATS)
        _pack(kit, code, work / "assets", abis, work / "unsigned.apk")
        report("app", 1, 2, "signing")
        signed = work / "signed.apk"
        _signed(kit, work / "unsigned.apk", signed, key, password)
        wrong = misaligned(signed)
        if wrong:
            raise EdgekitError(f"{wrong[0]} is not aligned", hint="report this to edgekit")
        signed.replace(out)
    return AndroidApp(out, named, tuple(abis), out.stat().st_size, file_sha256(out))


def _check_replaceable(out: Path) -> None:
    if out.is_dir() or (out.is_file() and not zipfile.is_zipfile(out)):
        raise BadInput(f"{out} is something else than an APK", hint="choose another --out")


def _pack(kit: Tools, code: Code, assets: Path, abis: Sequence[str], out: Path) -> None:
    apk = Apk(out)
    with zipfile.ZipFile(code.base) as base:
        for name in sorted(base.namelist()):
            apk.add(name, base.read(name))
    apk.add("classes.dex", code.dex.read_bytes())
    for abi in abis:
        for library in kit.libraries(abi):
            apk.add(f"lib/{abi}/{library.name}", library.read_bytes())
    for path in sorted(assets.rglob("*")):
        if path.is_file():
            apk.add(f"assets/{path.relative_to(assets).as_posix()}", path.read_bytes())
    licence = (sources() / "NOTICE.txt").read_bytes()
    apk.add("assets/NOTICE.txt", licence)
    apk.close()


def _key(keystore: Path | None) -> tuple[Path, str]:
    if keystore is None:
        return tools().folder / "debug.p12", DEBUG_PASSWORD
    if not keystore.is_file():
        raise BadInput(f"{keystore} does not exist", hint="name a keystore made by keytool")
    password = os.environ.get(PASSWORD)
    if not password:
        raise EdgekitError(
            f"the password of {keystore} is not known", hint=f"put it into {PASSWORD}"
        )
    return keystore, password


def _signed(kit: Tools, apk: Path, out: Path, key: Path, password: str) -> None:
    secret = {PASSWORD: password}
    if not key.is_file():
        prepared_folder(key.parent)
        words = ["keytool", "-genkeypair", "-keystore", str(key), "-storetype", "PKCS12"]
        words += ["-storepass:env", PASSWORD, "-alias", "debug", "-keyalg", "RSA"]
        words += ["-keysize", "2048", "-validity", "10000", "-dname", "CN=Android Debug"]
        called(words, environment=secret)
    done = apksigner(
        kit,
        *("sign", "--ks", key, "--ks-pass", f"env:{PASSWORD}", "--min-sdk-version"),
        *(facts().min_sdk, "--v1-signing-enabled", "false", "--out", out, apk),
        secret=secret,
    )
    if done:
        raise BadInput(f"{key} cannot sign the app: {done}", hint=f"check the key and {PASSWORD}")


def apksigner(kit: Tools, *words: object, secret: dict[str, str] | None = None) -> str:
    """Run apksigner; returns the last line of what went wrong, or nothing."""
    done = kit.java(
        "com.android.apksigner.ApkSignerTool",
        *words,
        jars=[kit.jar("apksigner"), kit.jar("apksig")],
        check=False,
        environment=secret,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return (said or [f"code {done.returncode}"])[-1] if done.returncode else ""
