"""What the C++ clients make of a network's outputs, against Python: by cpp/tests/check.cpp, on made-up outputs."""

import dataclasses
import json
import struct
import subprocess
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from d2deploy.artifact import MeshSpec, ModelSpec, PanopticDeepLabRule, PanopticRule, Preprocess, TensorSpec
from d2deploy.draw import draw_instances
from d2deploy.postprocess import Frame, to_result
from d2deploy.results import DensePoseVertices, Instances, to_json

Check = Callable[..., bytes]
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
def test_results(name, sizes, check, check_same):
    input_size, image_size = sizes
    rows = 0
    for seed in range(3):
        outputs = NETWORKS[name](np.random.default_rng(seed), input_size)
        spec, frame = spec_of(outputs), Frame(input_size=input_size, image_size=image_size)
        ours = json.loads(check("result", given=given_outputs(outputs, spec, frame)))
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
def test_surfaces_before_they_are_cut_to_bytes(name, check):
    given, found = found_in(NETWORKS[name](np.random.default_rng(4), FRAME.input_size))
    ours = json.loads(check("surfaces", given=given))
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


def drawings(check: Check, outputs: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    """int [H,W,3]: C++'s, Python's."""
    given, found = found_in(outputs)
    drawn = check("draw", given=given)
    height, width = struct.unpack("<2i", drawn[:8])
    yield np.frombuffer(drawn[8:], np.uint8).reshape(height, width, 3)[:, :, ::-1].astype(int)
    grey = np.full((*FRAME.image_size, 3), 100, np.uint8)
    yield np.asarray(draw_instances(grey, found, min_score=0)).astype(int)


@pytest.mark.parametrize("name", BODIES)
def test_surfaces_are_drawn_as_in_python(name, check):
    """Where they show in both: names have other letters, and so cover other places."""
    outputs = NETWORKS[name](np.random.default_rng(4), FRAME.input_size)
    bare = {key: outputs[key] for key in ("boxes", "scores", "classes", "image_index")}
    ours, theirs = drawings(check, outputs)
    shown, theirs_shown = ((a != b).any(axis=2) for a, b in zip((ours, theirs), drawings(check, bare), strict=True))
    both = shown & theirs_shown
    assert both.mean() > 0.05 and both.sum() > 0.7 * max(shown.sum(), theirs_shown.sum())
    assert np.abs(ours - theirs)[both].max() <= 1


@pytest.mark.parametrize("name", BODIES)
def test_the_padded_form_gives_the_same_surfaces(name, check):
    outputs = NETWORKS[name](np.random.default_rng(5), FRAME.input_size)
    padded = {"num_detections": np.array([len(outputs["boxes"])])}
    for key, array in outputs.items():
        rows = np.concatenate([array, np.ones_like(array[:3])])[None]
        padded |= {} if key == "image_index" else {key: array if key == "vertex_embeddings" else rows}
    given = [given_outputs(form, spec_of(form), FRAME) for form in (outputs, padded)]
    ragged, ours = (check("result", given=each) for each in given)
    assert ours == ragged and ours.count(b"densepose") > 3


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
