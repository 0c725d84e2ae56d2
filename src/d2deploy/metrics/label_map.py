"""Annotations that hold a number for each pixel."""

from pathlib import Path

import numpy as np
from PIL import Image

from d2deploy.errors import DatasetError


def read_labels(file: str | Path) -> np.ndarray:
    """The class numbers in an annotation's PNG: int64 [H,W], its values as they stand, of a palette the indices.

    Raises DatasetError: missing, no image, or a picture in colours.
    """
    try:
        with Image.open(file) as image:
            labels = np.array(image)
            mode = image.mode
    except Exception as error:  # damaged files make Pillow's readers raise almost anything
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise DatasetError(f"{file} cannot be read as an annotation: {reason}. Check the file.") from error
    if labels.ndim != 2 or labels.dtype.kind not in "uib":
        raise DatasetError(
            f"{file} is a picture in colours (mode {mode}); an annotation has one number a pixel. Give the PNGs that "
            f"hold class numbers."
        )
    return labels.astype(np.int64)


def check_same_size(truth: np.ndarray, result: np.ndarray) -> None:
    """Raises DatasetError unless the annotation and the result, both [H,W], are of one size."""
    if truth.shape != result.shape:
        (height, width), (true_height, true_width) = result.shape, truth.shape
        raise DatasetError(
            f"The annotation has {true_width} x {true_height} pixels, the image {width} x {height}. "
            f"Give the images that were annotated."
        )
