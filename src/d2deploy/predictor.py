"""Image in, Instances out, whatever runs the model."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.errors import ArtifactError
from d2deploy.image import ImageFile, resize_shortest_edge, to_array, to_batch
from d2deploy.postprocess import to_instances
from d2deploy.results import Instances
from d2deploy.runner import Runner, Source, open_runner, to_source

INPUTS = 2  # images, image_sizes
REQUIRED = ("boxes", "scores", "classes", "image_index")


class Predictor:
    """Runs a model on images.

        with Predictor("out/onnx") as predictor:
            instances = predictor("street.jpg")

    `source`: an artifact, its folder, or an eager model. Raises ArtifactError when the model file does not have the
    inputs and outputs that its manifest promises, and what open_runner raises.
    """

    def __init__(self, source: Source | str | Path, *, device: str = "cpu"):
        source = to_source(source)
        self.spec: ModelSpec = source.spec
        self._runner: Runner = open_runner(source, device=device)
        try:
            _check(self._runner, self.spec)
        except ArtifactError:
            self._runner.close()
            raise

    def __call__(self, image: ImageFile | np.ndarray) -> Instances:
        """The detections on one image: a file, or an array uint8 [H,W,3] in BGR. Raises ImageError."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[ImageFile | np.ndarray], *, noise: float = 0.0, seed: int = 0) -> list[Instances]:
        """The detections on each image, run as one batch; in the order given.

        All are padded to the largest, so borders can differ a little from those of single runs. `noise`: grey levels
        (of 255) of uniform noise added to the network's input, to see what a result hangs on. Raises ImageError.
        """
        if not images:
            return []
        originals = [to_array(image) for image in images]
        rule = self.spec.preprocess
        resized = [resize_shortest_edge(o, min_size=rule.min_size, max_size=rule.max_size) for o in originals]
        inputs = to_batch(resized, channel_order=rule.channel_order, size_divisor=rule.size_divisor)
        if noise:
            shape = inputs[0].shape
            inputs[0][...] += np.random.default_rng(seed).uniform(-noise, noise, shape).astype(np.float32)
        outputs = dict(zip((t.name for t in self.spec.outputs), self._run(*inputs), strict=True))
        return [
            to_instances(outputs, input_size=small.shape[:2], image_size=original.shape[:2], image_index=i)
            for i, (small, original) in enumerate(zip(resized, originals, strict=True))
        ]

    def close(self) -> None:
        """Give the runtime's memory back."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, images: np.ndarray, image_sizes: np.ndarray) -> tuple[np.ndarray, ...]:
        arrays = self._runner(images, image_sizes)
        if len(arrays) != len(self.spec.outputs):
            raise ArtifactError(
                f"The model gave {len(arrays)} outputs; its manifest promises {_names(self.spec.outputs)}. "
                f"Export again."
            )
        return arrays


def _check(runner: Runner, spec: ModelSpec) -> None:
    for what, has, promised in (("inputs", runner.inputs, spec.inputs), ("outputs", runner.outputs, spec.outputs)):
        if [t.name for t in has] != [t.name for t in promised]:
            raise ArtifactError(
                f"The model has the {what} {_names(has)}; its manifest promises {_names(promised)}. Export again."
            )
    if len(spec.inputs) != INPUTS:
        raise ArtifactError(f"The model has the inputs {_names(spec.inputs)}; it must take images and image_sizes.")
    if lacking := [name for name in REQUIRED if name not in {t.name for t in spec.outputs}]:
        raise ArtifactError(
            f"The model has no output {', '.join(lacking)}, which detections are made from; it has "
            f"{_names(spec.outputs)}. A newer d2deploy may run it: pip install -U d2deploy"
        )


def _names(tensors: tuple[TensorSpec, ...]) -> str:
    return ", ".join(t.name for t in tensors) or "none"
