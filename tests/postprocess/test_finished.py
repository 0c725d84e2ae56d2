"""Results from a graph that holds the post-processing itself: each image its own part."""

from typing import Any

import numpy as np
import pytest

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec
from d2deploy.postprocess import Frame, to_result
from d2deploy.results import Instances, PanopticResult, Proposals, SemanticResult

SIZES = ((6, 10), (8, 4))
INDEX = np.array([0, 1, 1])
BOXES: dict[str, np.ndarray] = {
    "boxes": np.arange(12, dtype=np.float32).reshape(3, 4),
    "scores": np.array([0.9, 0.8, 0.7], np.float32),
    "classes": np.array([0, 1, 0]),
    "image_index": INDEX,
}
MASKS: dict[str, np.ndarray] = {"masks": np.arange(3 * 8 * 10).reshape(3, 8, 10) % 3 == 0}
KEYPOINTS: dict[str, np.ndarray] = {"keypoints": np.arange(27, dtype=np.float32).reshape(3, 3, 3)}
PIXELS: dict[str, np.ndarray] = {
    "sem_seg": np.random.default_rng(0).normal(size=(2, 3, 8, 10)).astype(np.float32),
    "labels": np.arange(160).reshape(2, 8, 10) % 3,
}
PICTURE: dict[str, np.ndarray] = {
    "panoptic_seg": np.arange(160, dtype=np.int32).reshape(2, 8, 10) % 4,
    # image, id, is it a thing, category, row, pixels
    "segments": np.array([[0, 1, 1, 0, 0, 9], [1, 1, 1, 0, 2, 9], [0, 2, 0, 2, -1, 30]]),
}
PROPOSALS: dict[str, np.ndarray] = {
    "proposal_boxes": BOXES["boxes"],
    "objectness_logits": BOXES["scores"],
    "image_index": INDEX,
}


def spec(outputs: dict[str, np.ndarray], *, includes_postprocess: bool = True) -> ModelSpec:
    return ModelSpec(
        meta_architecture="X",
        inputs=(),
        outputs=tuple(TensorSpec(name=name, shape=(), dtype="float32") for name in outputs),
        preprocess=Preprocess(
            min_size=0, max_size=0, channel_order="BGR", size_divisor=1, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
        ),
        thresholds=None,
        num_classes=2,
        class_names=(),
        includes_postprocess=includes_postprocess,
    )


def found(outputs: dict[str, np.ndarray], index: int) -> Any:
    # The size of the network's input does not matter any more.
    return to_result(outputs, spec(outputs), Frame(input_size=(1, 1), image_size=SIZES[index], index=index))


@pytest.mark.parametrize("index", [0, 1])
def test_detections(index: int) -> None:
    result = found(BOXES | MASKS | KEYPOINTS, index)
    assert isinstance(result, Instances) and result.image_size == SIZES[index]
    rows, (height, width) = np.equal(INDEX, index), SIZES[index]
    np.testing.assert_array_equal(result.pred_boxes, BOXES["boxes"][rows])
    np.testing.assert_array_equal(result.scores, BOXES["scores"][rows])
    np.testing.assert_array_equal(result.pred_classes, BOXES["classes"][rows])
    np.testing.assert_array_equal(result.pred_masks, MASKS["masks"][rows, :height, :width])
    np.testing.assert_array_equal(result.pred_keypoints, KEYPOINTS["keypoints"][rows])
    alone = found(BOXES, index)
    assert alone.pred_masks is None and alone.pred_keypoints is None


@pytest.mark.parametrize("index", [0, 1])
def test_classes_of_pixels(index: int) -> None:
    result = found(PIXELS, index)
    assert isinstance(result, SemanticResult)
    height, width = SIZES[index]
    np.testing.assert_array_equal(result.labels, PIXELS["labels"][index, :height, :width])
    np.testing.assert_array_equal(result.sem_seg, PIXELS["sem_seg"][index, :, :height, :width])


def test_panoptic() -> None:
    first, second = (found(BOXES | MASKS | PIXELS | PICTURE, index) for index in (0, 1))
    assert isinstance(first, PanopticResult) and first.instances is not None
    np.testing.assert_array_equal(second.panoptic_seg, PICTURE["panoptic_seg"][1, :8, :4])
    thing, stuff = first.segments
    assert (thing.id, thing.is_thing, thing.category_id, thing.instance_id, thing.area) == (1, True, 0, 0, None)
    assert thing.score == pytest.approx(0.9)
    assert (stuff.id, stuff.is_thing, stuff.category_id, stuff.instance_id, stuff.area) == (2, False, 2, None, 30)
    (other,) = second.segments
    # The row counts all images' detections, the number in the result its own.
    assert other.instance_id == 1 and second.instances.scores[1] == pytest.approx(other.score)


def test_proposals() -> None:
    result = found(PROPOSALS, 1)
    assert isinstance(result, Proposals) and len(result) == 2
    np.testing.assert_array_equal(result.proposal_boxes, PROPOSALS["proposal_boxes"][1:])


def test_the_same_outputs_of_a_network_are_scaled() -> None:
    frame = Frame(input_size=(3, 5), image_size=SIZES[0])
    scaled = to_result(BOXES, spec(BOXES, includes_postprocess=False), frame)
    assert isinstance(scaled, Instances)
    np.testing.assert_array_equal(scaled.pred_boxes, [[0, 2, 4, 6]])
