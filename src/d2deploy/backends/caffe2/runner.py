"""A Caffe2 net as a runner: numpy in, numpy out, with the names and the order that every format has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.backends.caffe2.client import Worker
from d2deploy.backends.caffe2.names import ALL_INPUTS, ALL_OUTPUTS, INPUTS, OUTPUTS, OWN_INPUTS
from d2deploy.runner import check_arrays

_SPLITS = OUTPUTS["image_index"]


class Caffe2Runner:
    """Runs both nets in a process on the old Python.

    one_by_one: the net does not say how many detections each image has, and takes one image.
    """

    def __init__(self, python: Path, net: Path, init: Path, spec: ModelSpec, *, one_by_one: bool = False) -> None:
        self.inputs: tuple[TensorSpec, ...] = spec.inputs
        self.outputs: tuple[TensorSpec, ...] = spec.outputs
        self._one_by_one = one_by_one
        self._worker = Worker(python)
        try:
            self._net = self._worker.load(init, net, [ALL_INPUTS[tensor.name] for tensor in spec.inputs])
        except BaseException:
            self._worker.close()
            raise

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for `arrays`, in the order of `inputs`. Raises InputError, as check_arrays."""
        check_arrays(self.inputs, arrays)
        names = [ALL_OUTPUTS[output.name] for output in self.outputs]
        if self._one_by_one:
            names.remove(_SPLITS)
        made = self._worker.run(self._net, blobs_of(*arrays), names)
        if self._one_by_one:
            made[_SPLITS] = np.array([len(made[OUTPUTS["boxes"]])])
        return core_outputs(made, self.outputs)

    def shapes(self, blobs: Sequence[str], *arrays: np.ndarray) -> dict[str, list[int]]:
        """The shapes that `blobs` of the net have in a run on `arrays`."""
        return self._worker.shapes(self._net, blobs_of(*arrays), blobs)

    def close(self) -> None:
        """End the process."""
        self._worker.close()


def blobs_of(images: np.ndarray, image_sizes: np.ndarray, *proposals: np.ndarray) -> dict[str, np.ndarray]:
    """The core's inputs as the net's. proposals: boxes and how many, where the network takes them."""
    sizes = np.asarray(image_sizes, np.float32)
    im_info = np.concatenate([sizes, np.ones_like(sizes[:, :1])], axis=1)
    made = {INPUTS["images"]: np.asarray(images, np.float32), INPUTS["image_sizes"]: im_info}
    return made | dict(zip(OWN_INPUTS.values(), proposals))


def core_outputs(made: dict[str, np.ndarray], outputs: Sequence[TensorSpec]) -> tuple[np.ndarray, ...]:
    """Blobs as the core's outputs: int64 classes, an image number a row, own class's mask, the best of an image first.

    made: name of a blob (names.py) -> what the net gave.
    """
    core = {output.name: made[ALL_OUTPUTS[output.name]] for output in outputs}
    if "image_index" in core:
        counts = core["image_index"].astype(np.int64)
        core["image_index"] = np.repeat(np.arange(len(counts)), counts)
        if "classes" in core:
            core["classes"] = core["classes"].astype(np.int64)
        if "mask_probs" in core:
            core["mask_probs"] = own_masks(core["mask_probs"], core["classes"])
        scores = core["scores"] if "scores" in core else core["objectness_logits"]
        order = np.lexsort((-scores, core["image_index"]))
        rows = [output.name for output in outputs if output.shape[0] == "D"]
        core |= {name: core[name][order] for name in rows}
    return tuple(np.ascontiguousarray(core[output.name]) for output in outputs)


def own_masks(masks: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """masks[D,K,M,M] of every class, or K = 1 of all of them, classes[D] int64 -> [D,M,M]."""
    return masks[np.arange(len(classes)), classes if masks.shape[1] > 1 else 0]
