"""What is measured of which model, on which annotations; on the shapes, where perfect results are known."""

from typing import Any

import numpy as np
import pytest

from d2deploy.artifact import ModelSpec, PanopticDeepLabRule, PanopticRule, Preprocess, TensorSpec
from d2deploy.errors import DatasetError
from d2deploy.metrics.label_map import read_labels
from d2deploy.metrics.panoptic import joint_ids, separate_ids
from d2deploy.results import Instances, PanopticResult, Segment, SemanticResult
from d2deploy.workflows.ground_truth import read_ground_truth
from d2deploy.workflows.measure import CocoMeasure, measurable, open_measures

SHAPES = {"coco_json": "annotations/instances_val.json", "sem_seg_root": "sem_seg_val", "image_root": "val"}
PANOPTIC = {"panoptic_json": "annotations/panoptic_val.json", "panoptic_root": "panoptic_val", "image_root": "val"}
RULE = PanopticRule(overlap=0.5, stuff_area=100, instance_score=0.5)
THINGS = tuple(range(8))


def deeplab(things=THINGS):
    return PanopticDeepLabRule(
        thing_ids=things, stuff_area=100, center_threshold=0.1, nms_kernel=7, top_k=200, predict_instances=True
    )


def spec(*, columns=4, channels=5, inputs=("images", "image_sizes"), **changes):
    shapes = {"boxes": ("D", columns), "scores": ("D",), "sem_seg": ("N", channels, "H", "W")}
    fields = {"num_classes": 8, "panoptic": RULE, **changes}
    if fields["num_classes"] == 0:
        shapes = {"sem_seg": shapes["sem_seg"]}
    if not channels:
        del shapes["sem_seg"]
    return ModelSpec(
        meta_architecture="PanopticFPN",
        inputs=tuple(TensorSpec(name=name, shape=(), dtype="float32") for name in inputs),
        outputs=tuple(TensorSpec(name=name, shape=shape, dtype="float32") for name, shape in shapes.items()),
        preprocess=Preprocess(
            min_size=0, max_size=0, channel_order="BGR", size_divisor=32, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
        ),
        thresholds=None,
        class_names=(),
        **fields,
    )


SPECS = {
    "panoptic": (spec(), ["coco_json", "panoptic_json", "sem_seg_root"]),
    "detector": (spec(channels=0, panoptic=None), ["coco_json"]),
    "semantic": (spec(num_classes=0, panoptic=None), ["sem_seg_root"]),
    "Panoptic-DeepLab": (
        spec(num_classes=0, panoptic=None, panoptic_deeplab=deeplab()),
        ["panoptic_json", "sem_seg_root"],
    ),
}


@pytest.mark.parametrize("case", SPECS)
def test_measurable(case):
    model, expected = SPECS[case]
    assert measurable(model) == expected


@pytest.fixture
def truth(golden):
    """Ground truth of the first images of the shapes: annotations of all kinds, or those given."""

    def opened(parts=SHAPES | PANOPTIC, limit=3):
        data: dict[str, Any] = {name: golden / "shapes" / path for name, path in parts.items()}
        return read_ground_truth(**data, limit=limit)

    return opened


def perfect(image, panoptic, ids):
    """The result of a model that is always right, in its own class numbers."""
    annotated = panoptic.truth(image.id)
    own = {dataset_id: key for key, dataset_id in ids.items()}
    labels = read_labels(image.sem_seg)
    logits = (np.arange(5)[:, None, None] == labels).astype(np.float32)
    segments = [
        Segment(id=s.id, is_thing=own[s.category_id][0], category_id=own[s.category_id][1]) for s in annotated.segments
    ]
    return PanopticResult(
        image_size=image.size,
        panoptic_seg=annotated.segment_ids,
        segments=tuple(segments),
        sem_seg=SemanticResult(image_size=image.size, logits=logits),
        instances=Instances(
            image_size=image.size,
            pred_boxes=np.zeros((1, 4), np.float32),
            scores=np.ones(1, np.float32),
            pred_classes=np.array([7]),
        ),
    )


def scores_of(measures, truth, ids):
    for image in truth.images:
        for measure in measures:
            measure.add(image, perfect(image, truth.panoptic, ids))
    return {kind: scores for measure in measures for kind, scores in measure.scores().items()}


def test_a_panoptic_model_is_measured_in_everything(truth):
    opened = truth()
    scores = scores_of(open_measures(spec(), opened), opened, separate_ids(opened.panoptic.categories))
    assert list(scores) == ["bbox", "sem_seg", "panoptic_seg"]
    assert scores["bbox"]["AP"] == 0
    assert scores["panoptic_seg"]["PQ"] == 100
    assert scores["sem_seg"]["mIoU"] == 100
    assert [key for key in scores["sem_seg"] if key.startswith("IoU-")] == [
        *("IoU-things", "IoU-sky", "IoU-grass", "IoU-brick", "IoU-water")
    ]


def test_contiguous_ids_become_the_data_set_s(truth):
    opened = truth()
    measure = open_measures(spec(), truth(SHAPES))[0]
    assert isinstance(measure, CocoMeasure)
    measure.add(opened.images[0], perfect(opened.images[0], opened.panoptic, separate_ids(opened.panoptic.categories)))
    assert [record["category_id"] for record in measure.records] == [13]


def test_panoptic_deeplab_counts_things_and_stuff_together(truth):
    opened = truth(PANOPTIC | {"sem_seg_root": "sem_seg_val"})
    model = spec(num_classes=0, channels=12, panoptic=None, panoptic_deeplab=deeplab())
    panoptic = open_measures(model, opened)[-1]
    scores = scores_of([panoptic], opened, joint_ids(opened.panoptic.categories))
    assert scores["panoptic_seg"]["PQ"] == 100


NAMES = {
    "the model's own": (spec(sem_seg_names=tuple("abcde")), SHAPES, tuple("abcde")),
    "of the panoptic annotations": (spec(), SHAPES | PANOPTIC, ("things", "sky", "grass", "brick", "water")),
    "numbers, where nobody knows": (spec(), SHAPES, tuple("01234")),
    "numbers, where there are more": (spec(sem_seg_names=tuple("abcdef")), SHAPES, tuple("01234")),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_sem_seg(case, truth):
    model, parts, expected = NAMES[case]
    opened, every = truth(parts), truth()
    measure = open_measures(model, opened)[1]
    scores = scores_of([measure], every, separate_ids(every.panoptic.categories))
    assert [key.removeprefix("IoU-") for key in scores["sem_seg"] if key.startswith("IoU-")] == list(expected)


REFUSED = {
    "boxes of a semantic model": (spec(num_classes=0, panoptic=None), SHAPES, r"measured on --coco-json\. Leave"),
    "pixels of a detector": (spec(channels=0, panoptic=None), SHAPES, r"measured on --sem-seg-root\. Leave"),
    "segments of a detector": (spec(channels=0, panoptic=None), PANOPTIC, r"measured on --panoptic-json\. Leave"),
    "another number of things": (spec(num_classes=9), PANOPTIC, "tells 13 classes apart, 9 of them things; .* 12 cat"),
    "another number of stuff": (spec(channels=6), PANOPTIC, "tells 13 classes apart, 8 of them things; .* 12 cat"),
    "things elsewhere": (
        spec(num_classes=0, channels=12, panoptic=None, panoptic_deeplab=deeplab(tuple(range(1, 9)))),
        PANOPTIC,
        "12 categories, 8 of them things, or in another order",
    ),
    "another number of classes": (spec(num_classes=80), SHAPES, "The model has 80 classes, .* has 8 categories"),
    "needs proposals": (spec(inputs=("images", "proposal_boxes")), SHAPES, "needs proposals with each image"),
    "rotated boxes": (spec(columns=5), SHAPES, "finds rotated boxes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_annotations_that_do_not_fit_the_model_are_refused(case, truth):
    model, parts, message = REFUSED[case]
    with pytest.raises(DatasetError, match=message):
        open_measures(model, truth(parts))
