"""What the C++ clients share, against Python, on inputs that no network would give: by cpp/tests/check.cpp."""

import base64
import dataclasses
import io
import json
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from d2deploy.artifact import MeshSpec, ModelSpec, PanopticDeepLabRule, PanopticRule, Preprocess, TensorSpec
from d2deploy.draw import draw_instances
from d2deploy.image import read_image, resized_shape
from d2deploy.postprocess import Frame, to_result
from d2deploy.results import DensePoseVertices, Instances, to_json


def check(tool: Any, *words: Any, given: bytes = b"") -> bytes:
    ran = subprocess.run([tool("check"), *map(str, words)], input=given, capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def test_new_sizes(tool):
    random = np.random.default_rng(0)
    cases = random.integers(1, 3000, (2000, 4))
    cases[:200, 2] = 0
    cases[200:400] = [[1, width, 800, 1333] for width in range(1, 201)]
    lines = "".join(f"{h} {w} {a} {b}\n" for h, w, a, b in cases.tolist())
    ours = np.array(check(tool, "shapes", given=lines.encode()).split(), dtype=int).reshape(-1, 2)
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


def test_resizing_is_pillows_bit_by_bit(tool):
    """The width first, whatever Pillow's order: see resize_shortest_edge."""
    random = np.random.default_rng(1)
    sizes = RESIZES + [((h, w), (H, W)) for h, w, H, W in random.integers(1, 400, (80, 4)).tolist()]
    pictures = [random.integers(0, 256, (*before, 3), dtype=np.uint8) for before, _ in sizes]
    pictures[::3] = [(picture // 128 * 255).astype(np.uint8) for picture in pictures[::3]]  # where rounding is seen
    given = b"".join(
        struct.pack("<4i", *before, *after) + picture.tobytes()
        for (before, after), picture in zip(sizes, pictures, strict=True)
    )
    ours = io.BytesIO(check(tool, "resize", given=given))
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
def test_png(name, tool, tmp_path):
    assert (read(tool, tmp_path, PNG_FILES[name]) == read_image(PNG_FILES[name])).all()


def read(tool: Any, folder: Path, file: bytes) -> np.ndarray:
    (folder / "image").write_bytes(file)
    found = check(tool, "read", folder / "image")
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
def test_jpeg(name, tool, tmp_path):
    """Decoders differ by a level or two; Pillow brings its own."""
    ours, theirs = read(tool, tmp_path, JPEG_FILES[name]), read_image(JPEG_FILES[name])
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
def test_json_there_and_back(value, tool):
    for text in (json.dumps(value), json.dumps(value, indent=3, ensure_ascii=False)):
        assert json.loads(check(tool, "json", given=text.encode())) == value


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", '{"a" 1}', '"\\x"', '"\\u12"', '"\x01"', "1 2", "nul", "1e999", '"\\ud800\\u0020"']
)
def test_what_is_no_json_is_refused(text, tool):
    ran = subprocess.run([tool("check"), "json"], input=text.encode(), capture_output=True)
    assert ran.returncode == 2
    assert b"not JSON at byte" in ran.stderr


PANOPTIC = PanopticRule(overlap=0.5, stuff_area=20, instance_score=0.4)
DEEPLAB = PanopticDeepLabRule(
    thing_ids=(2, 3), stuff_area=30, center_threshold=0.1, nms_kernel=3, top_k=6, predict_instances=True
)


def boxes(random: np.random.Generator, count: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes within, across and outside an image; some without area."""
    height, width = size
    corner = random.uniform(-0.3, 1.1, (count, 2)) * (width, height)
    sides = random.uniform(-0.05, 0.7, (count, 2)) * (width, height)
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32)


def detections(random: np.random.Generator, size: tuple[int, int]) -> dict[str, np.ndarray]:
    count = 12
    return {
        "boxes": boxes(random, count, size),
        "scores": np.sort(random.random(count, dtype=np.float32))[::-1],
        "classes": random.integers(0, 3, count),
        "image_index": np.zeros(count, np.int64),
    }


def smooth(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that change slowly along the last two axes, as networks' do."""
    maps = random.normal(size=(*shape[:-2], 4, 4))
    for axis in (-2, -1):
        to = np.linspace(0, 3, shape[axis])
        maps = np.apply_along_axis(lambda line, to=to: np.interp(to, np.arange(4), line), axis, maps)
    return maps.astype(np.float32)


def masks(random: np.random.Generator, count: int) -> np.ndarray:
    return (1 / (1 + np.exp(-4 * smooth(random, (count, 28, 28))))).astype(np.float32)


def rotated(random: np.random.Generator, size: tuple[int, int]) -> dict[str, np.ndarray]:
    upright = boxes(random, 12, size)
    angles = random.choice([0, 0.5, -0.9, 30, 179.5, 250, -400], 12)[:, None]
    made = np.concatenate([upright[:, :2], upright[:, 2:] - upright[:, :2], angles], axis=1)
    return detections(random, size) | {"boxes": made.astype(np.float32)}


def proposals(random: np.random.Generator, size: tuple[int, int]) -> dict[str, np.ndarray]:
    logits = np.sort(random.normal(size=12).astype(np.float32))[::-1]
    return {
        "proposal_boxes": boxes(random, 12, size),
        "objectness_logits": logits,
        "image_index": np.zeros(12, np.int64),
    }


def pixels(random: np.random.Generator, size: tuple[int, int], classes: int = 4) -> np.ndarray:
    return smooth(random, (1, classes, size[0] + 5, size[1] + 3))  # padded


def deeplab(random: np.random.Generator, size: tuple[int, int]) -> dict[str, np.ndarray]:
    sem_seg = pixels(random, size)
    center = smooth(random, (1, 1, *sem_seg.shape[2:])) + random.random((1, 1, *sem_seg.shape[2:])) * 0.2
    offset = smooth(random, (1, 2, *sem_seg.shape[2:])) * 9
    return {"sem_seg": sem_seg, "center": center.astype(np.float32), "offset": offset}


def charts(random: np.random.Generator, size: tuple[int, int]) -> dict[str, np.ndarray]:
    cells = {name: smooth(random, (12, 5, 10, 10)) for name in ("fine_segm", "u", "v", "sigma_2", "kappa_u")}
    confidence = {"coarse_segm_confidence": smooth(random, (12, 1, 10, 10))}
    return detections(random, size) | {"coarse_segm": smooth(random, (12, 2, 10, 10))} | cells | confidence


# The third class has none, the fourth does not exist.
MESHES = (
    MeshSpec(name="cat_300", num_vertices=300, classes=(0, 3)),
    MeshSpec(name="dog_40", num_vertices=40, classes=(1,)),
)


def embeddings(random: np.random.Generator, size: tuple[int, int]) -> dict[str, np.ndarray]:
    cells = {"coarse_segm": smooth(random, (12, 3, 10, 10)), "embedding": smooth(random, (12, 6, 10, 10))}
    vertices = {"vertex_embeddings": random.normal(size=(340, 6)).astype(np.float32)}
    return detections(random, size) | cells | vertices


# name -> outputs of a network for an image of a size
NETWORKS = {
    "boxes": detections,
    "none": lambda random, size: {k: v[:0] for k, v in detections(random, size).items()},
    "masks": lambda random, size: detections(random, size) | {"mask_probs": masks(random, 12)},
    "masks in boxes of their own": lambda random, size: (
        detections(random, size)
        | {"mask_probs": masks(random, 12), "mask_boxes": detections(random, size)["boxes"] * 1.5 - 8}
    ),
    "keypoints": lambda random, size: (
        detections(random, size) | {"keypoint_heatmaps": 5 * smooth(random, (12, 3, 56, 56))}
    ),
    "rotated": rotated,
    "proposals": proposals,
    "semantic": lambda random, size: {"sem_seg": pixels(random, size)},
    "panoptic": lambda random, size: (
        detections(random, size) | {"mask_probs": masks(random, 12), "sem_seg": pixels(random, size)}
    ),
    "panoptic_deeplab": deeplab,
    "dense pose": charts,
    "dense pose, meshes": embeddings,
}
# of the network's input -> of the image
SIZES = [((40, 60), (40, 60)), ((40, 60), (97, 131)), ((48, 32), (30, 21)), ((20, 64), (1, 40))]


def spec_of(outputs: dict[str, np.ndarray]) -> ModelSpec:
    def spec(name: str, dtype: str, shape: tuple[int, ...] = ()) -> TensorSpec:
        return TensorSpec(name=name, shape=shape, dtype=dtype)

    rule = Preprocess(min_size=0, max_size=0, channel_order="BGR", size_divisor=1, pixel_mean=(), pixel_std=())
    return ModelSpec(
        meta_architecture="X",
        inputs=(spec("images", "float32"), spec("image_sizes", "int64")),
        outputs=tuple(spec(name, str(array.dtype), array.shape) for name, array in outputs.items()),
        preprocess=rule,
        thresholds=None,
        num_classes=4,
        class_names=("cat", "dög", "ant", "bee"),
        sem_seg_names=("things", "sky", "wall", "sea") if "sem_seg" in outputs else (),
        panoptic=PANOPTIC if "mask_probs" in outputs and "sem_seg" in outputs else None,
        panoptic_deeplab=DEEPLAB if "center" in outputs else None,
        meshes=MESHES if "vertex_embeddings" in outputs else (),
    )


def given_outputs(outputs: dict[str, np.ndarray], spec: ModelSpec, frame: Frame) -> bytes:
    given = {
        "spec": dataclasses.asdict(spec),
        "input_size": frame.input_size,
        "image_size": frame.image_size,
        "outputs": {
            key: {"dtype": str(array.dtype), "shape": array.shape, "data": array.ravel().tolist()}
            for key, array in outputs.items()
        },
    }
    return json.dumps(given).encode()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_results(name, sizes, tool, check_same):
    input_size, image_size = sizes
    rows = 0
    for seed in range(3):
        outputs = NETWORKS[name](np.random.default_rng(seed), input_size)
        spec, frame = spec_of(outputs), Frame(input_size=input_size, image_size=image_size)
        ours = json.loads(check(tool, "result", given=given_outputs(outputs, spec, frame)))
        found = to_result(outputs, spec, frame)
        names = {"class_names": spec.class_names, "sem_seg_names": spec.sem_seg_names}
        rows += check_same([ours], [to_json(found, **names, file="image")])
    assert rows > 3 or name == "none"


FRAME = Frame(input_size=(48, 64), image_size=(150, 200))


BODIES = ["dense pose", "dense pose, meshes"]


def found_in(outputs: dict[str, np.ndarray]) -> tuple[bytes, Instances]:
    """Outputs for `check`, and what Python makes of them."""
    spec = spec_of(outputs)
    found = to_result(outputs, spec, FRAME)
    assert isinstance(found, Instances)
    return given_outputs(outputs, spec, FRAME), found


@pytest.mark.parametrize("name", BODIES)
def test_surfaces_before_they_are_cut_to_bytes(name, tool):
    given, found = found_in(NETWORKS[name](np.random.default_rng(4), FRAME.input_size))
    ours = json.loads(check(tool, "surfaces", given=given))
    assert found.pred_densepose is not None
    for row, surface in zip(ours, found.pred_densepose, strict=True):
        numbers = {key: np.array(value) for key, value in row.items() if isinstance(value, list)}
        assert (row["x"], row["y"], tuple(row["size"])) == (surface.x, surface.y, surface.surface.shape)
        labels = numbers["labels"].reshape(row["size"])
        if isinstance(surface, DensePoseVertices):
            assert row["mesh"] == surface.mesh
            assert (labels != surface.vertices).mean() < 1e-3
            continue
        is_same = labels == surface.labels
        assert is_same.mean() > 1 - 1e-3
        values = {"u": surface.uv[0], "v": surface.uv[1], **surface.confidences}
        assert numbers.keys() == values.keys() | {"size", "labels"}
        for name, theirs in values.items():
            np.testing.assert_allclose(numbers[name].reshape(row["size"])[is_same], theirs[is_same], rtol=0, atol=1e-5)


def drawings(tool: Any, outputs: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    """int [H,W,3]: C++'s, Python's."""
    given, found = found_in(outputs)
    drawn = check(tool, "draw", given=given)
    height, width = struct.unpack("<2i", drawn[:8])
    yield np.frombuffer(drawn[8:], np.uint8).reshape(height, width, 3)[:, :, ::-1].astype(int)
    grey = np.full((*FRAME.image_size, 3), 100, np.uint8)
    yield np.asarray(draw_instances(grey, found, min_score=0)).astype(int)


@pytest.mark.parametrize("name", BODIES)
def test_surfaces_are_drawn_as_in_python(name, tool):
    """Where they show in both: names have other letters, and so cover other places."""
    outputs = NETWORKS[name](np.random.default_rng(4), FRAME.input_size)
    bare = {key: outputs[key] for key in ("boxes", "scores", "classes", "image_index")}
    ours, theirs = drawings(tool, outputs)
    shown, theirs_shown = ((a != b).any(axis=2) for a, b in zip((ours, theirs), drawings(tool, bare), strict=True))
    both = shown & theirs_shown
    assert 0.05 < both.mean() and both.sum() > 0.7 * max(shown.sum(), theirs_shown.sum())
    assert np.abs(ours - theirs)[both].max() <= 1


# What is done to the outputs, and what is said.
BAD_BODIES = {
    "no body": ("coarse_segm", None, "gave no output coarse_segm"),
    "fewer bodies": ("coarse_segm", np.zeros((11, 2, 10, 10), np.float32), "gave the output coarse_segm [11"),
    "no u": ("u", None, "gave no output u"),
    "fewer parts": ("v", np.zeros((12, 4, 10, 10), np.float32), "gave the output v [12, 4"),
    "a confidence without cells": ("sigma_2", np.zeros((12, 5, 0, 10), np.float32), "gave the output sigma_2 [12"),
    "rotated": ("boxes", np.ones((12, 5), np.float32), "gave the output boxes [12, 5]"),
    "no vertices": ("vertex_embeddings", None, "meshes is out of range"),
    "more vertices": ("vertex_embeddings", np.zeros((341, 6), np.float32), "meshes is out of range"),
    "other embeddings": ("vertex_embeddings", np.zeros((340, 5), np.float32), "gave the output vertex_embeddings ["),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bodies_that_are_not_as_promised_are_refused(case, tool):
    name, array, message = BAD_BODIES[case]
    outputs = NETWORKS["dense pose, meshes" if name == "vertex_embeddings" else "dense pose"](
        np.random.default_rng(4), FRAME.input_size
    )
    changed = {key: value for key, value in (outputs | {name: array}).items() if value is not None}
    spec = dataclasses.replace(spec_of(changed), meshes=spec_of(outputs).meshes)
    ran = subprocess.run([tool("check"), "result"], input=given_outputs(changed, spec, FRAME), capture_output=True)
    assert ran.returncode == 2
    assert message in ran.stderr.decode()


def test_base64(tool):
    for count in (0, 1, 2, 3, 4, 256):
        given = np.random.default_rng(count).bytes(count)
        assert check(tool, "base64", given=given) == base64.b64encode(given)


def test_the_example_compiles(tool, compiler, tmp_path):
    """That of docs/cpp.md."""
    tool("check")
    repo = Path(__file__).parents[2]
    (example,) = re.findall(r"^```cpp\n(.*?)^```$", (repo / "docs/cpp.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "example.cpp").write_text(example)
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{repo / 'cpp/include'}"]
    ran = subprocess.run([*command, tmp_path / "example.cpp"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
