"""A Caffe2 net as a runner: numpy in, numpy out, with the names and the order that every format has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.backends.caffe2.client import Worker
from d2deploy.backends.caffe2.names import INPUTS, OUTPUTS


class Caffe2Runner:
    """Runs both nets in a process on the old Python."""

    def __init__(self, python: Path, net: Path, init: Path, spec: ModelSpec) -> None:
        self.inputs: tuple[TensorSpec, ...] = spec.inputs
        self.outputs: tuple[TensorSpec, ...] = spec.outputs
        self._worker: Any = Worker(python)
        try:
            self._net = self._worker.load(init, net, list(INPUTS.values()))
        except BaseException:
            self._worker.close()
            raise

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for `arrays`, in the order of `inputs`."""
        images, image_sizes = arrays
        sizes = np.asarray(image_sizes, np.float32)
        im_info = np.concatenate([sizes, np.ones_like(sizes[:, :1])], axis=1)
        names = [OUTPUTS[output.name] for output in self.outputs]
        made = self._worker.run(self._net, {"data": np.asarray(images, np.float32), "im_info": im_info}, names)
        return core_outputs(made, self.outputs)

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None


def core_outputs(made: dict[str, np.ndarray], outputs: Sequence[TensorSpec]) -> tuple[np.ndarray, ...]:
    """Blobs as the core's outputs: int64 classes, an image number a row, own class's mask, the best of an image first.

    made: name of a blob (names.py) -> what the net gave.
    """
    core = {output.name: made[OUTPUTS[output.name]] for output in outputs}
    if "image_index" in core:
        counts = core["image_index"].astype(np.int64)
        core["image_index"] = np.repeat(np.arange(len(counts)), counts)
        core["classes"] = core["classes"].astype(np.int64)
        if "mask_probs" in core:
            core["mask_probs"] = own_masks(core["mask_probs"], core["classes"])
        order = np.lexsort((-core["scores"], core["image_index"]))
        core |= {name: array[order] for name, array in core.items() if name != "sem_seg"}
    return tuple(np.ascontiguousarray(core[output.name]) for output in outputs)


def own_masks(masks: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """masks[D,K,M,M] of every class, or K = 1 of all of them, classes[D] int64 -> [D,M,M]."""
    return masks[np.arange(len(classes)), classes if masks.shape[1] > 1 else 0]
