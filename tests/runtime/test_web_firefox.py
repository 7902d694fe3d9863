"""The web demo in Firefox, where it is installed; also without relaxed SIMD, as Safari is."""

import json
import threading

import pytest
from tests.runtime.firefox import firefox, program
from tests.runtime.test_web_app import installed_libraries

from edgekit.runtime.apps.web import build_site, server

pytestmark = [
    pytest.mark.xdist_group("web"),
    pytest.mark.skipif(
        program() is None, reason="Firefox is not here: run web_demo/setup.sh --firefox"
    ),
]


@pytest.mark.parametrize("relaxed", [True, False], ids=["relaxed-simd", "plain-simd"])
def test_the_page_edits_and_agrees_with_python(toy_bundle, tmp_path, relaxed):
    site = build_site([toy_bundle], tmp_path / "site", cache=installed_libraries())
    running = server(site.folder)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_address[1]}/?bench=1&calls=3&warmup=1&threads=2"

    with running, firefox({"javascript.options.wasm_relaxed_simd": relaxed}) as page:
        page.call("WebDriver:Navigate", url=url)
        bench = page.wait("return document.body.dataset.ready && document.body.dataset.bench")
        lines = page.run("return document.getElementById('lines').textContent").splitlines()
        note = page.run("return document.getElementById('note').textContent")
        page.run("document.getElementById('sample').click()")
        page.wait("return document.body.dataset.edited")
        said = page.run("return document.getElementById('status').textContent")
        running.shutdown()

    accuracy = json.loads(lines[-1])
    assert (bench, said) == ("done", "Done.")
    assert accuracy["event"] == "accuracy"
    assert accuracy["max_abs"] <= 1e-4
    assert json.loads(lines[0])["threads"] == (2 if relaxed else 1)
    assert note == ("" if relaxed else "One thread: this browser has no relaxed SIMD.")
