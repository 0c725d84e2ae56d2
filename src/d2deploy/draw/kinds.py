"""Which drawing a result gets: one table."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from d2deploy.draw.objects import draw_instances, draw_proposals
from d2deploy.draw.regions import draw_panoptic, draw_semantic
from d2deploy.results import Instances, PanopticResult, Proposals, Result, SemanticResult


def draw_result(
    image_bgr: np.ndarray,
    result: Result,
    *,
    class_names: Sequence[str] = (),
    sem_seg_names: Sequence[str] = (),
    min_score: float = 0.5,
) -> Image.Image:
    """An RGB picture of the image with what was found on it, whatever kind of result that is.

    `image_bgr` uint8 [H,W,3]; names may be empty: numbers are shown. `min_score` is for detections.
    """
    names = {"class_names": class_names, "sem_seg_names": sem_seg_names, "min_score": min_score}
    return _DRAWN[type(result)](image_bgr, result, names)


_DRAWN: dict[type, Callable[[np.ndarray, Any, dict[str, Any]], Image.Image]] = {
    Instances: lambda image, result, of: draw_instances(image, result, of["class_names"], min_score=of["min_score"]),
    PanopticResult: lambda image, result, of: draw_panoptic(image, result, of["class_names"], of["sem_seg_names"]),
    Proposals: lambda image, result, of: draw_proposals(image, result),
    SemanticResult: lambda image, result, of: draw_semantic(image, result, of["sem_seg_names"]),
}
