"""What every format must give: the network's own outputs at sizes never seen at export, and detectron2's results."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2deploy import load_model
from d2deploy.artifact import Artifact
from d2deploy.backends import FORMATS
from d2deploy.image import read_image, resize_shortest_edge, to_batch
from d2deploy.models.build import Model
from d2deploy.predictor import Predictor
from d2deploy.results import Instances, to_coco
from d2deploy.runner import Source, open_runner
from d2deploy.workflows.evaluate import evaluate
from d2deploy.workflows.export import export
from d2deploy.workflows.matching import match

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
MODELS = Path(__file__).parents[1] / "golden" / "models"
PICTURES = sorted((SHAPES / "val").glob("*.jpg"))

KINDS = [f"{row.name}-{method}" for row in FORMATS.values() if not row.is_apart for method in row.methods]

# name -> (number of images, shorter edge, longer edge at most); the capture's sample is 2 images of 128 x 192.
SIZES = {
    "one": (1, 192, 320),
    "three": (3, 192, 320),
    "small": (1, 70, 100),
    "larger than any seen": (1, 700, 1200),
    "three large": (3, 333, 500),
}


def raw(runner, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip((spec.name for spec in runner.outputs), runner(images, sizes), strict=True))


def same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], images: int) -> int:
    """Checks that two raw outputs hold the same detections, image by image; how many."""
    assert ours.keys() == theirs.keys()
    assert all(ours[name].dtype == theirs[name].dtype for name in ours)
    for image in range(images):
        (a, rows_a), (b, rows_b) = (of_image(outputs, image) for outputs in (ours, theirs))
        pairs = match(a, b).pairs
        assert len(pairs) == len(a) == len(b)
        left, right = rows_a[pairs[:, 0]], rows_b[pairs[:, 1]]
        for name, tolerance in (("boxes", 0.05), ("scores", 2e-4), ("mask_probs", 1e-3)):
            assert np.abs(ours[name][left] - theirs[name][right]).max(initial=0) <= tolerance
    return len(ours["boxes"])


def of_image(outputs: dict[str, np.ndarray], image: int) -> tuple[Instances, np.ndarray]:
    rows = np.flatnonzero(outputs["image_index"] == image)
    scores = outputs["scores"][rows]
    assert (np.diff(scores) <= 0).all(), "scores fall within an image"
    found = Instances(
        image_size=(1, 1),
        pred_boxes=outputs["boxes"][rows],
        scores=scores,
        pred_classes=outputs["classes"][rows],
    )
    return found, rows


@pytest.mark.parametrize("name", SIZES)
def test_sizes_never_seen(name: str, artifact: Artifact, model: Model) -> None:
    count, shorter, longer = SIZES[name]
    for first in (0, 40):  # portrait and landscape lie mixed
        files = PICTURES[first : first + count]
        pictures = [resize_shortest_edge(read_image(file), min_size=shorter, max_size=longer) for file in files]
        images, sizes = to_batch(pictures, channel_order="BGR", size_divisor=1)
        exported, eager = open_runner(artifact), open_runner(model)
        assert same(raw(exported, images, sizes), raw(eager, images, sizes), count) > 0


@pytest.mark.parametrize(
    "shape", [(1, 3, 64, 1), (1, 3, 1, 64), (1, 3, 1, 1), (3, 3, 100, 37)], ids=lambda shape: "x".join(map(str, shape))
)
def test_no_detection(shape: tuple[int, ...], artifact: Artifact, model: Model) -> None:
    images = np.full(shape, 110, np.float32)
    sizes = np.full((shape[0], 2), shape[2:], np.int64)
    outputs = raw(open_runner(artifact), images, sizes)
    assert same(outputs, raw(open_runner(model), images, sizes), shape[0]) == 0
    assert outputs["mask_probs"].shape == (0, 28, 28)


def test_padding_is_ignored(artifact: Artifact) -> None:
    """Whatever lies beyond an image's size is not looked at, and a larger canvas changes little."""
    picture = resize_shortest_edge(read_image(PICTURES[0]), min_size=192, max_size=320)
    images, sizes = to_batch([picture], channel_order="BGR", size_divisor=32)
    dirty = images.copy()
    dirty[:, :, sizes[0, 0] :] = 255
    dirty[:, :, :, sizes[0, 1] :] = 255
    runner = open_runner(artifact)
    assert same(raw(runner, images, sizes), raw(runner, dirty, sizes), 1) > 0


INSTANCES = {"coco_json": "annotations/instances_val.json"}
TRAINED = {
    "mask_rcnn": INSTANCES,
    "retinanet": INSTANCES,
    "keypoint_rcnn": {"coco_json": "annotations/keypoints_val.json"},
    "panoptic_fpn": {
        **INSTANCES,
        "sem_seg_root": "sem_seg_val",
        "panoptic_json": "annotations/panoptic_val.json",
        "panoptic_root": "panoptic_val",
    },
}
SOURCES = [("mask_rcnn", kind) for kind in ("eager", *KINDS)] + [
    (name, kind)
    for name in ("retinanet", "keypoint_rcnn", "panoptic_fpn")
    for kind in ("eager", "torchscript-scripting")
]


@pytest.fixture(params=SOURCES, ids="-".join)
def trained(request: pytest.FixtureRequest, model: Model, exported: Any, tmp_path: Path) -> tuple[str, Source]:
    """A model that the real detectron2 trained: its name, and the network or an export."""
    name, kind = request.param
    if name == "mask_rcnn":
        return name, model if kind == "eager" else exported(kind)
    network = load_model(MODELS / name / "config.yaml", MODELS / name / "model_final.pth")
    if kind == "eager":
        return name, network
    format, method = kind.split("-")
    return name, export(network, format, tmp_path / kind, method=method, verify=False)


def test_detectron2_s_results(trained: tuple[str, Source]) -> None:
    """The 100 validation images: detectron2's AP, mIoU and PQ to 0.05, and its detections.

    At most one image may differ, and only where float32 cannot decide: noise of a thousandth of a grey level must
    bring detectron2's result back. On the machine of docs/parity.md that image is 000083: two proposals overlap by
    0.70000023, and the RPN cuts at 0.7.
    """
    name, source = trained
    data: dict[str, Any] = {argument: SHAPES / path for argument, path in TRAINED[name].items()}
    evaluation = evaluate(source, image_root=SHAPES / "val", **data)
    metrics = json.loads((MODELS / name / "metrics.json").read_text())["results"]
    assert set(metrics) == set(evaluation.metrics.scores)
    for task in metrics:
        for key, value in metrics[task].items():
            if "Boundary" in key or "B-Iou" in key:  # metrics/sem_seg.py says why there are none
                continue
            ours = evaluation.metrics[task][key]
            assert (np.isnan(value) and np.isnan(ours)) or abs(ours - value) <= 0.05, (task, key, ours, value)
    theirs = by_image(json.loads((MODELS / name / "coco_instances_results.json").read_text()))
    found = by_image(evaluation.results)
    assert len(theirs) >= 80
    differing = [image for image, records in theirs.items() if not is_same(found[image], records)]
    assert len(differing) <= 1
    with Predictor(source) as predictor:
        for image in differing:
            noisy = (with_noise(predictor, image, seed, data["coco_json"]) for seed in range(8))
            assert any(is_same(records, theirs[image]) for records in noisy), image


def by_image(records: list[dict]) -> dict[int, list[dict]]:
    images: dict[int, list[dict]] = {}
    for record in records:
        images.setdefault(record["image_id"], []).append(record)
    return images


def with_noise(predictor: Predictor, image: int, seed: int, annotations: Path) -> list[dict]:
    categories = json.loads(annotations.read_text())["categories"]
    (instances,) = predictor.batch([SHAPES / "val" / f"{image:06d}.jpg"], noise=1e-3, seed=seed)
    return to_coco(instances, image_id=image, category_ids=sorted(category["id"] for category in categories))


def as_instances(records: list[dict]) -> Instances:
    boxes = np.array([record["bbox"] for record in records], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Instances(
        image_size=(1, 1),
        pred_boxes=boxes,
        scores=np.array([record["score"] for record in records], np.float32),
        pred_classes=np.array([record["category_id"] for record in records], np.int64),
        pred_keypoints=np.array([record.get("keypoints", []) for record in records], np.float32).reshape(
            len(boxes), -1, 3
        ),
    )


def is_same(ours: list[dict], theirs: list[dict]) -> bool:
    a, b = as_instances(ours), as_instances(theirs)
    matching = match(a, b)
    left, right = matching.pairs.T
    alone = [*a.scores[matching.only_a], *b.scores[matching.only_b]]
    assert a.pred_keypoints is not None and b.pred_keypoints is not None
    return bool(
        np.abs(a.pred_boxes[left] - b.pred_boxes[right]).max() <= 0.05
        and np.abs(a.pred_keypoints[left] - b.pred_keypoints[right]).max(initial=0) <= 0.1
        and np.abs(a.scores[left] - b.scores[right]).max() <= 2e-4
        and all(score <= 0.05 + 2e-4 for score in alone)
    )
