"""Bundles of forms that an app has no screen for are refused before anything is written."""

import pytest

from edgekit.cli.main import run
from edgekit.core.manifest import read_bundle, write_bundle


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("restorer", "restores faces with good photos of the person"),
        ("mesh", "makes meshes of words"),
        ("something_new", "is of the form something_new"),
    ],
)
@pytest.mark.parametrize("target", ["ios", "android"])
def test_an_app_for_phones_says_what_it_cannot_show(
    make_bundle, tmp_path, capsys, form, sentence, target
):
    bundle = make_bundle(tmp_path / "bundle")
    write_bundle(bundle, read_bundle(bundle).model_copy(update={"form": form}))

    out = tmp_path / ("app.apk" if target == "android" else "app")
    status = run(["app", str(bundle), "--target", target, "--out", str(out)])

    said = capsys.readouterr().err
    assert status == 7
    assert sentence in said
    assert "--target web" in said
    assert not out.exists()
