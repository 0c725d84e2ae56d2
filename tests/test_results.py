"""Instances and their written forms."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle

from d2deploy.results import Instances, encode_mask, to_coco, to_json

# pycocotools' decoder, not ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def instances(with_masks=True):
    masks = np.zeros((2, 6, 9), dtype=bool)
    masks[0, 1:4, 2:5] = True
    masks[1, 0, 0] = True
    return Instances(
        image_size=(6, 9),
        pred_boxes=np.array([[2, 1, 5, 4], [0, 0, 1.5, 1]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        pred_classes=np.array([1, 0]),
        pred_masks=masks if with_masks else None,
    )


def test_json_is_what_predict_promises():
    written = json.loads(json.dumps(to_json(instances(), class_names=("cat", "dog"), file="a/b.jpg")))
    first, second = written.pop("instances")
    assert written == {"file": "a/b.jpg", "height": 6, "width": 9}
    assert first.pop("mask")["size"] == [6, 9]
    assert first == {"box": [2.0, 1.0, 5.0, 4.0], "score": 0.75, "class_id": 1, "class_name": "dog"}
    assert second["class_name"] == "cat"


def test_without_names_a_class_is_its_number_and_without_masks_there_is_no_mask():
    rows = to_json(instances(with_masks=False), class_names=(), file="-")["instances"]
    assert [row["class_name"] for row in rows] == ["1", "0"]
    assert all("mask" not in row for row in rows)


def test_coco_records_have_dataset_ids_and_width_and_height():
    records = json.loads(json.dumps(to_coco(instances(), image_id=42, category_ids=[3, 90])))
    assert [r["category_id"] for r in records] == [90, 3]
    assert [r["bbox"] for r in records] == [[2, 1, 3, 3], [0, 0, 1.5, 1]]
    assert [(r["image_id"], r["score"]) for r in records] == [(42, 0.75), (42, 0.5)]
    np.testing.assert_array_equal(rle.decode(records[0]["segmentation"]), instances().pred_masks[0])
    assert "segmentation" not in to_coco(instances(with_masks=False), image_id=1, category_ids=[0, 1])[0]


def test_nothing_found_is_an_empty_list():
    nothing = instances()[np.zeros(2, dtype=bool)]
    assert len(nothing) == 0
    assert nothing.pred_masks.shape == (0, 6, 9)
    assert to_json(nothing, class_names=(), file="a")["instances"] == []
    assert to_coco(nothing, image_id=1, category_ids=[]) == []


def test_selecting_keeps_rows_together():
    second = instances()[np.array([1])]
    assert (second.scores.tolist(), second.pred_classes.tolist()) == ([0.5], [0])
    np.testing.assert_array_equal(second.pred_masks[0], instances().pred_masks[1])
    assert instances(with_masks=False)[:1].pred_masks is None


def test_instances_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        instances().scores = np.zeros(2)


# counts by hand: runs go down the columns, a zero run first; COCO's text of [6], [0, 6] and [2, 1, 3]
COUNTS = {
    "empty": (np.zeros((2, 3), bool), "6"),
    "full": (np.ones((2, 3), bool), "06"),
    "one": (np.array([[0, 1, 0], [0, 0, 0]], bool), "213"),
}


@pytest.mark.parametrize("case", COUNTS)
def test_run_lengths_are_cocos(case):
    mask, counts = COUNTS[case]
    assert encode_mask(mask) == {"size": [2, 3], "counts": counts}


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_come_back_whatever_the_memory_order(mask):
    np.testing.assert_array_equal(rle.decode(encode_mask(mask)), mask)
    np.testing.assert_array_equal(rle.decode(encode_mask(mask.T)), mask.T)


def test_detectron2s_own_run_lengths_are_ours(golden):
    records = json.loads((golden / "models/mask_rcnn/coco_instances_results.json").read_text())
    assert len(records) > 1000
    for record in records[::20]:
        assert encode_mask(rle.decode(record["segmentation"])) == record["segmentation"]
