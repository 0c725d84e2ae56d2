"""What a model, exported or not, reaches on annotated images: AP, mIoU, panoptic quality."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from d2deploy.errors import DatasetError
from d2deploy.metrics.scores import Metrics
from d2deploy.predictor import Predictor
from d2deploy.results import Result
from d2deploy.runner import Source, to_source
from d2deploy.workflows.ground_truth import Data, Image, read_ground_truth
from d2deploy.workflows.measure import CocoMeasure, Measure, open_measures

Progress = Callable[[int, int], None]
"""Called after each image with (images done, images in all)."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The numbers, the COCO result records that AP was counted from, and the time from file to result."""

    metrics: Metrics
    results: list[dict[str, Any]]  # empty without coco_json
    seconds_per_image: float  # mean, reading the image included


def evaluate(
    source: Source | str | Path,
    *,
    progress: Progress | None = None,
    device: str = "cpu",
    **data: Unpack[Data],
) -> Evaluation:
    """Run `source` (an artifact, its folder or an eager model) over annotated images, and measure.

    `data`: image_root, and for AP coco_json, for mIoU sem_seg_root, for panoptic quality panoptic_json and
    panoptic_root; several at once measure several things in one run. `limit`: the first images by id only.

    One image at a time; of each, masks as run lengths and counts of pixels are kept, so memory does not grow with the
    data set's pixels. Contiguous class ids stand for the json's category ids in ascending order, as in detectron2.
    Mask and keypoint AP are measured when both model and annotations have masks and keypoints.

    Raises DatasetError (unreadable or lacking annotations, missing image, an image of another size, other classes
    than the model's, annotations of what the model does not find), ImageError, and what Predictor raises.
    """
    source = to_source(source)
    truth = read_ground_truth(**data)
    measures = open_measures(source.spec, truth)
    seconds = 0.0
    with Predictor(source, device=device) as predictor:
        for number, image in enumerate(truth.images, start=1):
            start = time.perf_counter()
            result = predictor(image.file)
            seconds += time.perf_counter() - start
            _add(measures, image, result)
            if progress is not None:
                progress(number, len(truth.images))
    scores = {kind: numbers for measure in measures for kind, numbers in measure.scores().items()}
    return Evaluation(
        metrics=Metrics(scores),
        results=[record for measure in measures if isinstance(measure, CocoMeasure) for record in measure.records],
        seconds_per_image=seconds / len(truth.images),
    )


def check_data(source: Source, **data: Unpack[Data]) -> None:
    """Raises, before any image is run, the DatasetError that evaluate would raise about annotations and images."""
    open_measures(source.spec, read_ground_truth(**data))


def _add(measures: list[Measure], image: Image, result: Result) -> None:
    height, width = result.image_size
    if image.size not in (None, (height, width)):
        true_height, true_width = image.size
        raise DatasetError(
            f"{image.file} has {width} x {height} pixels, its annotation says {true_width} x {true_height}. "
            f"Give the images that were annotated."
        )
    for measure in measures:
        try:
            measure.add(image, result)
        except DatasetError as error:
            raise DatasetError(f"{image.file}: {error}") from error
