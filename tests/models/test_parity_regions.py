"""Semantic and panoptic results against detectron2's own, for every golden config that has them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2deploy.postprocess import Frame, to_result
from d2deploy.results import Instances, PanopticResult, Segment, SemanticResult

FOLDER = Path(__file__).parents[1] / "golden" / "detectron2"
CASES = [
    (file.parent.relative_to(FOLDER).as_posix(), image)
    for file in sorted(FOLDER.rglob("golden.json"))
    for image in json.loads(file.read_text())["images"]
    if f"{image}/sem/argmax" in np.load(file.with_suffix(".npz")).files
]
PIXELS = 1e-3  # of the image
LOGITS = 2e-3  # of the largest; they are stored in half precision
SCORES = 2e-4


def test_goldens_are_there() -> None:
    assert len({name for name, _ in CASES}) == 8


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, load_golden: Any) -> Any:
    name, image = request.param
    golden = load_golden(name)
    keys = {key.removeprefix(f"{image}/"): key for key in golden.arrays.files if key.startswith(f"{image}/")}
    return golden, image, {short: golden.arrays[key] for short, key in keys.items()}


@torch.inference_mode()
def test_every_pixel(case: Any) -> None:
    golden, image, expected = case
    images, sizes = golden.inputs(image)
    tensors = golden.core(images, sizes)
    outputs = {name: tensor.numpy() for name, tensor in zip(golden.outputs, tensors, strict=True)}
    check_logits(outputs["sem_seg"][0], sizes[0].tolist(), expected)
    info = golden.facts["images"][image]
    frame = Frame(input_size=tuple(sizes[0].tolist()), image_size=(info["height"], info["width"]))
    found = to_result(outputs, golden.spec, frame)
    assert isinstance(found, SemanticResult | PanopticResult)
    check_labels(found if isinstance(found, SemanticResult) else found.sem_seg, expected)
    if golden.spec.panoptic is not None:
        assert isinstance(found, PanopticResult)
        check_panoptic(found, expected["pan/seg"], golden.facts["meta"][f"{image}/pan/segments_info"])


def check_logits(logits: np.ndarray, input_size: list[int], expected: dict[str, np.ndarray]) -> None:
    """The network's own, where the golden has them: every 16th pixel of the padded input."""
    if "sem/raw_logits" not in expected:
        return
    assert list(logits.shape) == expected["sem/raw_shape"].tolist()
    stats = np.array([logits.mean(), logits.std(), np.abs(logits).max()])
    assert np.abs(stats - expected["sem/raw_stats"]).max() <= LOGITS * stats[2]
    rows, columns = (-(-edge // 16) for edge in logits.shape[1:])
    stored = expected["sem/raw_logits"]
    assert stored.shape[1:] == (rows, columns)
    assert np.abs(logits[:, ::16, ::16] - stored).max() <= LOGITS * stats[2]


def check_labels(found: SemanticResult, expected: dict[str, np.ndarray]) -> None:
    assert found.labels.shape == expected["sem/argmax"].shape
    assert (found.labels != expected["sem/argmax"]).mean() <= PIXELS
    stored = expected["sem/logits"]
    step = -(-found.image_size[0] // stored.shape[1])
    assert np.abs(found.sem_seg[:, ::step, ::step] - stored).max() <= LOGITS * np.abs(stored).max()


def check_panoptic(found: PanopticResult, picture: np.ndarray, segments: list[dict[str, Any]]) -> None:
    """The same segments in the same order: no two scores of the goldens are as near as ours are to theirs."""
    assert len(segments) >= 9
    assert (found.panoptic_seg != picture).mean() <= PIXELS
    assert [kind(segment) for segment in found.segments] == [
        (segment["id"], segment["isthing"], segment["category_id"]) for segment in segments
    ]
    assert isinstance(found.instances, Instances)
    for ours, theirs in zip(found.segments, segments, strict=True):
        if ours.is_thing:
            assert ours.score is not None and abs(ours.score - theirs["score"]) <= SCORES
            assert ours.instance_id == theirs["instance_id"]
            assert found.instances.pred_classes[ours.instance_id] == ours.category_id
        else:
            assert ours.area is not None and abs(ours.area - theirs["area"]) <= PIXELS * picture.size


def kind(segment: Segment) -> tuple[int, bool, int]:
    return segment.id, segment.is_thing, segment.category_id
