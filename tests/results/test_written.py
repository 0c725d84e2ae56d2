"""Results of every kind as JSON and as COCO records."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from d2deploy.results import (
    DensePoseChart,
    DensePoseVertices,
    Instances,
    PanopticResult,
    Proposals,
    Segment,
    SemanticResult,
    corners,
    encode_dense_pose,
    to_coco,
    to_json,
)

# pycocotools' decoder, not ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

LABELS = np.array([[0, 0, 2], [0, 2, 2]])
PICTURE = np.array([[1, 1, 2], [0, 2, 2]], np.int32)


def semantic():
    logits = np.stack([np.equal(LABELS, channel).astype(np.float32) for channel in range(3)])
    return SemanticResult(image_size=(2, 3), logits=logits)


def instances():
    return Instances(
        image_size=(2, 3),
        pred_boxes=np.array([[0, 0, 2, 1]], np.float32),
        scores=np.array([0.75], np.float32),
        pred_classes=np.array([1]),
        pred_masks=(PICTURE == 1)[None],
    )


def panoptic(found):
    segments = (
        Segment(id=1, is_thing=True, category_id=1, score=0.75, instance_id=0),
        Segment(id=2, is_thing=False, category_id=2, area=3),
    )
    return PanopticResult(
        image_size=(2, 3), panoptic_seg=PICTURE, segments=segments, sem_seg=semantic(), instances=found
    )


def proposals():
    boxes, logits = np.array([[0, 0, 2, 1], [1, 0, 3, 2]], np.float32), np.array([2.5, -1], np.float32)
    return Proposals(image_size=(2, 3), proposal_boxes=boxes, objectness_logits=logits)


def written(result):
    text = json.dumps(to_json(result, class_names=("cat", "dog"), sem_seg_names=("things", "sky", "sea"), file="a.jpg"))
    content = json.loads(text)
    assert (content.pop("file"), content.pop("height"), content.pop("width")) == ("a.jpg", 2, 3)
    return content


def without_masks(rows, key="mask"):
    return [rle.decode(row.pop(key)).astype(bool).tolist() for row in rows]


def test_a_semantic_result_lists_the_classes_that_were_seen():
    (rows,) = written(semantic()).values()
    assert without_masks(rows) == [(LABELS == 0).tolist(), (LABELS == 2).tolist()]
    assert rows == [
        {"class_id": 0, "class_name": "things", "area": 3},
        {"class_id": 2, "class_name": "sea", "area": 3},
    ]


def test_a_panoptic_result_has_its_segments_and_its_instances():
    content = written(panoptic(instances()))
    assert content.keys() == {"instances", "segments_info"}
    assert content["instances"][0]["class_name"] == "dog"
    rows = content["segments_info"]
    assert without_masks(rows) == [(PICTURE == 1).tolist(), (PICTURE == 2).tolist()]
    thing = {"id": 1, "isthing": True, "class_id": 1, "class_name": "dog", "score": 0.75, "instance_id": 0, "area": 2}
    assert rows == [thing, {"id": 2, "isthing": False, "class_id": 2, "class_name": "sea", "area": 3}]
    assert written(panoptic(None)).keys() == {"segments_info"}


def test_proposals_have_boxes_and_logits():
    assert written(proposals()) == {
        "proposals": [
            {"box": [0, 0, 2, 1], "objectness_logit": 2.5},
            {"box": [1, 0, 3, 2], "objectness_logit": -1},
        ]
    }


def test_without_names_a_class_is_its_number():
    content = to_json(panoptic(None), class_names=(), file="-")
    assert [row["class_name"] for row in content["segments_info"]] == ["1", "2"]


def test_coco_records_of_every_kind():
    semantic_rows = to_coco(semantic(), image_id=7, category_ids=[10, 11, 12])
    assert without_masks(semantic_rows, "segmentation") == [(LABELS == 0).tolist(), (LABELS == 2).tolist()]
    assert semantic_rows == [{"image_id": 7, "category_id": 10}, {"image_id": 7, "category_id": 12}]
    of_instances = to_coco(instances(), image_id=7, category_ids=[10, 11])
    assert to_coco(panoptic(instances()), image_id=7, category_ids=[10, 11]) == of_instances
    assert to_coco(panoptic(None), image_id=7, category_ids=[]) == []
    assert to_coco(proposals(), image_id=7, category_ids=range(5)) == [
        {"image_id": 7, "category_id": 0, "bbox": [0, 0, 2, 1], "score": 2.5},
        {"image_id": 7, "category_id": 0, "bbox": [1, 0, 2, 2], "score": -1},
    ]


def test_rotated_boxes_are_five_numbers_everywhere():
    box = [1.5, 1.0, 2.0, 1.0, -30.0]
    found = Instances(
        image_size=(2, 3),
        pred_boxes=np.array([box], np.float32),
        scores=np.array([0.5], np.float32),
        pred_classes=np.array([0]),
    )
    assert written(found)["instances"][0]["box"] == box
    assert to_coco(found, image_id=1, category_ids=[3])[0]["bbox"] == box


# center x y, width, height, degrees -> corners, clockwise to the eye from the unturned box's left top
CORNERS = {
    "upright": ([5, 5, 4, 2, 0], [[3, 4], [7, 4], [7, 6], [3, 6]]),
    "a quarter counter-clockwise": ([5, 5, 4, 2, 90], [[4, 7], [4, 3], [6, 3], [6, 7]]),
    "half": ([5, 5, 4, 2, 180], [[7, 6], [3, 6], [3, 4], [7, 4]]),
    "clockwise": ([5, 5, 4, 2, -90], [[6, 3], [6, 7], [4, 7], [4, 3]]),
    "once around": ([5, 5, 4, 2, 360], [[3, 4], [7, 4], [7, 6], [3, 6]]),
}


@pytest.mark.parametrize("case", CORNERS)
def test_corners(case):
    box, expected = CORNERS[case]
    np.testing.assert_allclose(corners(np.array([box], np.float32))[0], expected, atol=1e-9)


def pixels_of(png):
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        return np.asarray(picture)


def test_parts_of_a_surface_as_detectron2_writes_them():
    labels = np.array([[0, 24, 3]], np.uint8)
    uv = np.array([[[0, 0.5, 1.2]], [[0, -0.1, 0.999]]], np.float32)
    found = dataclasses.replace(instances(), pred_densepose=(DensePoseChart(x=4, y=2, labels=labels, uv=uv),))
    (row,) = json.loads(json.dumps(to_json(found, class_names=(), file="f")))["instances"]
    assert row["densepose"].keys() == {"x", "y", "labels_uv"} and (row["densepose"]["x"], row["densepose"]["y"]) == (
        4,
        2,
    )
    assert pixels_of(row["densepose"]["labels_uv"]).tolist() == [[[0, 0, 0], [24, 127, 0], [3, 255, 254]]]


def test_vertices_of_a_mesh_have_three_digits():
    vertices = np.array([[-1, 0], [27553, 70000]], np.int32)
    written = encode_dense_pose(DensePoseVertices(x=1, y=0, vertices=vertices, mesh="smpl_27554"))
    digits = pixels_of(written.pop("vertices")).astype(int)
    assert written == {"x": 1, "y": 0, "mesh": "smpl_27554"}
    assert (digits @ [65536, 256, 1] - 1 == vertices).all()
