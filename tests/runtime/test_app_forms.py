"""Bundles of forms that an app has no screen for are refused before anything is written."""

import pytest
from PIL import Image
from tests.students import smooth_photos

from edgekit.cli.main import run
from edgekit.core.manifest import read_bundle, write_bundle


@pytest.mark.parametrize(
    ("form", "sentence", "target"),
    [
        ("mesh", "makes meshes of words", "ios"),
        ("mesh", "makes meshes of words", "android"),
        ("something_new", "is of the form something_new", "ios"),
        ("something_new", "is of the form something_new", "android"),
    ],
)
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


def test_a_restorer_is_not_taken_for_an_editor_of_photos(make_bundle, tmp_path, capsys):
    bundle = make_bundle(tmp_path / "bundle")
    write_bundle(bundle, read_bundle(bundle).model_copy(update={"form": "restorer"}))
    Image.fromarray(smooth_photos(1, 48)[0]).save(tmp_path / "photo.png")

    words = [str(bundle), str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.png")]
    status = run(["run", *words])

    said = capsys.readouterr().err
    assert status == 7
    assert "use `edgekit restore`" in said
    assert not (tmp_path / "out.png").exists()
