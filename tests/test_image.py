"""Reading, resizing and batching images: the same pixels that detectron2 feeds its networks."""

import io
import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from d2deploy.errors import ImageError
from d2deploy.image import read_image, resize_shortest_edge, resized_shape, to_array, to_batch

CONFIGS = ("mask_rcnn_R_50_FPN_1x", "mask_rcnn_R_50_FPN_1x_giou", "mask_rcnn_R_50_FPN_3x")


def colourful(height=5, width=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_detectron2_reads(path):
    """Upright, Pillow's own conversion to RGB, reversed: the three calls of its reader."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]


def palette(transparent):
    image = Image.fromarray(colourful(16, 16)).quantize(8)
    if transparent:
        image.info["transparency"] = 3
    return image


KINDS = {
    "rgb.png": lambda: Image.fromarray(colourful()),
    "rgb.jpg": lambda: Image.fromarray(colourful(40, 50)),
    "one_bit.png": lambda: Image.fromarray(colourful()[..., 0]).convert("1"),
    "grey.png": lambda: Image.fromarray(colourful()[..., 0]),
    "grey.jpg": lambda: Image.fromarray(colourful(40, 50)[..., 0]),
    "grey_alpha.png": lambda: Image.fromarray(colourful()).convert("LA"),
    "alpha.png": lambda: Image.fromarray(np.dstack([colourful(), colourful(seed=1)[..., 0]])),
    "palette.png": lambda: palette(transparent=False),
    "palette_transparent.png": lambda: palette(transparent=True),
    "palette.gif": lambda: palette(transparent=False),
    "cmyk.jpg": lambda: Image.fromarray(colourful(40, 50)).convert("CMYK"),
    "cmyk.tif": lambda: Image.fromarray(colourful()).convert("CMYK"),
    "ycbcr.tif": lambda: Image.fromarray(colourful()).convert("YCbCr"),
    "sixteen_bit.png": lambda: Image.fromarray(np.linspace(0, 65535, 35, dtype=np.uint16).reshape(5, 7)),
    "sixteen_bit.tif": lambda: Image.fromarray(np.linspace(0, 600, 35, dtype=np.uint16).reshape(5, 7)),
    "thirty_two_bit.tif": lambda: Image.fromarray(np.linspace(-9, 600, 35, dtype=np.int32).reshape(5, 7)),
    "float.tif": lambda: Image.fromarray(np.linspace(-9, 600, 35, dtype=np.float32).reshape(5, 7)),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_image_reads_as_detectron2_reads_it(name, tmp_path):
    KINDS[name]().save(tmp_path / name)
    image = read_image(tmp_path / name)
    expected = as_detectron2_reads(tmp_path / name)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)
    assert image.min() < image.max()


def test_lossless_colours_come_back_in_bgr_and_alpha_is_dropped_not_blended(tmp_path):
    rgb = colourful()
    KINDS["alpha.png"]().save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., ::-1], rgb)


def test_sixteen_bits_are_cut_at_255_as_pillow_does(tmp_path):
    Image.fromarray(np.array([[0, 254, 255, 256, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 254, 255, 255, 255]


# EXIF orientation -> what the camera must have done to the upright scene `a`, undone
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
    9: lambda a: a,  # no such orientation: ignored
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_rotated_images_come_upright(orientation, suffix, tmp_path):
    scene = colourful()
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene)))
    stored.save(tmp_path / f"a.{suffix}", exif=exif, lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}")[..., ::-1], scene)


def test_broken_exif_counts_as_none(tmp_path):
    Image.fromarray(colourful(16, 16)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_image(tmp_path / "a.jpg").shape == (16, 16, 3)


def test_bytes_and_streams_read_like_files(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(colourful()).save(path)
    data = path.read_bytes()
    with path.open("rb") as stream:
        for file in (data, io.BytesIO(data), str(path), stream):
            np.testing.assert_array_equal(read_image(file), read_image(path))
        assert not stream.closed


def png_header(width, height):
    """A PNG that claims a size and holds no pixels: whoever decodes it fails."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg():
    data = io.BytesIO()
    Image.fromarray(colourful(64, 64)).save(data, "JPEG")
    return data.getvalue()


BAD = {
    "text": (b"hello", "is not an image"),
    "empty": (b"", "is not an image"),
    "truncated jpeg": (jpeg()[:900], "is damaged"),
    "header only": (png_header(8, 8), "is damaged"),
    "cut header": (png_header(8, 8)[:20], "is not an image|cannot be read"),
    "over the cap": (png_header(10_000, 9_000), "too large to decode: 10000 x 9000"),
    "over Pillow's own cap": (png_header(60_000, 60_000), "too large to decode"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_clear_error(case, tmp_path):
    content, message = BAD[case]
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ImageError, match=message):
        read_image(content)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


def test_the_cap_counts_pixels_and_is_the_callers(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(colourful(10, 20)).save(path)
    assert read_image(path, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageError, match="20 x 10 pixels; the limit is 199"):
        read_image(path, max_pixels=199)


def test_a_higher_cap_goes_past_pillows_warning(monkeypatch, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(colourful(10, 20)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, max_pixels=200).shape == (10, 20, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)
def test_an_array_that_is_no_image_is_refused(array):
    with pytest.raises(ImageError, match=r"must be uint8 \[height, width, 3\]"):
        to_array(array)


def test_an_array_passes_through_and_a_file_is_read(golden):
    image = colourful()
    assert to_array(image) is image
    assert to_array(golden / "images/noise.png").shape == (203, 331, 3)


@pytest.mark.parametrize("config", CONFIGS)
def test_pixels_fed_are_detectron2s_bit_for_bit(config, golden):
    folder = golden / "detectron2/COCO-InstanceSegmentation" / config
    facts = json.loads((folder / "golden.json").read_text())
    assert facts["images"]
    with np.load(folder / "golden.npz") as arrays:
        for name, about in facts["images"].items():
            image = read_image(golden / about["file"])
            assert image.shape[:2] == (about["height"], about["width"])
            resized = resize_shortest_edge(image, min_size=facts["short_edge"], max_size=facts["max_size"])
            assert resized.shape[:2] == tuple(arrays[f"{name}/input/hw"])
            np.testing.assert_array_equal(resized[:8, :8], arrays[f"{name}/input/corner"])
            assert zlib.crc32(resized.tobytes()) == facts["meta"][f"{name}/input_crc"]


# (height, width, min_size, max_size) -> (height, width), by hand from the rule
SHAPES = {
    (480, 640, 800, 1333): (800, 1067),
    (640, 480, 800, 1333): (1067, 800),
    (500, 500, 800, 1333): (800, 800),
    (427, 640, 256, 427): (256, 384),
    (100, 1000, 800, 1333): (133, 1333),
    (1000, 100, 800, 1333): (1333, 133),
    (800, 1333, 800, 1333): (800, 1333),
    (3, 7, 0, 5): (3, 7),
    (1, 1, 800, 1333): (800, 800),
    (1, 2665, 800, 1333): (1, 1333),  # 0.5002 pixels: rounds up
    (1, 5000, 800, 1333): (1, 1333),  # 0.27 pixels: detectron2 rounds to none and fails
    (90_000, 1, 800, 1333): (1333, 1),
}


@pytest.mark.parametrize("given_", SHAPES, ids=str)
def test_resized_shape(given_):
    height, width, min_size, max_size = given_
    assert resized_shape(height, width, min_size=min_size, max_size=max_size) == SHAPES[given_]


EDGES = st.integers(1, 100_000)


@given(EDGES, EDGES, st.integers(1, 2000), st.integers(1, 3000))
def test_resizing_keeps_the_rule_for_all_sizes(height, width, min_size, max_size):
    new_height, new_width = resized_shape(height, width, min_size=min_size, max_size=max_size)
    assert resized_shape(width, height, min_size=min_size, max_size=max_size) == (new_width, new_height)
    shorter, longer = sorted((new_height, new_width))
    assert shorter >= 1
    assert longer <= max_size
    assert shorter == min_size or longer == max_size
    assume(shorter > 1)
    exact = min(height, width) / max(height, width)
    assert abs(shorter - exact * longer) <= 1


def test_resizing_averages_and_stays_uint8():
    board = np.indices((8, 8)).sum(axis=0)[..., None].repeat(3, axis=2) % 2 * 255
    small = resize_shortest_edge(board.astype(np.uint8), min_size=2, max_size=100)
    assert small.shape == (2, 2, 3)
    assert small.dtype == np.uint8
    assert np.all((small > 100) & (small < 155))  # a filter that only picks samples would give 0 or 255


SLIVERS = {(1, 40): (3, 133), (40, 1): (133, 3), (1, 1): (80, 80), (1, 5000): (1, 133)}


@pytest.mark.parametrize("size", SLIVERS, ids=str)
def test_slivers_resize_to_something(size):
    resized = resize_shortest_edge(colourful(*size), min_size=80, max_size=133)
    assert resized.shape == (*SLIVERS[size], 3)


def test_no_resizing_gives_the_image_itself():
    image = colourful()
    assert resize_shortest_edge(image, min_size=0, max_size=4) is image


@pytest.mark.parametrize("channel_order", ["BGR", "RGB"])
@pytest.mark.parametrize(("divisor", "height", "width"), [(32, 64, 96), (0, 40, 70), (1, 40, 70), (7, 42, 70)])
def test_a_batch_is_padded_right_and_bottom_to_the_joint_size(channel_order, divisor, height, width):
    images = [colourful(40, 33), colourful(20, 70, seed=1)]
    batch, sizes = to_batch(images, channel_order=channel_order, size_divisor=divisor)
    assert (batch.dtype, batch.shape, batch.flags.c_contiguous) == (np.float32, (2, 3, height, width), True)
    assert (sizes.dtype, sizes.tolist()) == (np.int64, [[40, 33], [20, 70]])
    for canvas, image in zip(batch, images, strict=True):
        expected = np.zeros((height, width, 3), np.float32)
        expected[: image.shape[0], : image.shape[1]] = image if channel_order == "BGR" else image[..., ::-1]
        np.testing.assert_array_equal(canvas.transpose(1, 2, 0), expected)


def test_read_image_takes_paths_of_any_kind(golden):
    name = str(golden / "images/noise.png")
    np.testing.assert_array_equal(read_image(name), read_image(Path(name)))
