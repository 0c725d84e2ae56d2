"""From each image's result and annotation to numbers: one class for each kind of annotation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from d2deploy.artifact import ModelSpec
from d2deploy.errors import DatasetError
from d2deploy.metrics.coco import evaluate_coco, has_masks
from d2deploy.metrics.label_map import read_labels
from d2deploy.metrics.panoptic import CategoryIds, PanopticQuality, joint_ids, separate_ids
from d2deploy.metrics.panoptic_annotations import PanopticAnnotations
from d2deploy.metrics.sem_seg import SemanticIoU
from d2deploy.results import Instances, PanopticResult, Result, SemanticResult, to_coco
from d2deploy.workflows.ground_truth import GroundTruth, Image

if TYPE_CHECKING:
    from pycocotools.coco import COCO

Scores = Mapping[str, Mapping[str, float]]
_TRAINED_FOR = "Evaluate on the data set that the model was trained for."


class Measure(Protocol):
    """Images are added one by one; what is kept of each does not grow with its size."""

    def add(self, image: Image, result: Result) -> None:
        """Count what was found on `image`. Raises DatasetError: an annotation that does not fit."""

    def scores(self) -> Scores:
        """Kind of result -> its numbers, as in Metrics."""


def measurable(spec: ModelSpec) -> list[str]:
    """The annotations that the model's results can be measured on: coco_json, panoptic_json, sem_seg_root."""
    outputs = {tensor.name for tensor in spec.outputs}
    fits = {
        "coco_json": "boxes" in outputs,
        "panoptic_json": spec.panoptic is not None or spec.panoptic_deeplab is not None,
        "sem_seg_root": "sem_seg" in outputs,
    }
    return [name for name, does in fits.items() if does]


def open_measures(spec: ModelSpec, truth: GroundTruth) -> list[Measure]:
    """One for each kind of annotations that was given.

    Raises DatasetError for annotations of what the model does not find, or of other classes than its own, and for a
    model that needs more than images.
    """
    if any(tensor.name == "proposal_boxes" for tensor in spec.inputs):
        raise DatasetError(
            f"The model, a {spec.meta_architecture}, needs proposals with each image, which evaluate does not read. "
            f"Give a model that finds them itself, or run this one by Predictor."
        )
    has_labels = truth.images[0].sem_seg is not None
    given = {
        "coco_json": truth.coco is not None,
        "panoptic_json": truth.panoptic is not None,
        "sem_seg_root": has_labels,
    }
    if useless := [name for name, is_given in given.items() if is_given and name not in measurable(spec)]:
        raise DatasetError(
            f"The model, a {spec.meta_architecture}, finds nothing that can be measured on "
            f"--{useless[0].replace('_', '-')}. Leave that out, or give another model."
        )
    measures: list[Measure] = []
    if truth.coco is not None:
        measures.append(CocoMeasure(spec, truth.coco, truth))
    if has_labels:
        measures.append(SemSegMeasure(_sem_seg_names(spec, truth.panoptic)))
    if truth.panoptic is not None:
        measures.append(PanopticMeasure(spec, truth.panoptic))
    return measures


class CocoMeasure:
    """Box AP; mask and keypoint AP where both model and annotations have such."""

    def __init__(self, spec: ModelSpec, coco: "COCO", truth: GroundTruth):
        self.records: list[dict[str, Any]] = []
        self._coco = coco
        self._image_ids = [image.id for image in truth.images]
        self._category_ids = sorted(coco.getCatIds())
        self._keypoint_sigmas = spec.keypoint_sigmas
        if spec.num_classes != len(self._category_ids):
            raise DatasetError(
                f"The model has {spec.num_classes} classes, {truth.coco_json} has {len(self._category_ids)} "
                f"categories. {_TRAINED_FOR}"
            )
        outputs = {tensor.name: tensor for tensor in spec.outputs}
        if outputs["boxes"].shape[-1] == 5:
            raise DatasetError("The model finds rotated boxes, for which there is no COCO AP here. Use verify instead.")
        self._kinds = ["bbox"]
        if has_masks(coco) and not outputs.keys().isdisjoint(("mask_probs", "masks")):
            self._kinds.append("segm")
        has_keypoints = not outputs.keys().isdisjoint(("keypoint_heatmaps", "keypoints"))
        if has_keypoints and any(row.get("keypoints") for row in coco.dataset["annotations"]):
            self._kinds.append("keypoints")

    def add(self, image: Image, result: Result) -> None:
        """Keep the detections, their masks as run lengths."""
        if isinstance(result, Instances | PanopticResult):
            self.records += to_coco(result, image_id=image.id, category_ids=self._category_ids)

    def scores(self) -> Scores:
        """AP of all detections kept."""
        return evaluate_coco(
            self.records,
            self._coco,
            iou_types=self._kinds,
            image_ids=self._image_ids,
            keypoint_sigmas=self._keypoint_sigmas,
        ).scores


class SemSegMeasure:
    """mIoU and accuracy of pixels."""

    def __init__(self, names: tuple[str, ...]):
        self._names = names
        self._counter: SemanticIoU | None = None

    def add(self, image: Image, result: Result) -> None:
        """Count the pixels of each pair of classes."""
        semantic = result.sem_seg if isinstance(result, PanopticResult) else result
        if isinstance(semantic, SemanticResult) and image.sem_seg is not None:
            channels = len(semantic.logits)
            if self._counter is None:
                names = self._names if len(self._names) == channels else tuple(map(str, range(channels)))
                self._counter = SemanticIoU(names)
            self._counter.add(semantic.labels, read_labels(image.sem_seg))

    def scores(self) -> Scores:
        """Of all pixels counted."""
        return {"sem_seg": self._counter.result() if self._counter else {}}


class PanopticMeasure:
    """Panoptic quality."""

    def __init__(self, spec: ModelSpec, annotations: PanopticAnnotations):
        self._annotations = annotations
        ids = _category_ids(spec, annotations)
        self._counter = PanopticQuality(annotations.categories, ids)

    def add(self, image: Image, result: Result) -> None:
        """Match the segments of one image."""
        if isinstance(result, PanopticResult):
            self._counter.add(result.panoptic_seg, result.segments, self._annotations.truth(image.id))

    def scores(self) -> Scores:
        """Of all segments counted."""
        return {"panoptic_seg": self._counter.result()}


def _category_ids(spec: ModelSpec, annotations: PanopticAnnotations) -> CategoryIds:
    """The data set's ids of the model's classes. Raises DatasetError when they are not as many."""
    channels = next(tensor.shape[1] for tensor in spec.outputs if tensor.name == "sem_seg")
    if spec.panoptic_deeplab is not None:
        ids = joint_ids(annotations.categories)
        things = set(spec.panoptic_deeplab.thing_ids)
        wanted = {(i in things, i) for i in range(int(channels))}
    else:
        ids = separate_ids(annotations.categories)
        wanted = {(True, i) for i in range(spec.num_classes)} | {(False, i) for i in range(1, int(channels))}
    if wanted != ids.keys():
        counts = [(sum(is_thing for is_thing, _ in keys), len(keys)) for keys in (wanted, ids.keys())]
        (things_here, all_here), (things_there, all_there) = counts
        raise DatasetError(
            f"The model tells {all_here} classes apart, {things_here} of them things; {annotations.path} has "
            f"{all_there} categories, {things_there} of them things, or in another order. {_TRAINED_FOR}"
        )
    return ids


def _sem_seg_names(spec: ModelSpec, panoptic: PanopticAnnotations | None) -> tuple[str, ...]:
    """Names of the channels of sem_seg: the model's own, or else those of the panoptic annotations."""
    if spec.sem_seg_names or panoptic is None:
        return spec.sem_seg_names
    if spec.panoptic_deeplab is not None:
        return tuple(category.name for category in panoptic.categories)
    return ("things", *(category.name for category in panoptic.categories if not category.is_thing))
