"""Panoptic-DeepLab's centres, picture and instances against detectron2's own (sem_seg: test_parity_regions.py)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2deploy.postprocess import Frame, to_result
from d2deploy.results import PanopticResult

FOLDER = Path(__file__).parents[1] / "golden" / "detectron2" / "projects" / "Panoptic-DeepLab"
CASES = [
    (file.parent.relative_to(FOLDER.parents[1]).as_posix(), image)
    for file in sorted(FOLDER.rglob("golden.json"))
    for image in json.loads(file.read_text())["images"]
]
MAPS = 1e-3  # of the largest value
PIXELS, SCORES = 1e-3, 2e-4
VOID = -1


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, load_golden: Any) -> Any:
    """The network's outputs, its result, and what the golden holds."""
    name, image = request.param
    golden = load_golden(name)
    with torch.inference_mode():
        images, sizes = golden.inputs(image)
        tensors = golden.core(images, sizes)
    outputs = {name: tensor.numpy() for name, tensor in zip(golden.outputs, tensors, strict=True)}
    info = golden.facts["images"][image]
    frame = Frame(input_size=tuple(sizes[0].tolist()), image_size=(info["height"], info["width"]))
    expected = {key.removeprefix(f"{image}/"): golden.arrays[key] for key in golden.arrays.files}
    return outputs, to_result(outputs, golden.spec, frame), expected


def test_goldens_are_there() -> None:
    assert len(CASES) == 3


@pytest.mark.parametrize(("output", "stored"), [("center", "sem/raw1"), ("offset", "sem/raw2")])
def test_centres_and_offsets(case: Any, output: str, stored: str) -> None:
    outputs, _, expected = case
    ours, theirs = outputs[output][0], expected[stored]
    step = -(-ours.shape[1] // theirs.shape[1])
    assert ours[:, ::step, ::step].shape == theirs.shape
    assert np.abs(ours[:, ::step, ::step] - theirs).max() <= MAPS * np.abs(theirs).max()
    stats = np.array([ours.mean(), ours.std(), np.abs(ours).max()])
    assert np.abs(stats - expected[f"{stored}_stats"]).max() <= MAPS * stats[2]


def test_every_pixel(case: Any) -> None:
    """The same ids, so the same things in the same order: one centre more or less would rename those after it."""
    _, found, expected = case
    assert isinstance(found, PanopticResult)
    picture = expected["pan/seg"]
    assert (found.panoptic_seg != picture).mean() <= PIXELS
    assert sorted(segment.id for segment in found.segments) == sorted(set(np.unique(picture).tolist()) - {VOID})
    for segment in found.segments:
        assert segment.category_id == segment.id // 1000
        assert segment.is_thing == (segment.id % 1000 > 0)
        if not segment.is_thing:
            assert segment.area == np.count_nonzero(found.panoptic_seg == segment.id)


def test_instances(case: Any) -> None:
    """As detectron2 lists them, by id. A pixel more can move the middle, where the heat map is read, by one pixel: then
    the score is another, so scores are compared where the pixels are the same."""
    _, found, expected = case
    assert found.instances is not None
    ids = [segment.id for segment in found.segments if segment.is_thing]
    assert [segment.instance_id for segment in found.segments if segment.is_thing] == list(range(len(ids)))
    assert (np.diff(found.instances.scores) <= 0).all()
    by_id = found.instances[np.argsort(ids)]
    assert by_id.pred_classes.tolist() == expected["det/classes"].tolist()
    assert np.abs(by_id.pred_boxes - expected["det/boxes"]).max() <= 1
    theirs = expected["pan/seg"] == np.sort(ids)[:, None, None]
    assert theirs.sum(axis=(1, 2)).tolist() == expected["det/masks_area"].tolist()
    same = (by_id.pred_masks == theirs).all(axis=(1, 2))
    assert same.mean() > 0.9
    assert np.abs(by_id.scores - expected["det/scores"])[same].max() <= SCORES
