"""COCO AP: detectron2's own evaluation of its own results, and cases known by hand."""

import copy
import json
import math

import pytest

from d2deploy.errors import DatasetError
from d2deploy.metrics.coco import evaluate_coco, has_masks, read_coco

SQUARE = [[10, 10, 50, 10, 50, 50, 10, 50]]
DATASET = {
    "images": [{"id": 7, "file_name": "a.jpg", "height": 100, "width": 100}],
    "categories": [{"id": 4, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 4, "bbox": [10, 10, 40, 40], "area": 1600, "segmentation": SQUARE},
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [60, 60, 20, 20], "area": 400, "segmentation": SQUARE},
    ],
}
RESULTS = [{"image_id": 7, "category_id": 4, "bbox": [10, 10, 40, 40], "score": 0.9}]


def written(path, **changes):
    path.write_text(json.dumps({**copy.deepcopy(DATASET), **changes}))
    return path


@pytest.fixture(scope="module")
def detectron2s(golden):
    """Results, annotations and metrics of detectron2 on the shapes data set."""
    folder = golden / "models/mask_rcnn"
    results = json.loads((folder / "coco_instances_results.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())["results"]
    return results, golden / "shapes/annotations/instances_val.json", metrics


def test_detectron2s_results_get_detectron2s_numbers(detectron2s):
    results, annotations, expected = detectron2s
    before = copy.deepcopy(results)
    found = evaluate_coco(results, annotations)
    assert {k: list(v) for k, v in found.scores.items()} == {k: list(v) for k, v in expected.items()}
    for iou_type, scores in expected.items():
        assert sum(map(math.isfinite, scores.values())) >= 13
        for key, value in scores.items():
            assert found[iou_type][key] == pytest.approx(value, abs=1e-6, nan_ok=True), (iou_type, key)
    assert results == before  # pycocotools writes into what it is given


def test_annotations_can_be_used_again(detectron2s):
    results, annotations, expected = detectron2s
    coco = read_coco(annotations)
    for _ in range(2):
        assert evaluate_coco(results, coco)["segm"]["AP"] == pytest.approx(expected["segm"]["AP"], abs=1e-6)


def test_only_the_images_asked_for_count(detectron2s):
    results, annotations, expected = detectron2s
    coco = read_coco(annotations)
    some = sorted(coco.getImgIds())[:20]
    of_some = [r for r in results if r["image_id"] in some]
    scores = evaluate_coco(of_some, coco, image_ids=some, iou_types=("bbox",))["bbox"]
    assert scores["AP"] > 60
    assert scores["AP"] != pytest.approx(expected["bbox"]["AP"], abs=0.01)
    # without image_ids the other 80 count as images in which nothing was found
    assert evaluate_coco(of_some, coco, iou_types=("bbox",))["bbox"]["AP"] < scores["AP"] / 2


def test_the_cap_on_detections_counts(detectron2s):
    results, annotations, expected = detectron2s
    scores = evaluate_coco(results, annotations, iou_types=("bbox",), max_detections=1)["bbox"]
    assert 0 < scores["AP"] < expected["bbox"]["AP"] - 1


def test_more_than_a_hundred_detections_are_counted_too(tmp_path):
    wrong = {"image_id": 7, "category_id": 4, "bbox": [0, 0, 5, 5], "score": 0.99}
    found = [dict(wrong) for _ in range(150)] + RESULTS
    path = written(tmp_path / "a.json")
    few, many = (evaluate_coco(found, path, iou_types=("bbox",), max_detections=n)["bbox"] for n in (100, 300))
    assert few["AP-cat"] == 0
    assert many["AP-cat"] == pytest.approx(100 / 151)


def test_a_perfect_and_a_missed_object(tmp_path):
    scores = evaluate_coco(RESULTS, written(tmp_path / "a.json"), iou_types=("bbox",))["bbox"]
    # categories in the order of their ids, whatever the file's
    assert list(scores) == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AP-dog", "AP-cat"]
    assert (scores["AP-cat"], scores["AP-dog"], scores["AP"]) == (pytest.approx(100), 0, pytest.approx(50))
    assert (scores["APs"], scores["APm"]) == (0, pytest.approx(100))
    assert math.isnan(scores["APl"])


def test_a_single_class_has_no_number_of_its_own(tmp_path):
    path = written(tmp_path / "a.json", categories=DATASET["categories"][:1], annotations=DATASET["annotations"][:1])
    metrics = evaluate_coco(RESULTS, path, iou_types=("bbox",))
    assert list(metrics["bbox"]) == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert "Per-category" not in metrics.tables()


def test_no_result_is_nan_in_every_number(tmp_path):
    metrics = evaluate_coco([], written(tmp_path / "a.json"))
    assert list(metrics.scores) == ["bbox", "segm"]
    for scores in metrics.scores.values():
        assert list(scores) == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
        assert all(map(math.isnan, scores.values()))


def test_nothing_is_printed(detectron2s, capfd):
    evaluate_coco(*detectron2s[:2])
    assert capfd.readouterr() == ("", "")


def test_two_classes_make_a_table_of_two_pairs(tmp_path):
    table = evaluate_coco(RESULTS, written(tmp_path / "a.json"), iou_types=("bbox",)).tables()
    assert table.endswith("| dog        | 0.000 | cat        | 100.000 |")


def without(field, rows="annotations"):
    return {rows: [{k: v for k, v in row.items() if k != field} for row in DATASET[rows]]}


BAD_FILES = {
    "not JSON": ("{", "cannot be read as COCO annotations"),
    "not text": (b"\xff\xfe\x00", "cannot be read as COCO annotations"),
    "a list": ("[]", "has no list 'images'"),
    "no annotations": ({"annotations": None}, "has no list 'annotations'"),
    "categories of another kind": ({"categories": {}}, "has no list 'categories'"),
    "an image without size": (without("height", "images"), "entry 0 of 'images' has no height"),
    "no area": (without("area"), "entry 0 of 'annotations' has no area"),
    "an entry that is none": ({"annotations": [3]}, "entry 0 of 'annotations' has no id, image_id"),
    "an unlisted image": ({"images": []}, "annotation 1 is of image 7 and category 4"),
    "an unlisted category": ({"categories": DATASET["categories"][:1]}, "annotation 2 is of image 7 and category 2"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_annotations_are_one_clear_error(case, tmp_path):
    content, message = BAD_FILES[case]
    path = tmp_path / "bad.json"
    if isinstance(content, dict):
        written(path, **content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=message) as caught:
        read_coco(path)
    assert str(path) in str(caught.value)


def test_missing_annotations_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.json cannot be read.*No such file"):
        evaluate_coco([], tmp_path / "nowhere.json")
    with pytest.raises(DatasetError, match=r"cannot be read.*directory"):
        read_coco(tmp_path)


BAD_RESULTS = {
    "another image": ({"image_id": 8}, "A result is of image 8 and category 4"),
    "another category": ({"category_id": 3}, "A result is of image 7 and category 3"),
}


@pytest.mark.parametrize("case", BAD_RESULTS)
def test_results_of_another_data_set_are_refused(case, tmp_path):
    change, message = BAD_RESULTS[case]
    with pytest.raises(DatasetError, match=message):
        evaluate_coco([{**RESULTS[0], **change}], written(tmp_path / "a.json"), iou_types=("bbox",))


def test_mask_ap_without_masks_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="1 of 1 results have none"):
        evaluate_coco(RESULTS, written(tmp_path / "a.json"))
    path = written(tmp_path / "b.json", **without("segmentation"))
    masks = [{**RESULTS[0], "segmentation": {"size": [100, 100], "counts": "PZ9"}}]
    with pytest.raises(DatasetError, match="2 of 2 annotations have none"):
        evaluate_coco(masks, path)
    assert evaluate_coco(masks, path, iou_types=("bbox",))["bbox"]["AP-cat"] == pytest.approx(100)


def test_masks_are_for_all_or_for_none(tmp_path):
    assert has_masks(read_coco(written(tmp_path / "a.json"))) is True
    assert has_masks(read_coco(written(tmp_path / "b.json", **without("segmentation")))) is False
    mixed = [DATASET["annotations"][0], without("segmentation")["annotations"][1]]
    with pytest.raises(DatasetError, match="1 of 2 annotations have no segmentation, the one with id 2"):
        has_masks(read_coco(written(tmp_path / "c.json", annotations=mixed)))
