"""What a network's classes are called: given by the user, or known of its data set."""

import dataclasses
from collections.abc import Sequence

from d2deploy.artifact import ModelSpec
from d2deploy.config import datasets
from d2deploy.errors import ConfigError

_THINGS = "things"  # detectron2's name of the channel that all things share


def named(spec: ModelSpec, dataset: str, given: Sequence[str] | str | None) -> ModelSpec:
    """`spec` with names. `given`: names, or where they stand, as datasets.names_from reads it; None: the data set's.

    A network with detections and stuff takes those of its detections, and those of its stuff from the data set; or both
    together, things first. The data set's are taken only where they are as many as the classes. Raises ConfigError:
    another number was given; DatasetError: they cannot be read.
    """
    channels = _channels(spec)
    is_joint = spec.panoptic_deeplab is not None  # things and stuff are one count
    things, stuff = (
        _fitting(datasets.class_names(dataset), spec.num_classes),
        _fitting(datasets.sem_seg_names(dataset), channels),
    )
    if given is not None:
        has_both = bool(spec.num_classes and channels) and not is_joint
        names = datasets.names_from(given, things_first=has_both) if isinstance(given, str) else tuple(given)
        wanted = {spec.num_classes or channels, *([spec.num_classes + channels - 1] if has_both else [])}
        if len(names) not in wanted:
            counts = " or ".join(map(str, sorted(wanted)))
            raise ConfigError(f"{len(names)} class names were given for {counts} classes (NUM_CLASSES in the config).")
        things, rest = names[: spec.num_classes], names[spec.num_classes :]
        if is_joint or not spec.num_classes:
            stuff = names
        elif rest:
            stuff = (_THINGS, *rest)
    return dataclasses.replace(spec, class_names=things, sem_seg_names=stuff)


def _channels(spec: ModelSpec) -> int:
    """Of sem_seg; 0 where there is none."""
    return next((int(tensor.shape[1]) for tensor in spec.outputs if tensor.name == "sem_seg"), 0)


def _fitting(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    return names if len(names) == count else ()
