"""What a model reaches over a folder of images. The one here finds coloured rectangles, so that it is known."""

import json
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from d2deploy.artifact import ModelSpec, PanopticRule, Preprocess, TensorSpec, Thresholds
from d2deploy.errors import DatasetError, ImageError
from d2deploy.metrics.scores import HEADLINES
from d2deploy.workflows.evaluate import evaluate

NAMES = ("boxes", "scores", "classes", "image_index", "mask_probs")
# Category ids neither from 0 nor in the order of the file: class 0 is id 3, class 1 is id 7.
CATEGORIES = [{"id": 7, "name": "green"}, {"id": 3, "name": "blue"}]
BOXES = {1: (10, 20, 60, 90), 2: (5, 5, 100, 40), 9: (30, 8, 70, 50)}  # image id -> its rectangle
CHANNELS = {1: 0, 2: 1, 9: 0}  # ... and its BGR channel


def spec(*, num_classes=2, names=NAMES, **changes):
    def tensors(names):
        return tuple(TensorSpec(name=name, shape=("D",), dtype="float32") for name in names)

    return ModelSpec(
        meta_architecture="GeneralizedRCNN",
        inputs=tensors(("images", "image_sizes")),
        outputs=tensors(names),
        preprocess=Preprocess(
            min_size=0, max_size=0, channel_order="BGR", size_divisor=32, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
        ),
        thresholds=Thresholds(score=0.05, nms=0.5, max_detections=100),
        num_classes=num_classes,
        class_names=(),
        **changes,
    )


class Finder:
    """Finds the rectangle of values above 127 in each channel; its class is the number of the channel.

    As a label of pixels that number is one higher, and 0 is what is black.
    """

    def __init__(self, source):
        self.inputs, self.outputs = source.spec.inputs, source.spec.outputs

    def __call__(self, images, image_sizes):
        (image,) = images
        channels = [channel for channel in range(3) if (image[channel] > 127).any()]
        places = [np.nonzero(image[channel] > 127) for channel in channels]
        boxes = [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in places]
        found = {
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "scores": np.full(len(boxes), 0.9, np.float32),
            "classes": np.array(channels, np.int64),
            "image_index": np.zeros(len(boxes), np.int64),
            "mask_probs": np.ones((len(boxes), 28, 28), np.float32),
            "sem_seg": np.concatenate([np.full_like(images[:, :1], 127), images[:, :2]], axis=1),
        }
        return tuple(found[t.name] for t in self.outputs)

    def close(self):
        pass


class Blind(Finder):
    """Finds nothing."""

    def __call__(self, images, image_sizes):
        return super().__call__(np.zeros_like(images), image_sizes)


@pytest.fixture
def model(monkeypatch):
    """A source whose format is made up; `load` can be replaced."""
    package = ModuleType("d2deploy.backends")
    vars(package)["FORMATS"] = {"fake": SimpleNamespace(module="plain", runtime_extra="plain")}
    module = ModuleType("d2deploy.backends.plain")
    vars(module)["load"] = lambda source, device: source.runner(source)
    for made in (package, module):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    return lambda runner=Finder, **changes: SimpleNamespace(format="fake", spec=spec(**changes), runner=runner)


@pytest.fixture
def data(tmp_path):
    """A folder of three images and its annotations, as a dict to change and a function that writes it."""
    images, annotations = [], []
    for image_id, (x1, y1, x2, y2) in BOXES.items():
        pixels = np.zeros((100, 120, 3), np.uint8)
        pixels[y1:y2, x1:x2, CHANNELS[image_id]] = 255
        (tmp_path / "val/sub").mkdir(parents=True, exist_ok=True)
        name = f"sub/{image_id}.png"
        Image.fromarray(pixels[..., ::-1]).save(tmp_path / "val" / name)
        images.append({"id": image_id, "file_name": name, "height": 100, "width": 120})
        width, height = x2 - x1, y2 - y1
        annotations.append(
            {
                "id": image_id + 100,
                "image_id": image_id,
                "category_id": (3, 7)[CHANNELS[image_id]],
                "bbox": [x1, y1, width, height],
                "area": width * height,
                "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
            }
        )
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}

    def arguments(**changes):
        path = tmp_path / "instances.json"
        path.write_text(json.dumps({**content, **changes}))
        return {"coco_json": path, "image_root": tmp_path / "val"}

    return SimpleNamespace(**content, root=tmp_path / "val", arguments=arguments)


def test_a_perfect_model_has_100(model, data):
    evaluation = evaluate(model(), **data.arguments())
    for iou_type in ("bbox", "segm"):
        scores = evaluation.metrics[iou_type]
        assert [scores[k] for k in ("AP", "AP-green", "AP-blue")] == pytest.approx([100] * 3)
        assert math.isnan(scores["APl"])
    assert evaluation.seconds_per_image > 0


def test_the_records_are_coco_results_in_dataset_ids(model, data):
    records = json.loads(json.dumps(evaluate(model(), **data.arguments()).results))
    assert [(r["image_id"], r["category_id"]) for r in records] == [(1, 3), (2, 7), (9, 3)]
    assert records[0]["bbox"] == [10, 20, 50, 70]
    assert rle.area(records[0]["segmentation"]) == 50 * 70


def test_a_model_that_mistakes_the_classes_has_0(model, data):
    swapped = [{**row, "category_id": 10 - row["category_id"]} for row in data.annotations]
    evaluation = evaluate(model(), **data.arguments(annotations=swapped))
    assert evaluation.metrics["bbox"]["AP"] == 0


def test_a_model_that_finds_nothing_has_no_number(model, data):
    evaluation = evaluate(model(Blind), **data.arguments())
    assert evaluation.results == []
    assert math.isnan(evaluation.metrics["bbox"]["AP"])
    assert math.isnan(evaluation.metrics["segm"]["AP"])


def test_masks_are_measured_where_model_and_annotations_have_them(model, data):
    without = [{k: v for k, v in row.items() if k != "segmentation"} for row in data.annotations]
    boxes_only = [
        evaluate(model(names=NAMES[:4]), **data.arguments()),
        evaluate(model(), **data.arguments(annotations=without)),
    ]
    for evaluation in boxes_only:
        assert list(evaluation.metrics.scores) == ["bbox"]
        assert evaluation.metrics["bbox"]["AP"] == pytest.approx(100)


def test_a_limit_takes_the_first_images_and_counts_only_those(model, data):
    evaluation = evaluate(model(), **data.arguments(), limit=2)
    assert [r["image_id"] for r in evaluation.results] == [1, 2]
    assert evaluation.metrics["bbox"]["AP"] == pytest.approx(100)


def test_progress_is_told_after_each_image(model, data):
    told = []
    evaluate(model(), **data.arguments(), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_missing_images_are_counted_before_anything_runs(model, data):
    (data.root / "sub/2.png").unlink()
    told = []
    with pytest.raises(DatasetError, match=r"lacks 1 of 3 images, sub/2\.png among them"):
        evaluate(model(), **data.arguments(), progress=lambda *numbers: told.append(numbers))
    assert told == []


def test_a_damaged_image_is_named(model, data):
    (data.root / "sub/2.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"2\.png is not an image"):
        evaluate(model(), **data.arguments())


def test_another_number_of_classes_is_refused(model, data):
    with pytest.raises(DatasetError, match=r"The model has 80 classes, .*instances\.json has 2 categories"):
        evaluate(model(num_classes=80), **data.arguments())


BAD_JSON: dict[str, tuple[dict[str, object], str]] = {
    "no list of images": ({"images": None}, "has no list 'images'"),
    "no image": ({"images": [], "annotations": []}, "There is no image to evaluate"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_annotations_are_refused(case, model, data):
    changes, message = BAD_JSON[case]
    with pytest.raises(DatasetError, match=message):
        evaluate(model(), **data.arguments(**changes))


def test_a_json_that_is_not_there_is_named(model, data):
    with pytest.raises(DatasetError, match=r"nowhere\.json cannot be read"):
        evaluate(model(), coco_json=data.root / "nowhere.json", image_root=data.root)


def test_images_of_another_size_are_refused(model, data):
    images = [{**row, "height": 101} for row in data.images]
    with pytest.raises(DatasetError, match=r"sub/1\.png has 120 x 100 pixels, its annotation says 120 x 101"):
        evaluate(model(), **data.arguments(images=images))


def test_a_limit_of_nothing_is_refused(model, data):
    with pytest.raises(DatasetError, match="There is no image to evaluate"):
        evaluate(model(), **data.arguments(), limit=0)


@pytest.fixture
def labelled(data):
    """The arguments for PNGs of class numbers, and their folder."""
    for image_id, (x1, y1, x2, y2) in BOXES.items():
        labels = np.zeros((100, 120), np.uint8)
        labels[y1:y2, x1:x2] = CHANNELS[image_id] + 1
        file = data.root.parent / f"stuff/sub/{image_id}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(file)
    return {"image_root": data.root, "sem_seg_root": data.root.parent / "stuff"}


def test_a_semantic_model_is_measured_in_pixels(model, labelled):
    evaluation = evaluate(
        model(num_classes=0, names=("sem_seg",), sem_seg_names=("black", "blue", "green")), **labelled
    )
    assert list(evaluation.metrics.scores) == ["sem_seg"]
    scores = evaluation.metrics["sem_seg"]
    assert {key: scores[key] for key in ("mIoU", "pACC", "IoU-blue", "ACC-green")} == pytest.approx(
        {"mIoU": 100, "pACC": 100, "IoU-blue": 100, "ACC-green": 100}
    )
    assert evaluation.results == []


def test_a_panoptic_model_is_measured_in_boxes_masks_and_pixels_at_once(model, data, labelled):
    rule = PanopticRule(overlap=0.5, stuff_area=1, instance_score=0.5)
    source = model(names=(*NAMES, "sem_seg"), panoptic=rule)
    evaluation = evaluate(source, **data.arguments(), sem_seg_root=labelled["sem_seg_root"])
    headlines = {
        kind: evaluation.metrics[kind][key] for kind, key in HEADLINES.items() if kind in evaluation.metrics.scores
    }
    assert headlines == pytest.approx({"bbox": 100, "segm": 100, "sem_seg": 100})
    assert len(evaluation.results) == 3


def test_an_annotation_of_another_size_is_refused_with_the_name_of_the_image(model, labelled):
    Image.fromarray(np.zeros((99, 120), np.uint8)).save(labelled["sem_seg_root"] / "sub/2.png")
    with pytest.raises(DatasetError, match=r"sub/2\.png: The annotation has 120 x 99 pixels, the image 120 x 100"):
        evaluate(model(num_classes=0, names=("sem_seg",)), **labelled)


def test_what_the_model_does_not_find_is_refused_before_anything_runs(model, data, labelled):
    told = []
    with pytest.raises(DatasetError, match=r"GeneralizedRCNN, finds nothing that can be measured on --sem-seg-root"):
        evaluate(
            model(),
            **data.arguments(),
            sem_seg_root=labelled["sem_seg_root"],
            progress=lambda *numbers: told.append(numbers),
        )
    assert told == []
