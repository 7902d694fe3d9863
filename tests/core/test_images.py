import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgekit.core.errors import BadInput, OutputError
from edgekit.core.images import (
    center_square,
    load_photo,
    photo_files,
    resized,
    save_photo,
    to_bytes,
    to_pixels,
)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def gradient() -> np.ndarray:
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([rows * 5, columns * 4, 255 - rows * 5], -1).astype(np.uint8)


def test_a_photo_survives_the_way_to_a_file_and_back(tmp_path, gradient):
    save_photo(gradient, tmp_path / "deep" / "a.png")

    assert (load_photo(tmp_path / "deep" / "a.png") == gradient).all()


def test_exif_rotation_is_applied(gradient):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise to view

    loaded = load_photo(encoded(Image.fromarray(gradient), "PNG", exif=exif))

    assert (loaded == np.rot90(gradient, -1)).all()


def test_alpha_is_laid_over_white():
    clear = Image.new("RGBA", (32, 32), (10, 20, 30, 0))

    assert (load_photo(encoded(clear)) == 255).all()


def test_a_palette_with_transparency_is_laid_over_white():
    image = Image.new("P", (32, 32), 0)
    image.putpalette([5, 5, 5] * 256)

    assert (load_photo(encoded(image, "PNG", transparency=0)) == 255).all()


def test_sixteen_bits_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)

    loaded = load_photo(encoded(Image.fromarray(ramp)))

    assert loaded.shape == (32, 32, 3)
    assert loaded[0, 0, 0] == 0
    assert 120 < loaded[16, 0, 0] < 136
    assert loaded[-1, -1, 0] == 255


def test_cmyk_becomes_rgb():
    cyan = Image.new("CMYK", (32, 32), (255, 0, 0, 0))

    red, green, blue = load_photo(encoded(cyan, "JPEG"))[16, 16]

    assert red < 60 < min(green, blue)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "not an image"),
        (b"not an image at all", "not an image"),
        (encoded(Image.new("RGB", (400, 400)), "JPEG")[:300], "not an image"),
        (encoded(Image.new("RGB", (1, 1))), "1x1 pixels"),
        (encoded(Image.new("L", (20000, 6001))), "megapixels"),
    ],
    ids=["empty", "text", "truncated", "one pixel", "120 megapixels"],
)
def test_a_file_that_cannot_be_used_is_one_sentence(data, cause):
    with pytest.raises(BadInput, match=cause) as caught:
        load_photo(data, name="photo.png")

    assert caught.value.exit_code == 4
    assert caught.value.what.startswith("photo.png")
    assert "\n" not in caught.value.what


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        load_photo(tmp_path / "none.jpg")


def test_a_folder_without_photos_is_bad_input(tmp_path):
    (tmp_path / "notes.txt").write_text("x")

    with pytest.raises(BadInput, match="holds no photo"):
        photo_files(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        photo_files(tmp_path / "none")


def test_hidden_files_are_not_photos(tmp_path, gradient):
    save_photo(gradient, tmp_path / "a.png")
    save_photo(gradient, tmp_path / ".cache" / "b.png")

    assert photo_files(tmp_path) == [tmp_path / "a.png"]


def test_a_folder_is_not_hidden_by_the_way_it_is_named(tmp_path, gradient, monkeypatch):
    save_photo(gradient, tmp_path / "photos" / "a.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    assert photo_files(Path("../photos")) == [Path("../photos/a.png")]


def test_an_unknown_suffix_is_refused_before_writing(tmp_path, gradient):
    with pytest.raises(OutputError, match=r"\.heic"):
        save_photo(gradient, tmp_path / "a.heic")

    assert not list(tmp_path.iterdir())


@given(st.integers(0, 255))
def test_bytes_survive_the_way_through_floats(value):
    photo = np.full((2, 2, 3), value, np.uint8)

    assert (to_bytes(to_pixels(photo)) == photo).all()
    assert (to_bytes(to_pixels(photo, low=0, high=1), low=0, high=1) == photo).all()


def test_nan_becomes_black():
    assert to_bytes(np.array([np.nan, 5.0], np.float32)).tolist() == [0, 255]


def test_the_middle_square_is_cut_and_scaled(gradient):
    assert center_square(gradient, 24).shape == (24, 24, 3)
    assert (center_square(gradient, 48) == gradient[:, 8:56]).all()
    assert resized(gradient, 24, 32).shape == (24, 32, 3)
