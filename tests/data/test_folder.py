import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hiresnn.data import load, load_folder
from hiresnn.data.sources import read_folder
from hiresnn.errors import DataError


def save(path, level, mode="RGB", size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level).save(path)


@pytest.fixture
def pets(tmp_path):
    root = tmp_path / "pets"
    save(root / "train/dog/2.png", (20, 21, 22))
    save(root / "train/dog/10.PNG", (10, 11, 12))
    save(root / "train/cat/a.png", (1, 2, 3))
    save(root / "test/dog/a.png", (5, 6, 7))
    return root


def test_classes_and_images_come_in_the_order_of_their_names(pets):
    data = load_folder(pets)
    assert data.name == "pets"
    assert data.class_names == ("cat", "dog")
    assert data.train.images.shape == (3, 3, 4, 4)
    assert data.train.images[:, :, 0, 0].tolist() == [[1, 2, 3], [10, 11, 12], [20, 21, 22]]
    assert data.train.labels.tolist() == [0, 1, 1]
    assert data.test.labels.tolist() == [1]


def test_rows_and_columns_are_not_exchanged(tmp_path):
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for place in ("train/a/0.png", "train/b/0.png", "test/a/0.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / place)
    data = load_folder(tmp_path)
    assert data.test.images.shape == (1, 1, 4, 4)
    assert data.test.images[0, 0].tolist() == pixels.tolist()


def test_one_colour_image_gives_all_images_three_channels(pets):
    save(pets / "train/cat/grey.png", 99, mode="L")
    assert load_folder(pets).train.images[1, :, 0, 0].tolist() == [99, 99, 99]


def test_palettes_and_transparency_become_colour(pets):
    save(pets / "train/cat/b.png", (7, 8, 9, 100), mode="RGBA")
    Image.new("RGB", (4, 4), (30, 40, 50)).quantize().save(pets / "train/cat/c.png")
    images = load_folder(pets).train.images[1:3, :, 0, 0]
    assert images.tolist() == [[7, 8, 9], [30, 40, 50]]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_an_image_is_rotated_as_its_exif_data_say(pets, suffix):
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter clockwise
    colour = Image.fromarray(np.stack([pixels] * 3, axis=2))
    colour.save(pets / f"train/cat/b.{suffix}", exif=exif, lossless=True)
    assert load_folder(pets).train.images[1, 0].tolist() == np.rot90(pixels, -1).tolist()


def test_other_files_are_ignored(pets):
    (pets / "train/dog/notes.txt").write_text("two dogs")
    (pets / "train/dog/._2.png").write_bytes(b"not an image")
    (pets / "train/.cache").mkdir()
    (pets / "readme.md").write_text("pets")
    assert len(load_folder(pets).train) == 3


def remove_test(pets):
    (pets / "test").rename(pets / "validation")


def remove_classes(pets):
    for part in ("cat", "dog"):
        shutil.rmtree(pets / "train" / part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_test, r"pets/test: there is no such folder"),
        (remove_classes, "train: there are no class folders"),
        (lambda pets: save(pets / "test/lost.png", (1, 2, 3)), r"test/lost\.png: this image is in no class"),
        (lambda pets: shutil.rmtree(pets / "train/cat"), "pets: there is only one class, dog"),
        (lambda pets: (pets / "train/owl").mkdir(), "train/owl: there is no image in this class"),
        (lambda pets: save(pets / "test/owl/a.png", (1, 2, 3)), "test/owl: train has no class of this name"),
        (lambda pets: (pets / "train/dog/2.png").write_bytes(b"text"), r"dog/2\.png: this image cannot be read"),
        (lambda pets: save(pets / "train/cat/more/a.png", 1), r"more/a\.png: .* in a folder within its class"),
        (lambda pets: save(pets / "test/dog/a.png", 1, size=(5, 6)), r"a\.png: .* 6x5 .*a\.png is 4x4; scale"),
        (lambda pets: save(pets / "train/cat/a.png", 40_000, mode="I;16"), r"cat/a\.png: .* more than 8 bits"),
        (lambda pets: (pets / "train/cat/b.ppm").write_bytes(b"P6 4 4 65535\n" + bytes(96)), r"b\.ppm: .*than 8 bits"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused_by_the_name_of_the_file(pets, change, message):
    change(pets)
    with pytest.raises(DataError, match=message):
        load_folder(pets)


def test_a_truncated_image_is_named(pets):
    file = pets / "train/cat/a.png"
    Image.effect_noise((64, 64), 50).save(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"train/cat/a\.png: this image cannot be read"):
        load_folder(pets)


def test_all_files_that_cannot_be_used_are_named_at_once(pets):
    for number in range(3):
        (pets / f"train/dog/bad{number}.png").write_bytes(b"text")
        save(pets / f"test/dog/size{number}.png", 1, size=(5, 6))
    with pytest.raises(DataError) as caught:
        load_folder(pets)
    lines = str(caught.value).splitlines()
    assert [line.partition(": this image cannot")[0] for line in lines[:3]] == [
        str(pets / f"train/dog/bad{number}.png") for number in range(3)
    ]
    assert "size0.png: the image is 6x5" in lines[3]
    assert "and 2 more images are not of this size" in lines[3]
    assert len(lines) == 4


def test_what_can_be_used_is_returned_beside_the_problems(pets):
    (pets / "train/dog/2.png").write_bytes(b"text")
    data, problems = read_folder(pets)
    assert data.train.labels.tolist() == [0, 1]
    assert len(problems) == 1
    save(pets / "test/dog/odd.png", 1, size=(5, 6))
    assert "1 image of another size left out" in read_folder(pets)[0].summary
    (pets / "test/dog/odd.png").unlink()
    (pets / "test/dog/a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"dog/2\.png: .*\n.*test/dog/a\.png: "):
        read_folder(pets)


def test_the_summary_counts_images_and_classes_and_says_what_is_missing_or_converted(pets):
    assert load_folder(pets).summary == "2 classes, 3 training and 1 test images, 4x4 RGB; class cat has no test image"
    for name in ("owl", "fox", "hen", "ant"):
        save(pets / f"train/{name}/a.png", 9, mode="L")
    text = "6 classes, 7 training and 1 test images, 4x4 RGB; classes ant, cat, fox and 2 more have no test image; "
    assert load_folder(pets).summary == text + "4 grey images converted to colour"
    assert load("digits").summary == "10 classes, 1,442 training and 355 test images, 8x8 grey"


def deep_png(colour_type, channels):
    """A PNG of 4x4 pixels with 16 bits per channel, which Pillow does not write in colour."""
    rows = b"".join(b"\0" + struct.pack(">H", 40_000) * 4 * channels for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_images_of_16_bits_in_colour_or_with_transparency_are_refused(pets, colour_type, channels):
    (pets / "train/cat/a.png").write_bytes(deep_png(colour_type, channels))
    with pytest.raises(DataError, match=r"cat/a\.png: its pixels have more than 8 bits per channel"):
        load_folder(pets)
