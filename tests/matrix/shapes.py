"""What an export must give on odd arrays, whose detections are noise: the network's shapes and types, and its maps."""

from typing import Any

import numpy as np

from d2deploy.models.build import Model
from d2deploy.runner import Runner

# One pixel wide, or smaller than the window of DeepLab's image pooling: height and width of each image of a batch.
ODD = ([(64, 1)], [(33, 160)], [(200, 70), (9, 9), (1, 1)])


def is_list(spec: Any) -> bool:
    """Whether an output has a row for each detection."""
    return bool(spec.shape[0] == "D")


def check_shapes(model: Model, exported: Runner, eager: Runner, arrays: list[np.ndarray]) -> None:
    """Shapes and types; maps also by value, and that of nothing there is nothing. What noise has may be a tie."""
    found = zip(model.spec.outputs, exported(*arrays), eager(*arrays), strict=True)
    for spec, ours, theirs in found:
        assert (ours.shape[1:], ours.dtype) == (theirs.shape[1:], theirs.dtype) and ours.dtype == spec.dtype
        assert bool(len(ours)) == bool(len(theirs))
        if not is_list(spec):
            assert ours.shape == theirs.shape and 0 < np.abs(theirs).max() < np.inf
            assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def check_nothing(model: Model, exported: Runner, eager: Runner, arrays: list[np.ndarray]) -> None:
    """The same of arrays in which the network finds nothing."""
    (count,) = {len(array) for spec, array in zip(eager.outputs, eager(*arrays), strict=True) if is_list(spec)}
    assert count == 0
    check_shapes(model, exported, eager, arrays)
