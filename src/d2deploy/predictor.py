"""Image in, result out, whatever runs the model."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.errors import ArtifactError, ImageError
from d2deploy.image import ImageFile, resize_shortest_edge, to_array, to_batch
from d2deploy.postprocess import FINISHED, KINDS, Frame, find_kind, to_ragged, to_result
from d2deploy.results import Result
from d2deploy.runner import Runner, Source, open_runner, to_source

IMAGES = ("images", "image_sizes")
PROPOSALS = ("proposal_boxes", "num_proposals")
ORIGINAL_SIZES = ("original_sizes",)  # where post-processing is inside
IMAGE = ("image",)  # where resizing is inside


class Predictor:
    """Runs a model on images.

        with Predictor("out/onnx") as predictor:
            instances = predictor("street.jpg")

    What comes back is the model's kind of result: Instances, Proposals, SemanticResult or PanopticResult.
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

    @property
    def takes_proposals(self) -> bool:
        """Whether boxes must be given with each image (Fast R-CNN)."""
        return any(tensor.name == PROPOSALS[0] for tensor in self.spec.inputs)

    @property
    def takes_batches(self) -> bool:
        """Whether several images can run as one batch: not where resizing is inside, or the first axis is fixed."""
        return not self.spec.includes_preprocess and self.spec.inputs[0].shape[0] != 1

    def __call__(self, image: ImageFile | np.ndarray, *, proposals: np.ndarray | None = None) -> Result:
        """What the model finds on one image: a file, or an array uint8 [H,W,3] in BGR.

        `proposals`: for a model that takes them, boxes [P,4] x1 y1 x2 y2 in pixels of this image, best first.
        Raises ImageError.
        """
        return self.batch([image], proposals=None if proposals is None else [proposals])[0]

    def batch(
        self,
        images: Sequence[ImageFile | np.ndarray],
        *,
        proposals: Sequence[np.ndarray] | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ) -> list[Result]:
        """What the model finds on each image, run as one batch; in the order given.

        All are padded to the largest, so borders can differ a little from those of single runs. A model with resizing
        inside runs one by one. `proposals`: one array an image. `noise`: grey levels (of 255) of uniform noise added
        to the network's input, where that is an input, to see what a result hangs on. Raises ImageError.
        """
        if not images:
            return []
        originals = [to_array(image) for image in images]
        if self.spec.includes_preprocess:
            self._proposals(proposals, ())
            return [self._on_pixels(original) for original in originals]
        rule = self.spec.preprocess
        resized = [resize_shortest_edge(o, min_size=rule.min_size, max_size=rule.max_size) for o in originals]
        inputs = to_batch(resized, channel_order=rule.channel_order, size_divisor=rule.size_divisor)
        if noise:
            shape = inputs[0].shape
            inputs[0][...] += np.random.default_rng(seed).uniform(-noise, noise, shape).astype(np.float32)
        frames = [
            Frame(input_size=small.shape[:2], image_size=original.shape[:2], index=i)
            for i, (small, original) in enumerate(zip(resized, originals, strict=True))
        ]
        sizes = [np.array([frame.image_size for frame in frames])] if self.spec.includes_postprocess else []
        outputs = to_ragged(self._run(*inputs, *self._proposals(proposals, frames), *sizes))
        return [to_result(outputs, self.spec, frame) for frame in frames]

    def _on_pixels(self, image: np.ndarray) -> Result:
        """What a model with resizing inside finds on one image uint8 [H,W,3] BGR."""
        ordered = image[:, :, ::-1] if self.spec.preprocess.channel_order == "RGB" else image
        outputs = self._run(ordered.copy(order="C"))
        size = image.shape[:2] if self.spec.includes_postprocess else tuple(outputs["image_sizes"][0].tolist())
        return to_result(outputs, self.spec, Frame(input_size=size, image_size=image.shape[:2]))

    def close(self) -> None:
        """Give the runtime's memory back."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, *inputs: np.ndarray) -> dict[str, np.ndarray]:
        arrays = self._runner(*inputs, *self._thresholds())
        if len(arrays) != len(self.spec.outputs):
            raise ArtifactError(
                f"The model gave {len(arrays)} outputs; its manifest promises {_names(self.spec.outputs)}. "
                f"Export again."
            )
        return {tensor.name: array for tensor, array in zip(self.spec.outputs, arrays, strict=True)}

    def _thresholds(self) -> tuple[np.ndarray, ...]:
        """The last inputs of a model that takes its thresholds; none for others."""
        values = self.spec.thresholds
        if values is None or not self.spec.takes_thresholds:
            return ()
        return np.array(values.score, np.float32), np.array(values.nms, np.float32)

    def _proposals(self, given: Sequence[np.ndarray] | None, frames: Sequence[Frame]) -> tuple[np.ndarray, ...]:
        """The two inputs of a model that takes proposals; none for others."""
        if self.takes_proposals != (given is not None):
            needs = "needs proposals, boxes [P,4] for each image" if self.takes_proposals else "takes no proposals"
            example = "predictor(image, proposals=boxes)" if self.takes_proposals else "predictor(image)"
            raise ImageError(f"This model ({self.spec.meta_architecture}) {needs}. Call {example}.")
        if given is None:
            return ()
        if len(given) != len(frames):
            raise ImageError(
                f"There are {len(frames)} images and proposals for {len(given)}. Give boxes for each image."
            )
        rows = [_fit(boxes, frame) for boxes, frame in zip(given, frames, strict=True)]
        counts = np.array([len(boxes) for boxes in rows], dtype=np.int64)
        padded = np.zeros((len(rows), int(counts.max()), 4), dtype=np.float32)
        for canvas, boxes in zip(padded, rows, strict=True):
            canvas[: len(boxes)] = boxes
        return padded, counts


def _fit(boxes: np.ndarray, frame: Frame) -> np.ndarray:
    """Boxes [P,4] of the original image as the network takes them: float32 [Q,4] in pixels of its input.

    Scaled, clipped, without those that have no area left: detectron2's transform_proposals (data/detection_utils.py,
    02b5c4e2). How many of them count is the network's business.
    """
    try:
        given = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError):  # words, or rows of different lengths
        given = np.zeros(0)
    if given.ndim != 2 or given.shape[1] != 4 or not np.isfinite(given).all():
        shape = list(np.shape(given)) if given.size else "no array of numbers"
        raise ImageError(f"Proposals are {shape}; they must be boxes [P,4] x1 y1 x2 y2 of finite numbers.")
    height, width = frame.input_size
    x, y = frame.scale
    clipped = np.clip(given / np.array([x, y, x, y]), 0, [width, height, width, height]).astype(np.float32)
    return clipped[(clipped[:, 2:] > clipped[:, :2]).all(axis=1)]


def _check(runner: Runner, spec: ModelSpec) -> None:
    for what, has, promised in (("inputs", runner.inputs, spec.inputs), ("outputs", runner.outputs, spec.outputs)):
        if [t.name for t in has] != [t.name for t in promised]:
            raise ArtifactError(
                f"The model has the {what} {_names(has)}; its manifest promises {_names(promised)}. Export again."
            )
    sizes = ORIGINAL_SIZES if spec.includes_postprocess else ()
    known_inputs = (IMAGE,) if spec.includes_preprocess else (IMAGES + sizes, IMAGES + PROPOSALS + sizes)
    inputs = spec.inputs[:-2] if spec.takes_thresholds else spec.inputs
    if tuple(t.name for t in inputs) not in known_inputs:
        raise ArtifactError(
            f"The model has the inputs {_names(spec.inputs)}; it must take "
            f"{' or '.join(map(', '.join, known_inputs))}. A newer d2deploy may run it: pip install -U d2deploy"
        )
    if find_kind(spec) is None:
        known = "; ".join(", ".join(kind.outputs) for kind in (FINISHED if spec.includes_postprocess else KINDS))
        raise ArtifactError(
            f"The model has the outputs {_names(spec.outputs)}, which make no result that is known. Results are made "
            f"of: {known}. A newer d2deploy may run it: pip install -U d2deploy"
        )


def _names(tensors: tuple[TensorSpec, ...]) -> str:
    return ", ".join(t.name for t in tensors) or "none"
