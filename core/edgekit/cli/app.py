"""``edgekit app``: a demo app made of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import ConsoleReport, note, planned, show
from edgekit.core.errors import EdgekitError, unknown_name

app = typer.Typer(rich_markup_mode=None, add_completion=False)
TARGETS = ("web",)
ENGINES = ("tflite", "onnx")


@app.command(name="app")
def build(
    bundle: Annotated[
        list[Path], typer.Argument(help="Folders written by `edgekit export`, or their runs.")
    ],
    target: Annotated[str, typer.Option(help="Kind of app: web.", show_default=True)] = "web",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("site"),
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
) -> None:
    """Put a demo app together: static files that run a bundle in any browser, also offline.

    Example: edgekit app runs/night --out site --serve
    """
    from edgekit.runtime.apps.web import build_site, server
    from edgekit.runtime.bundle import bundle_folder

    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    for name in engine or []:
        if name not in ENGINES:
            raise unknown_name("engine", name, ENGINES)
    if not 0 <= port <= 65535:
        raise EdgekitError(f"--port {port} is no port", hint="give a number up to 65535")
    folders = [bundle_folder(path) for path in bundle]
    if planned({"command": "app", "bundles": folders, "target": target, "out": out}):
        return
    site = build_site(folders, out, engines=engine or [], report=ConsoleReport())
    data = {
        "site": site.folder,
        "bundles": site.bundles,
        "engines": site.engines,
        "bytes": site.bytes,
    }
    show(data, f"site: {site.folder} ({site.bytes / 1e6:.1f} MB, {', '.join(site.engines)})")
    if not serve:
        note(f"serve the folder with any web server, or: edgekit app ... -o {out} --serve")
        return
    with server(out, port=port) as running:
        note(f"http://127.0.0.1:{running.server_address[1]}/ (Ctrl-C ends it)")
        running.serve_forever()
