"""Semantic segmentation: IoU and accuracy of pixels, counted and named as detectron2's SemSegEvaluator does.

Without its BoundaryIoU numbers, which it, too, leaves out where OpenCV is not installed: they subtract class numbers
from each other, so they hang on the order of the classes.
"""

import math
from collections.abc import Sequence

import numpy as np

from d2deploy.errors import DatasetError
from d2deploy.metrics.label_map import check_same_size

IGNORE = 255  # detectron2's label of pixels that do not count


class SemanticIoU:
    """mIoU and its kin over images that are added one by one; what is kept is one number for each pair of classes.

    A class that no annotated pixel has is left out of the means (detectron2 evaluation/sem_seg_evaluation.py,
    02b5c4e2).
    """

    def __init__(self, class_names: Sequence[str], *, ignore_label: int = IGNORE):
        self._names = tuple(class_names)
        self._ignore_label = ignore_label
        self._pixels = np.zeros((len(class_names), len(class_names)), dtype=np.int64)  # predicted, true

    def add(self, labels: np.ndarray, truth: np.ndarray) -> None:
        """Count one image: `labels` int [H,W] predicted classes, `truth` int [H,W] annotated ones or the ignore label.

        Raises DatasetError: annotation of another size, or with a label that is no class.
        """
        check_same_size(truth, labels)
        counted = truth != self._ignore_label
        mine, true = labels[counted].astype(np.int64), truth[counted].astype(np.int64)
        classes = len(self._names)
        for what, values in (("annotation", true), ("result", mine)):
            if values.size and not 0 <= values.min() <= values.max() < classes:
                wrong = values.min() if values.min() < 0 else values.max()
                raise DatasetError(
                    f"The {what} has the label {wrong}; the model has {classes} classes, 0 to {classes - 1}, and "
                    f"{self._ignore_label} is ignored. Give annotations in the model's own class numbers."
                )
        self._pixels += np.bincount(classes * mine + true, minlength=classes**2).reshape(classes, classes)

    def result(self) -> dict[str, float]:
        """In percent: mIoU, fwIoU, IoU-<class> ..., mACC, pACC, ACC-<class> ...; NaN where nothing was annotated."""
        right = self._pixels.diagonal().astype(np.float64)
        annotated, predicted = self._pixels.sum(axis=0), self._pixels.sum(axis=1)
        occurs = annotated > 0
        iou = np.divide(right, annotated + predicted - right, out=np.full_like(right, math.nan), where=occurs)
        accuracy = np.divide(right, annotated, out=np.full_like(right, math.nan), where=occurs)
        if not occurs.any():
            means = dict.fromkeys(("mIoU", "fwIoU", "mACC", "pACC"), math.nan)
        else:
            means = {
                "mIoU": float(iou[occurs].mean()),
                "fwIoU": float((iou * annotated)[occurs].sum() / annotated.sum()),
                "mACC": float(accuracy[occurs].mean()),
                "pACC": float(right.sum() / annotated.sum()),
            }
        return {
            "mIoU": 100 * means["mIoU"],
            "fwIoU": 100 * means["fwIoU"],
            **{f"IoU-{name}": 100 * float(value) for name, value in zip(self._names, iou, strict=True)},
            "mACC": 100 * means["mACC"],
            "pACC": 100 * means["pACC"],
            **{f"ACC-{name}": 100 * float(value) for name, value in zip(self._names, accuracy, strict=True)},
        }
