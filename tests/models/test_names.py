"""What a network's classes are called: given, in a file, or known of the data set."""

import json
from typing import Any

import pytest

from d2deploy.artifact import ModelSpec, PanopticDeepLabRule, Preprocess, TensorSpec
from d2deploy.errors import ConfigError
from d2deploy.models.names import named

JOINT = PanopticDeepLabRule(
    thing_ids=(1,), stuff_area=1, center_threshold=0.1, nms_kernel=7, top_k=9, predict_instances=True
)


def spec(classes: int, channels: int, *, is_joint: bool = False) -> ModelSpec:
    sem_seg = TensorSpec(name="sem_seg", shape=("N", channels, "H", "W"), dtype="float32")
    return ModelSpec(
        meta_architecture="X",
        inputs=(),
        outputs=(sem_seg,) if channels else (),
        preprocess=Preprocess(
            min_size=0, max_size=0, channel_order="BGR", size_divisor=1, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
        ),
        thresholds=None,
        num_classes=classes,
        class_names=(),
        panoptic_deeplab=JOINT if is_joint else None,
    )


DETECTOR, SEMANTIC, PANOPTIC, DEEPLAB = spec(2, 0), spec(0, 3), spec(2, 3), spec(3, 3, is_joint=True)
# network, data set, given -> names of detections, of channels
CASES: dict[str, tuple[ModelSpec, str, Any, tuple[str, ...], tuple[str, ...]]] = {
    "detector": (DETECTOR, "", ["a", "b"], ("a", "b"), ()),
    "detector, as text": (DETECTOR, "", "a, b", ("a", "b"), ()),
    "nobody knows": (PANOPTIC, "mine_val", None, (), ()),
    "a data set of other classes": (PANOPTIC, "coco_2017_val_panoptic_separated", None, (), ()),
    "semantic": (SEMANTIC, "", ["a", "b", "c"], (), ("a", "b", "c")),
    "things alone": (PANOPTIC, "", ["a", "b"], ("a", "b"), ()),
    "things and stuff": (PANOPTIC, "", ["a", "b", "x", "y"], ("a", "b"), ("things", "x", "y")),
    "one count for both": (DEEPLAB, "", ["x", "a", "y"], ("x", "a", "y"), ("x", "a", "y")),
}


@pytest.mark.parametrize("case", CASES)
def test_names(case: str) -> None:
    network, dataset, given, things, channels = CASES[case]
    found = named(network, dataset, given)
    assert (found.class_names, found.sem_seg_names) == (things, channels)


def test_data_sets_that_are_known() -> None:
    found = named(spec(80, 54), "coco_2017_val_panoptic_separated", None)
    assert (len(found.class_names), found.sem_seg_names[:2], found.sem_seg_names[40]) == (
        80,
        ("things", "banner"),
        "sky",
    )
    assert named(spec(0, 54), "coco_2017_val_panoptic_stuffonly", None).sem_seg_names[21] == "road"
    assert named(spec(0, 19), "cityscapes_fine_sem_seg_val", None).sem_seg_names[0] == "road"
    found = named(spec(133, 133, is_joint=True), "coco_2017_val_panoptic", None)
    assert found.class_names == found.sem_seg_names and found.class_names[119] == "sky-other-merged"
    # Things that the user renames keep the data set's stuff.
    mine = named(spec(80, 54), "coco_2017_val_panoptic_separated", [str(i) for i in range(80)])
    assert mine.class_names[3] == "3" and mine.sem_seg_names[21] == "road"


@pytest.mark.parametrize(
    ("network", "order"),
    [(PANOPTIC, ("cat", "dog", "sea", "sky")), (spec(4, 4, is_joint=True), ("sea", "cat", "sky", "dog"))],
)
def test_a_panoptic_json_is_read_as_the_network_counts(
    network: ModelSpec, order: tuple[str, ...], tmp_path: Any
) -> None:
    file = tmp_path / "panoptic.json"
    names = {1: ("sea", 0), 5: ("cat", 1), 7: ("sky", 0), 9: ("dog", 1)}
    categories = [{"id": id, "name": name, "isthing": thing} for id, (name, thing) in reversed(names.items())]
    file.write_text(json.dumps({"categories": categories}))
    found = named(network, "", str(file))
    assert (*found.class_names, *found.sem_seg_names[1:]) == order or found.class_names == order


@pytest.mark.parametrize(
    ("network", "count", "message"),
    [
        (DETECTOR, 3, "3 class names were given for 2 classes"),
        (SEMANTIC, 2, "2 class names were given for 3 classes"),
        (PANOPTIC, 3, "3 class names were given for 2 or 4 classes"),
        (DEEPLAB, 4, "4 class names were given for 3 classes"),
    ],
)
def test_another_number_of_names(network: ModelSpec, count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        named(network, "", ["x"] * count)
