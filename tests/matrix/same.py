"""What an export of a family must give: the network's results; on odd arrays, where these are noise, their shapes."""

from typing import Any

import numpy as np
from families import PHOTOS_ONLY
from networks import inputs_of

from d2deploy.artifact import Artifact
from d2deploy.models.build import Model
from d2deploy.runner import Runner, open_runner
from d2deploy.workflows.sample import demo_images, sample_images
from d2deploy.workflows.verify import Budget, verify

# One pixel wide, or smaller than the window of DeepLab's image pooling: height and width of each image of a batch.
ODD = ([(64, 1)], [(33, 160)], [(200, 70), (9, 9), (1, 1)])


def check_same(family: str, model: Model, artifact: Artifact, *, nothing: Any, budget: Budget) -> None:
    """`artifact` finds what `model` finds, and nothing in the arrays `nothing`, if there are such.

    In sizes that no export saw, a batch of three of them, a blank image, and one that is a pixel wide.
    """
    images = demo_images() if family in PHOTOS_ONLY else sample_images(demo_images()[0], model.spec)
    report = verify(artifact, against=model, images=images, budget=budget)
    assert report.ok, str(report)
    assert report.total.pairs > 10
    exported, eager = open_runner(artifact), open_runner(model)
    for sizes in ODD:
        check_shapes(model, exported, eager, inputs_of(model, sizes, proposals=7))
    if nothing is not None:
        check_nothing(model, exported, eager, nothing)
    exported.close()


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
