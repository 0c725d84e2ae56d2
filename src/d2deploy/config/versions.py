"""Old config versions: what keys were called, and how a file is brought to version 2.

Facts: detectron2 config/compat.py at 02b5c4e2. detectron2 takes its defaults back to the file's version, merges and
goes forward again; renaming the file's keys gives the same config.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

from d2deploy.config.merge import decoded
from d2deploy.errors import ConfigError

NEWEST = 2

# version -> (old name, name in the version after it)
RENAMES: dict[int, tuple[tuple[str, str], ...]] = {
    0: (("MODEL.RPN_HEAD.NAME", "MODEL.RPN.HEAD_NAME"),),
    1: (
        ("MODEL.WEIGHT", "MODEL.WEIGHTS"),
        ("MODEL.PANOPTIC_FPN.SEMANTIC_LOSS_SCALE", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT"),
        ("MODEL.PANOPTIC_FPN.RPN_LOSS_SCALE", "MODEL.RPN.LOSS_WEIGHT"),
        ("MODEL.PANOPTIC_FPN.INSTANCE_LOSS_SCALE", "MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT"),
        ("MODEL.PANOPTIC_FPN.COMBINE_ON", "MODEL.PANOPTIC_FPN.COMBINE.ENABLED"),
        ("MODEL.PANOPTIC_FPN.COMBINE_OVERLAP_THRESHOLD", "MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH"),
        ("MODEL.PANOPTIC_FPN.COMBINE_STUFF_AREA_LIMIT", "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT"),
        (
            "MODEL.PANOPTIC_FPN.COMBINE_INSTANCES_CONFIDENCE_THRESHOLD",
            "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH",
        ),
        ("MODEL.ROI_HEADS.SCORE_THRESH", "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        ("MODEL.ROI_HEADS.NMS", "MODEL.ROI_HEADS.NMS_THRESH_TEST"),
        ("MODEL.RETINANET.INFERENCE_SCORE_THRESHOLD", "MODEL.RETINANET.SCORE_THRESH_TEST"),
        ("MODEL.RETINANET.INFERENCE_TOPK_CANDIDATES", "MODEL.RETINANET.TOPK_CANDIDATES_TEST"),
        ("MODEL.RETINANET.INFERENCE_NMS_THRESHOLD", "MODEL.RETINANET.NMS_THRESH_TEST"),
        ("TEST.DETECTIONS_PER_IMG", "TEST.DETECTIONS_PER_IMAGE"),
        ("TEST.AUG_ON", "TEST.AUG.ENABLED"),
        ("TEST.AUG_MIN_SIZES", "TEST.AUG.MIN_SIZES"),
        ("TEST.AUG_MAX_SIZE", "TEST.AUG.MAX_SIZE"),
        ("TEST.AUG_FLIP", "TEST.AUG.FLIP"),
    ),
}
# Version 1 kept anchors with the part that used them. The meta-architecture says whose count; the others are dropped.
_ANCHORS = (
    ("ANCHOR_SIZES", "MODEL.ANCHOR_GENERATOR.SIZES"),
    ("ANCHOR_ASPECT_RATIOS", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"),
)
_ANCHOR_SECTIONS = ("MODEL.RPN", "MODEL.RETINANET")
_DROPPED = ("MODEL.RETINANET.ANCHOR_STRIDES",)  # detectron2 never read it
_SIGNS_OF_VERSION_1 = ("MODEL.WEIGHT", "TEST.AUG_ON")

OLD_NAMES = {
    **{old: new for renames in RENAMES.values() for old, new in renames},
    **{f"{section}.{old}": new for section in _ANCHOR_SECTIONS for old, new in _ANCHORS},
}


def version_of(tree: dict[str, Any], path: Path) -> int:
    """VERSION; where missing, 1 if there is a key that only version 1 has, else the newest (as detectron2 guesses)."""
    version = decoded(tree.get("VERSION"))
    if version is None:
        return 1 if any(has(tree, name) for name in _SIGNS_OF_VERSION_1) else NEWEST
    if type(version) is not int or not 0 <= version <= NEWEST:
        raise ConfigError(f"VERSION in {path} is {version!r}; detectron2's config versions are 0 to {NEWEST}.")
    return version


def upgraded(tree: dict[str, Any], version: int, *, meta_architecture: object, path: Path) -> dict[str, Any]:
    """`tree`, which has `version`'s names, with version 2's. Raises ConfigError when a key stands under both names."""
    tree = {**tree, "VERSION": NEWEST}
    if version == NEWEST:
        return tree
    tree = deepcopy(tree)
    for older in range(version, NEWEST):
        for old, new in RENAMES[older]:
            _rename(tree, old, new, path)
    used = "MODEL.RETINANET" if meta_architecture == "RetinaNet" else "MODEL.RPN"
    for section in _ANCHOR_SECTIONS:
        for old, new in _ANCHORS:
            if section == used:
                _rename(tree, f"{section}.{old}", new, path)
            else:
                _take(tree, f"{section}.{old}")
    for name in _DROPPED:
        _take(tree, name)
    return tree


def _rename(tree: dict[str, Any], old: str, new: str, path: Path) -> None:
    if not has(tree, old):
        return
    if has(tree, new):
        raise ConfigError(f"{path} has both {old} and {new}, two names of one key. Keep one.")
    value = _take(tree, old)
    *sections, key = new.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{section} in {path} is {tree!r}, not a section; {new} cannot be set.")
    tree[key] = value


def has(tree: Any, name: str) -> bool:
    """Whether the dotted `name` is in `tree`."""
    for part in name.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _take(tree: dict[str, Any], name: str) -> Any:
    """Remove a key and the sections that it leaves empty; None when it is not there."""
    if not has(tree, name):
        return None
    section, _, rest = name.partition(".")
    if not rest:
        return tree.pop(section)
    value = _take(tree[section], rest)
    if not tree[section]:
        del tree[section]
    return value
