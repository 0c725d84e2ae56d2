"""What the C++ clients share, against Python, on inputs that no network would give: by cpp/tests/check.cpp."""

import base64
import io
import json
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from d2deploy.image import read_image, resized_shape

Check = Callable[..., bytes]


def test_new_sizes(check):
    random = np.random.default_rng(0)
    cases = random.integers(1, 3000, (2000, 4))
    cases[:200, 2] = 0
    cases[200:400] = [[1, width, 800, 1333] for width in range(1, 201)]
    lines = "".join(f"{h} {w} {a} {b}\n" for h, w, a, b in cases.tolist())
    ours = np.array(check("shapes", given=lines.encode()).split(), dtype=int).reshape(-1, 2)
    theirs = [resized_shape(h, w, min_size=a, max_size=b) for h, w, a, b in cases.tolist()]
    assert ours.tolist() == [list(size) for size in theirs]


# height, width -> height, width
RESIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (7, 5)),
    ((7, 5), (1, 1)),
    ((3, 200), (3, 10)),
    ((200, 3), (10, 3)),
    ((240, 320), (800, 1067)),
    ((800, 1067), (240, 320)),
    ((517, 771), (516, 770)),
    ((33, 1), (800, 24)),
    ((2, 1999), (4, 1333)),
    ((400, 60), (100, 50)),  # where Pillow 13, asked once for both axes, takes the height first
]


def test_resizing_is_pillows_bit_by_bit(check):
    """The width first, whatever Pillow's order: see resize_shortest_edge."""
    random = np.random.default_rng(1)
    sizes = RESIZES + [((h, w), (H, W)) for h, w, H, W in random.integers(1, 400, (80, 4)).tolist()]
    pictures = [random.integers(0, 256, (*before, 3), dtype=np.uint8) for before, _ in sizes]
    pictures[::3] = [(picture // 128 * 255).astype(np.uint8) for picture in pictures[::3]]  # where rounding is seen
    given = b"".join(
        struct.pack("<4i", *before, *after) + picture.tobytes()
        for (before, after), picture in zip(sizes, pictures, strict=True)
    )
    ours = io.BytesIO(check("resize", given=given))
    for (before, after), picture in zip(sizes, pictures, strict=True):
        theirs = Image.fromarray(picture)
        for size in ((after[1], before[0]), after[::-1]):
            theirs = theirs.resize(size, Image.Resampling.BILINEAR)
        assert ours.read(after[0] * after[1] * 3) == theirs.tobytes(), (before, after)
    assert ours.read() == b""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    colour: int, depth: int, size: tuple[int, int], samples: bytes, *, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG file made by hand: `samples` are its rows."""
    height, width = size
    stride = len(samples) // height
    rows = b"".join(b"\0" + samples[i * stride : (i + 1) * stride] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + pixels + after + chunk(b"IEND", b"")


def png_interlaced(colour: np.ndarray) -> bytes:
    """Adam7: seven pictures of every so manyth row and column."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = [colour[y::down, x::along] for y, x, down, along in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", colour.shape[1], colour.shape[0], 8, 2, 0, 0, 1)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def text_chunk(text: bytes) -> bytes:
    return chunk(b"tEXt", b"Raw profile type exif\0" + text)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x010E] = "a description"
    tags[0x0112] = orientation
    return tags


def png_files() -> dict[str, bytes]:
    random = np.random.default_rng(2)
    noise = random.integers(0, 256, 3 * 5 * 8, dtype=np.uint8).tobytes()
    picture = Image.fromarray(random.integers(0, 256, (37, 53, 4), dtype=np.uint8), "RGBA")
    palette = picture.convert("RGB").quantize(17)
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='2' tiff:Orientation=\"6\"/>"
    tag = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"
    long_tag = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    digits = (b"Exif\0\0" + tag).hex()
    profile = f"\nexif\n{len(digits) // 2:8}\n{digits[:36]}\n{digits[36:]}\n".encode()
    colour = np.frombuffer(noise[:45], np.uint8).reshape(3, 5, 3)
    return {
        **{mode: saved(picture.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
        "transparent palette": saved(palette, "PNG", transparency=3),
        "4-bit palette": saved(palette.quantize(9), "PNG", bits=4),
        "2-bit grey": png(0, 2, (3, 8), noise[:6]),
        "4-bit grey": png(0, 4, (3, 8), noise[:12]),
        "16-bit grey": png(0, 16, (2, 3), b"\0\x07\0\xff\1\0\xff\xff\0\0\0\x80"),
        "16-bit colour": png(2, 16, (2, 3), noise[:36]),
        "16-bit grey with alpha": png(4, 16, (2, 3), noise[:24]),
        "16-bit colour with alpha": png(6, 16, (1, 5), noise[:40]),
        "transparent 16-bit grey": png(0, 16, (2, 3), noise[:12], before=chunk(b"tRNS", b"\0\x10")),
        "transparent colour": png(2, 8, (3, 5), noise[:45], before=chunk(b"tRNS", b"\0\1\0\2\0\3")),
        "interlaced": png_interlaced(colour),
        "two million pixels wide": png(0, 8, (1, 2 * 10**6), bytes(2 * 10**6)),
        "turned, a long": png(2, 8, (3, 5), noise[:45], before=chunk(b"eXIf", long_tag)),
        "turned by a raw profile": png(2, 8, (3, 5), noise[:45], before=text_chunk(profile)),
        "a raw profile cut": png(2, 8, (3, 5), noise[:45], before=text_chunk(profile[:-2])),
        "transparent grey": png(0, 8, (3, 5), noise[:15], before=chunk(b"tRNS", b"\0\x10")),
        "gamma": png(2, 8, (1, 5), noise[:15], before=chunk(b"gAMA", struct.pack(">I", 100000))),
        "turned by XMP": png(2, 8, (3, 5), noise[:45], before=chunk(b"iTXt", xmp)),
        "turned at the end": png(2, 8, (3, 5), noise[:45], after=chunk(b"eXIf", tag)),
        "no end": png(2, 8, (3, 5), noise[:45])[:-12],
        **{f"turned {i}": saved(picture.convert("RGB"), "PNG", exif=exif(i)) for i in range(10)},
    }


PNG_FILES = png_files()


@pytest.mark.parametrize("name", PNG_FILES)
def test_png(name, check, tmp_path):
    assert (read(check, tmp_path, PNG_FILES[name]) == read_image(PNG_FILES[name])).all()


def read(check: Check, folder: Path, file: bytes) -> np.ndarray:
    (folder / "image").write_bytes(file)
    found = check("read", folder / "image")
    height, width = struct.unpack("<2i", found[:8])
    return np.frombuffer(found[8:], np.uint8).reshape(height, width, 3)


def jpeg_files() -> dict[str, bytes]:
    picture = Image.open(Path(__file__).parents[2] / "src/d2deploy/demo/images/000018.jpg")
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation>3<"
    turned = saved(picture, "JPEG", exif=exif(6))
    return {
        "grey": saved(picture.convert("L"), "JPEG"),
        "CMYK": saved(picture.convert("CMYK"), "JPEG"),
        "progressive": saved(picture, "JPEG", progressive=True, quality=60),
        "full colour": saved(picture, "JPEG", subsampling=0),
        "half colour": saved(picture, "JPEG", subsampling=1),
        "quarter colour": saved(picture, "JPEG", subsampling=2),
        "turned": turned,
        "turned by XMP": turned[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + saved(picture, "JPEG")[2:],
    }


JPEG_FILES = jpeg_files()


@pytest.mark.parametrize("name", JPEG_FILES)
def test_jpeg(name, check, tmp_path):
    """Decoders differ by a level or two; Pillow brings its own."""
    ours, theirs = read(check, tmp_path, JPEG_FILES[name]), read_image(JPEG_FILES[name])
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 3


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2, 1.5, 1e-300, 123456789.125, 0.1, True, False, None, [], {}], "": {"b": {}}},
        ['"\\/\b\f\n\r\t\0\x1f\x7f', "äöü€\u2028", "😀"],
        [2**63 - 1, -(2**63), 1e22, 5.0],
    ],
)
def test_json_there_and_back(value, check):
    for text in (json.dumps(value), json.dumps(value, indent=3, ensure_ascii=False)):
        assert json.loads(check("json", given=text.encode())) == value


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", '{"a" 1}', '"\\x"', '"\\u12"', '"\x01"', "1 2", "nul", "1e999", '"\\ud800\\u0020"']
)
def test_what_is_no_json_is_refused(text, tool):
    ran = subprocess.run([tool("check"), "json"], input=text.encode(), capture_output=True)
    assert ran.returncode == 2
    assert b"not JSON at byte" in ran.stderr


def test_base64(check):
    for count in (0, 1, 2, 3, 4, 256):
        given = np.random.default_rng(count).bytes(count)
        assert check("base64", given=given) == base64.b64encode(given)


def test_the_example_compiles(tool, compiler, tmp_path):
    """That of docs/cpp.md."""
    tool("check")
    repo = Path(__file__).parents[2]
    (example,) = re.findall(r"^```cpp\n(.*?)^```$", (repo / "docs/cpp.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "example.cpp").write_text(example)
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{repo / 'cpp/include'}"]
    ran = subprocess.run([*command, tmp_path / "example.cpp"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
