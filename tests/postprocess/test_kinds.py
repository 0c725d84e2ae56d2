"""Which result a network's outputs make, and that each result is of the right image."""

import numpy as np
import pytest

from d2deploy.artifact import ModelSpec, PanopticRule, Preprocess, TensorSpec
from d2deploy.postprocess import KINDS, Frame, find_kind, to_result
from d2deploy.results import Instances, PanopticResult, Proposals, SemanticResult

BOXES = {
    "boxes": np.array([[0, 0, 4, 4], [0, 0, 8, 6]], np.float32),
    "scores": np.array([0.9, 0.8], np.float32),
    "classes": np.array([0, 1]),
    "image_index": np.array([0, 1]),
}
MASKS = {"mask_probs": np.ones((2, 28, 28), np.float32)}
PIXELS = {"sem_seg": np.stack([np.eye(3, dtype=np.float32)[i][:, None, None] * np.ones((8, 12)) for i in (1, 2)])}
PROPOSALS = {
    "proposal_boxes": BOXES["boxes"],
    "objectness_logits": np.array([2, -3], np.float32),
    "image_index": BOXES["image_index"],
}
RULE = PanopticRule(overlap=0.5, stuff_area=1, instance_score=0.5)
# outputs, panoptic rule -> the result's type
CASES = {
    "detector": (BOXES, None, Instances),
    "with masks": (BOXES | MASKS, None, Instances),
    "panoptic": (BOXES | MASKS | PIXELS, RULE, PanopticResult),
    "panoptic, but nobody knows how": (BOXES | MASKS | PIXELS, None, Instances),
    "semantic": (PIXELS, None, SemanticResult),
    "proposals": (PROPOSALS, None, Proposals),
    "unknown outputs beside": (PIXELS | {"depth": np.zeros(1)}, None, SemanticResult),
}


def spec(names, rule=None):
    return ModelSpec(
        meta_architecture="X",
        inputs=(),
        outputs=tuple(TensorSpec(name=name, shape=(), dtype="float32") for name in names),
        preprocess=Preprocess(
            min_size=0, max_size=0, channel_order="BGR", size_divisor=1, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
        ),
        thresholds=None,
        num_classes=2,
        class_names=(),
        panoptic=rule,
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("index", [0, 1])
def test_each_network_has_its_result(case, index):
    outputs, rule, kind = CASES[case]
    frame = Frame(input_size=(6, 10), image_size=(12, 30), index=index)
    found = to_result(outputs, spec(outputs, rule), frame)
    assert type(found) is kind
    assert found.image_size == (12, 30)
    boxes = {Instances: "pred_boxes", Proposals: "proposal_boxes"}.get(kind)
    if boxes:
        assert getattr(found, boxes).tolist() == [[[0, 0, 12, 8]], [[0, 0, 24, 12]]][index]
    if kind is SemanticResult:
        assert found.logits.shape == (3, 6, 10)  # without padding
        assert (found.labels == index + 1).all()
    if kind is PanopticResult:
        assert [(s.is_thing, s.category_id) for s in found.segments] == [(True, index), (False, index + 1)]


def test_what_makes_no_result():
    assert find_kind(spec(["center", "offset"])) is None
    with pytest.raises(ValueError, match="no result can be made of center"):
        to_result({"center": np.zeros(1)}, spec(["center"]), Frame(input_size=(1, 1), image_size=(1, 1)))


def test_no_kind_hides_another():
    """What needs more must stand above what needs less."""
    for i, kind in enumerate(KINDS):
        assert not any(set(above.outputs) <= set(kind.outputs) and not above.rule for above in KINDS[:i])
