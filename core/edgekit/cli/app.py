"""``edgekit app``: a demo app made of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.cli.shipped import bundle_at, shipped_name
from edgekit.core.errors import EdgekitError, TargetUnsupported, unknown_name

app = typer.Typer(rich_markup_mode=None, add_completion=False)
OUT = {"web": Path("site"), "ios": Path("ios-app"), "android": Path("demo.apk")}
"""Kind of app -> what is written without --out."""
ENGINES = ("tflite", "onnx")
NEEDED = {"tflite": "android", "onnx": "onnx"}
"""Engine -> the target whose files it runs."""
RUN_BY = {"android": ("onnx",), "ios": ("ios",)}
"""App for phones -> the targets whose files it runs."""
SHOWN = {"android": ("restorer",), "ios": ("restorer",)}
"""App for phones -> what it shows of the students that ship."""


@app.command(name="app")
def build(
    bundle: Annotated[
        list[Path],
        typer.Argument(
            help="Folders written by `edgekit export`, or their runs; shipped:restorer or "
            "shipped:things for what ships."
        ),
    ],
    target: Annotated[
        str, typer.Option(help="Kind of app: web, android or ios.", show_default=True)
    ] = "web",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="What to write.  [default: site, ios-app, demo.apk]; for android "
            "a file .apk, or a folder for a Gradle project",
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="tflite (LiteRT.js) or onnx (ONNX Runtime Web), repeatable.  [default: LiteRT.js "
            "where the bundle has a .tflite file]"
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve it on this machine until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port of --serve.", show_default=True)] = 8000,
    abi: Annotated[
        list[str] | None,
        typer.Option(help="Processor of an Android app, repeatable.  [default: arm64-v8a]"),
    ] = None,
    keystore: Annotated[
        Path | None,
        typer.Option(help="Key that signs an Android app.  [default: a debug key of this machine]"),
    ] = None,
) -> None:
    """Put a demo app together: static files that run a bundle in any browser, also offline, a
    signed APK for Android phones, or an Xcode project for iPhones.

    Example: edgekit app runs/night --out site --serve
    """
    from edgekit.core.face_nets import PACKAGE
    from edgekit.core.seams import PRECISIONS
    from edgekit.runtime.apps.web import build_site, server

    if target not in OUT:
        raise unknown_name("target", target, OUT)
    if target != "web" and (engine or serve):
        option = "--engine" if engine else "--serve"
        raise EdgekitError(f"{option} belongs to --target web", hint=f"leave {option} out")
    if target != "android" and (abi or keystore):
        option = "--abi" if abi else "--keystore"
        raise EdgekitError(f"{option} belongs to --target android", hint=f"leave {option} out")
    out = out or OUT[target]
    for name in engine or []:
        if name not in ENGINES:
            raise unknown_name("engine", name, ENGINES)
    if not 0 <= port <= 65535:
        raise EdgekitError(f"--port {port} is no port", hint="give a number up to 65535")
    for path in bundle:
        _check_shown(path, target)
    folders = [path if shipped_name(path) else bundle_at(path) for path in bundle]
    if planned({"command": "app", "bundles": folders, "target": target, "out": out}):
        return
    needed = list(RUN_BY.get(target, ())) or [NEEDED[name] for name in engine or ENGINES[:1]]
    if target == "android" and out.suffix != ".apk":  # a Gradle project has a flavour for each
        needed = list(NEEDED.values())
    folders = [bundle_at(path, targets=needed, precisions=PRECISIONS) for path in folders]
    if target == "android":
        _android(folders, out, abi or [], keystore)
        return
    if target == "ios":
        _ios(folders, out)
        return
    site = build_site(folders, out, engines=engine or [], report=ConsoleReport())
    data = {
        "site": site.folder,
        "bundles": site.bundles,
        "engines": site.engines,
        "bytes": site.bytes,
    }
    if site.finds_faces is False:
        note(f"faces are marked by hand there: finding them needs LiteRT files and {PACKAGE}")
    show(data, f"site: {site.folder} ({site.bytes / 1e6:.1f} MB, {', '.join(site.engines)})")
    if not serve:
        note(f"serve the folder with any web server, or: edgekit app ... -o {out} --serve")
        return
    with server(out, port=port) as running:
        note(f"http://127.0.0.1:{running.server_address[1]}/ (Ctrl-C ends it)")
        running.serve_forever()


def _check_shown(path: Path, target: str) -> None:
    """Refuse what ships where it cannot be shown before it is exported, which takes minutes."""
    name = shipped_name(path)
    if target in SHOWN and name is not None and name not in SHOWN[target]:
        raise TargetUnsupported(
            f"the {target} app edits photos, and {path} does not",
            hint="the web demo shows restorers and mesh generators: add --target web",
        )


def _ios(folders: list[Path], out: Path) -> None:
    from edgekit.runtime.apps.ios import build_project

    made = build_project(folders, out, report=ConsoleReport())
    data = {
        "project": made.opened,
        "bundles": made.bundles,
        "bytes": made.bytes,
        "fresh": made.fresh,
    }
    names = ", ".join(made.bundles)
    show(data, f"project: {made.opened} ({names}; {made.bytes / 1e6:.1f} MB of bundles)")
    if not made.fresh:
        note("the project was there: its sources are as they were, its bundles are these")
    note(f"on a Mac with Xcode 16 or later: open {made.opened}")


def _android(folders: list[Path], out: Path, abis: list[str], keystore: Path | None) -> None:
    from edgekit.runtime.apps.android import build_android
    from edgekit.runtime.apps.android_assets import build_project
    from edgekit.runtime.apps.android_tools import ABIS

    if out.suffix == ".apk":
        app = build_android(
            folders, out, abis=abis or ABIS[:1], keystore=keystore, report=ConsoleReport()
        )
        data = {"apk": app.apk, "bundles": app.bundles, "abis": app.abis}
        names = ", ".join(app.bundles)
        words = f"apk: {app.apk} ({app.bytes / 1e6:.1f} MB, {', '.join(app.abis)}; {names})"
        show({**data, "bytes": app.bytes, "sha256": app.sha256}, words)
        note(f"on a phone with USB debugging: adb install -r {app.apk}")
        return
    if abis or keystore:
        raise EdgekitError(
            "a Gradle project has its own processors and keys",
            hint="leave --abi and --keystore out",
        )
    made = build_project(folders, out)
    names = ", ".join(made.bundles)
    data = {"project": made.folder, "bundles": made.bundles, "bytes": made.bytes}
    show(
        {**data, "fresh": made.fresh},
        f"project: {made.folder} ({names}; {made.bytes / 1e6:.1f} MB of bundles)",
    )
    if not made.fresh:
        note("the project was there: its sources are as they were, its bundles are these")
    note(f"open {made.folder} in Android Studio")
