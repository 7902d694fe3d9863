import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.core.errors import BadInput
from edgekit.core.manifest import BundleManifest, read_bundle, schema
from edgekit.core.samples import from_port, read_feeds, to_port
from edgekit.core.seams import Port
from edgekit.core.store import file_sha256, write_json

ROOT = Path(__file__).parents[2]
HASH = "0" * 64


def written_bundle(folder: Path) -> dict:
    (folder / "golden").mkdir(parents=True)
    np.savez(folder / "golden/vectors.npz", image=np.zeros((1, 3, 8, 8), np.float32))
    (folder / "m.onnx").write_bytes(b"model")
    port = {"name": "image", "shape": [1, 3, 8, 8], "dtype": "float32", "layout": "nchw"}
    port |= {"low": -1.0, "high": 1.0}
    value = {
        "kind": "bundle",
        "schema_version": 1,
        "recipe_sha256": HASH,
        "name": "night",
        "prompt": "make it night",
        "edgekit": "0",
        "student": {
            "sha256": HASH,
            "recipe_sha256": HASH,
            "teacher": "bundled",
            "parameters": 1,
            "gmac": 1.0,
            "size_px": 8,
        },
        "models": [
            {
                "target": "onnx",
                "format": "onnx",
                "precision": "fp32",
                "path": "m.onnx",
                "sha256": file_sha256(folder / "m.onnx"),
                "bytes": 5,
                "inputs": [port],
                "outputs": [port | {"name": "image_out"}],
                "recipe": "none",
                "executed": False,
                "parity": None,
                "tools": {},
            }
        ],
        "golden": {
            "path": "golden/vectors.npz",
            "sha256": file_sha256(folder / "golden/vectors.npz"),
            "samples": 1,
        },
        "licences": {"weights": "Apache-2.0"},
    }
    write_json(folder / "manifest.json", value)
    return value


def test_a_written_bundle_is_read_back(tmp_path):
    written_bundle(tmp_path / "b")

    manifest = read_bundle(tmp_path / "b", check_files=True)

    assert manifest.models[0].inputs[0].port() == Port("image", (1, 3, 8, 8))


def test_a_changed_file_is_found(tmp_path):
    written_bundle(tmp_path / "b")
    (tmp_path / "b/m.onnx").write_bytes(b"other")

    with pytest.raises(BadInput, match="not the file that was exported"):
        read_bundle(tmp_path / "b", check_files=True)


def test_a_missing_file_is_found(tmp_path):
    written_bundle(tmp_path / "b")
    (tmp_path / "b/m.onnx").unlink()

    with pytest.raises(BadInput, match="missing from the bundle"):
        read_bundle(tmp_path / "b", check_files=True)


@pytest.mark.parametrize("path", ["../m.onnx", "/etc/passwd", "a/../../b"])
def test_a_path_that_leaves_the_bundle_is_refused(tmp_path, path):
    value = written_bundle(tmp_path / "b")
    value["models"][0]["path"] = path
    write_json(tmp_path / "b/manifest.json", value)

    with pytest.raises(BadInput, match="path"):
        read_bundle(tmp_path / "b")


def test_a_key_that_nobody_knows_is_refused(tmp_path):
    value = written_bundle(tmp_path / "b")
    write_json(tmp_path / "b/manifest.json", value | {"colour": "red"})

    with pytest.raises(BadInput, match="colour"):
        read_bundle(tmp_path / "b")


def test_a_student_folder_is_not_a_bundle(tmp_path):
    write_json(tmp_path / "manifest.json", {"kind": "student"})

    with pytest.raises(BadInput, match="holds a student, not a bundle"):
        read_bundle(tmp_path)


def test_the_published_schema_is_the_one_in_the_code():
    published = json.loads((ROOT / "docs/bundle.schema.json").read_text(encoding="utf-8"))

    assert published == json.loads(json.dumps(schema()))
    assert published["properties"]["schema_version"]["const"] == 1
    assert set(published["required"]) <= set(BundleManifest.model_fields)


def test_photos_become_what_a_port_wants_and_come_back(tmp_path):
    photos = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "feeds.npz", image=photos, code=np.ones((2, 4), np.float32))
    image, code = Port("image", (1, 3, 8, 8)), Port("code", (1, 4), layout="flat")

    feeds = read_feeds(tmp_path / "feeds.npz", [image, code])

    assert [feed["image"].shape for feed in feeds] == [(1, 3, 8, 8)] * 2
    assert feeds[0]["code"].shape == (1, 4)
    assert (from_port(feeds[1]["image"], image) == photos[1:]).all()
    nhwc = Port("image", (1, 8, 8, 3), layout="nhwc", low=0.0)
    assert (from_port(to_port(photos, nhwc), nhwc) == photos).all()


def test_a_file_without_a_port_is_told(tmp_path):
    np.savez(tmp_path / "feeds.npz", image=np.zeros((1, 8, 8, 3), np.uint8))

    with pytest.raises(BadInput, match="no array 'code'"):
        read_feeds(tmp_path / "feeds.npz", [Port("code", (1, 4))])
