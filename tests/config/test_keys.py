from typing import Any

import pytest

from d2deploy.config.keys import TRAINING_ONLY, hint, names, split
from d2deploy.config.projects import defaults
from d2deploy.config.versions import OLD_NAMES

KNOWN = {"MODEL": {"MASK_ON": False, "RPN": {"NMS_THRESH": 0.7}}, "SOLVER": {"BASE_LR": 0.1}}


def test_an_open_section_keeps_what_nobody_knows():
    known = {"MAPS": {}, "SOLVER": {"STEPS": {}, "LR": 1.0}}
    tree = {"MAPS": {"a": {"0": 1}, "BASE_LOSS_WEIGHT": 2}, "SOLVER": {"STEPS": {"x": 1}, "MAX": 1}, "MAP": {"a": 1}}
    kept, unknown = split(tree, known)
    assert kept == {"MAPS": tree["MAPS"], "SOLVER": {"STEPS": {"x": 1}}}
    assert unknown == ["MAP"]


def test_split_keeps_the_known_drops_training_only_names_the_rest():
    tree = {
        "MODEL": {"MASK_ON": True, "MASK_OFF": 1, "RPN": {"NMS_THRESH": 0.5, "LOSS_X": 1}, "NEW": {"A": 1, "B": 2}},
        "SOLVER": {"BASE_LR": 0.2, "LOOKAHEAD": {"K": 5}},
        "EMPTY": {},
    }
    kept, unknown = split(tree, KNOWN)
    assert kept == {"MODEL": {"MASK_ON": True, "RPN": {"NMS_THRESH": 0.5}}, "SOLVER": {"BASE_LR": 0.2}}
    assert unknown == ["MODEL.MASK_OFF", "MODEL.NEW", "EMPTY"]


@pytest.mark.parametrize(
    "key",
    [
        "SOLVER.SOMETHING_NEW",
        "DATALOADER.PREFETCH",
        "DATASETS.TRAIN_RATIO",
        "INPUT.MAX_SIZE_TRAIN_LIST",
        "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA",
        "INPUT.COLOR_AUG_SSD",
        "MODEL.SEM_SEG_HEAD.LOSS_TOP_K",
        "MODEL.ROI_MASK_HEAD.BBOX_LOSS_WEIGHT",
        "MODEL.RPN.FOCAL_GAMMA",
        "MODEL.NEW_HEAD.IOU_THRESHOLDS",
        "TEST.PRECISE_BN.MORE",
    ],
)
def test_training_only_keys_of_other_versions_are_accepted(key):
    tree: Any = 1
    for part in reversed(key.split(".")):
        tree = {part: tree}
    assert key not in set(names(defaults()))
    assert split(tree, defaults())[1] == []


@pytest.mark.parametrize("key", ["MODEL.RPN.NMS_TRESH", "INPUT.MIN_SIZE", "TEST.SCORE", "MODEL.LOSSY", "TRAIN.X"])
def test_keys_that_may_change_the_network_are_not(key):
    tree: Any = 1
    for part in reversed(key.split(".")):
        tree = {part: tree}
    assert len(split(tree, defaults())[1]) == 1


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("MODEL.RPN.NMS_TRESH", "did you mean MODEL.RPN.NMS_THRESH?"),
        ("MODEL.MASK_0N", "did you mean MODEL.MASK_ON?"),
        ("model.mask_on", "nothing"),
        ("MODEL.NMS_THRESH", "the nearest is MODEL.RPN.NMS_THRESH"),
        ("MODEL.WEIGHT", "since version 2 it is called MODEL.WEIGHTS"),
        ("zzz", "nothing has a similar name"),
    ],
)
def test_hint(key, words):
    assert words in hint(key, list(names(defaults())), OLD_NAMES)


def test_tables_speak_of_keys_that_are_not_detectron2s_own():
    known = set(names(defaults()))
    assert not known & OLD_NAMES.keys()
    assert set(OLD_NAMES.values()) <= known
    assert len(set(TRAINING_ONLY)) == len(TRAINING_ONLY)
