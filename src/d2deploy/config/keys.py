"""Which keys a config may have: known, known to be about training only, unknown."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

# Keys that other versions of detectron2, or its projects, have for training. A file that holds one is accepted and
# the key ignored: it cannot change what the network computes.
TRAINING_ONLY = (
    "SOLVER.*",
    "DATALOADER.*",
    "GLOBAL.*",
    "OUTPUT_DIR",
    "VIS_PERIOD",
    "DATASETS.TRAIN*",
    "*_TRAIN",
    "INPUT.*_TRAIN_*",
    "INPUT.RANDOM_*",
    "INPUT.CROP.*",
    "INPUT.COLOR_AUG_SSD",
    "INPUT.GAUSSIAN_SIGMA",
    "INPUT.IGNORE_*",
    "INPUT.SMALL_INSTANCE_*",
    "TEST.EVAL_PERIOD",
    "TEST.EXPECTED_RESULTS",
    "TEST.PRECISE_BN.*",
    "*.LOSS_*",
    "*_LOSS_*",
    "*.SMOOTH_L1_*",
    "*.FOCAL_*",
    "*.FED_LOSS_*",
    "*.PRIOR_PROB",
    "*.IOU_THRESHOLDS",
    "*.IOU_LABELS",
    "*.BATCH_SIZE_PER_IMAGE",
    "*.POSITIVE_FRACTION",
    "*.PROPOSAL_APPEND_GT",
    "*.BOUNDARY_THRESH",
)


def is_open(section: Any) -> bool:
    """Whether a section takes keys of any name. detectron2 allows that where its defaults have none at all."""
    return isinstance(section, Mapping) and not section


def split(tree: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Any], list[str]]:
    """The part of `tree` whose keys are in `known` or in open sections, and the names of keys that nobody knows.

    Training-only keys are in neither. An unknown section is named once, not key by key.
    """
    kept: dict[str, Any] = {}
    unknown: list[str] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in known:
            unknown += [] if is_training_only(name, value) else [name]
        elif isinstance(value, dict) and isinstance(known[key], dict) and not is_open(known[key]):
            kept[key], more = split(value, known[key], f"{name}.")
            unknown += more
        else:
            kept[key] = value
    return kept, unknown


def names(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of all sections and keys."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from names(value, f"{prefix}{key}.")


def hint(name: str, known: Iterable[str], old_names: Mapping[str, str]) -> str:
    """What to do about an unknown key: its new name, or the nearest known key."""
    if name in old_names:
        return f"since version 2 it is called {old_names[name]}"
    section, _, key = name.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section}
    if near := get_close_matches(key, siblings, n=1, cutoff=0.7):
        return f"did you mean {siblings[near[0]]}?"
    if near := get_close_matches(name, known, n=1, cutoff=0.5):
        return f"the nearest is {near[0]}"
    return "nothing has a similar name"


def is_training_only(name: str, value: Any = None) -> bool:
    """Whether a key, or every key of a section with `value`, is about training alone."""
    if isinstance(value, dict) and value:
        return all(is_training_only(f"{name}.{key}", child) for key, child in value.items())
    return any(fnmatchcase(name, pattern) for pattern in TRAINING_ONLY)
