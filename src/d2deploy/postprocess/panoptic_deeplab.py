"""Classes, centres and offsets as one picture: Panoptic-DeepLab's own way (centers.py is the first half).

Facts: detectron2 projects/Panoptic-DeepLab/panoptic_deeplab/{post_processing,panoptic_seg}.py (02b5c4e2). C classes, K
centres, T things, H and W of the original image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from d2deploy.artifact import PanopticDeepLabRule
from d2deploy.postprocess.centers import find_centers, group_pixels
from d2deploy.postprocess.frame import Frame, Outputs
from d2deploy.postprocess.sem_seg import to_semantic
from d2deploy.results import Instances, PanopticResult, Segment, SemanticResult
from d2deploy.results.resize import resize, resize_bands

LABEL_DIVISOR = 1000  # of detectron2's panoptic data sets
VOID = -1


@dataclass(frozen=True, eq=False)
class _Things:
    """Each centre that owns a pixel."""

    centers: np.ndarray  # int64 [T]: numbers of the centres, from 1
    classes: np.ndarray  # int64 [T]
    ids: np.ndarray  # int64 [T]: values in panoptic_seg


def to_panoptic_deeplab(outputs: Outputs, rule: PanopticDeepLabRule, frame: Frame) -> PanopticResult:
    """One image's picture. `outputs`: sem_seg [N,C,h,w], center [N,1,h,w], offset [N,2,h,w] of the padded input.

    panoptic_seg is detectron2's: LABEL_DIVISOR * class, and for things plus 1, 2, ... within the class; VOID where
    nothing was found. Things and stuff are counted together, as the channels of sem_seg.
    """
    semantic = to_semantic(outputs, frame)
    heatmap, offsets = _on_image(outputs["center"], frame)[0], _on_image(outputs["offset"], frame)
    centers = find_centers(heatmap, rule)
    is_thing = np.isin(np.arange(len(semantic.logits)), rule.thing_ids)
    owners = group_pixels(offsets, centers, is_thing[semantic.labels])
    votes = _votes(semantic, owners, len(centers))
    things, instances = _things(votes), None
    areas = np.where(is_thing | (votes[0] < max(rule.stuff_area, 1)), 0, votes[0])
    if rule.predict_instances:
        things, instances = _instances(things, semantic, owners, heatmap)
    return PanopticResult(
        image_size=frame.image_size,
        panoptic_seg=_picture(things, areas, owners, semantic.labels),
        segments=(*_thing_segments(things, instances), *_stuff_segments(areas)),
        sem_seg=semantic,
        instances=instances,
    )


def _on_image(maps: np.ndarray, frame: Frame) -> np.ndarray:
    """`maps` [N,C,h,w] -> float32 [C,H,W]: the image's part, resized as sem_seg is."""
    height, width = frame.input_size
    return resize(maps[frame.index, :, :height, :width], frame.image_size)


def _votes(semantic: SemanticResult, owners: np.ndarray, centers: int) -> np.ndarray:
    """How many pixels of each class no centre (first row) and each centre owns: int64 [K+1,C]."""
    rows, columns = centers + 1, len(semantic.logits)
    pairs = owners * np.int32(columns) + semantic.labels
    return np.bincount(pairs.ravel(), minlength=rows * columns).reshape(rows, columns)


def _things(votes: np.ndarray) -> _Things:
    """By ascending number; each of the class that most of its pixels have, the lowest of equals."""
    centers = 1 + np.flatnonzero(votes[1:].any(axis=1))
    classes = votes[centers].argmax(axis=1)
    seen = np.zeros(votes.shape[1], dtype=np.int64)
    ids = classes * LABEL_DIVISOR
    for row, class_id in enumerate(classes):
        seen[class_id] += 1
        ids[row] += seen[class_id]
    return _Things(centers, classes, ids)


def _picture(things: _Things, areas: np.ndarray, owners: np.ndarray, labels: np.ndarray) -> np.ndarray:
    of_center = np.full(1 + things.centers.max(initial=0), VOID, dtype=np.int32)
    of_center[things.centers] = things.ids
    of_class = np.where(areas > 0, np.arange(len(areas)) * LABEL_DIVISOR, VOID).astype(np.int32)
    return np.where(owners > 0, of_center[owners], of_class[labels])


def _instances(
    things: _Things, semantic: SemanticResult, owners: np.ndarray, heatmap: np.ndarray
) -> tuple[_Things, Instances]:
    """The things by falling score, and as detections in the same order.

    Score: the mean probability of its class, times the heat map at the middle of its pixels.
    """
    boxes, middles = _extents(things, owners)
    scores = _mean_probabilities(things, semantic, owners) * heatmap[middles[:, 0], middles[:, 1]]
    order = np.argsort(-scores, kind="stable")
    things = replace(things, **{name: getattr(things, name)[order] for name in ("centers", "classes", "ids")})
    masks = np.zeros((len(order), *semantic.image_size), dtype=bool)
    for mask, center, (x1, y1, x2, y2) in zip(masks, things.centers, boxes[order], strict=True):
        np.equal(owners[y1:y2, x1:x2], center, out=mask[y1:y2, x1:x2])
    return things, Instances(
        image_size=semantic.image_size,
        pred_boxes=boxes[order].astype(np.float32),
        scores=scores[order],
        pred_classes=things.classes,
        pred_masks=masks,
    )


def _extents(things: _Things, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each thing's box, int64 [T,4] x1 y1 x2 y2, and the middle of its pixels, rounded down, int64 [T,2] y x."""
    if not len(things.centers):
        return np.zeros((0, 4), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    rows, columns = np.nonzero(owners)
    # numpy sorts numbers of 16 bits by radix, ten times as fast as others.
    order = np.argsort(owners[rows, columns].astype(np.min_scalar_type(owners.max())), kind="stable")
    rows, columns = rows[order], columns[order]
    areas = np.bincount(owners.ravel())[things.centers]
    starts = np.cumsum(areas) - areas
    low = [np.minimum.reduceat(axis, starts) for axis in (columns, rows)]
    high = [np.maximum.reduceat(axis, starts) + 1 for axis in (columns, rows)]
    middles = [np.add.reduceat(axis, starts) // areas for axis in (rows, columns)]
    return np.stack([*low, *high], axis=1), np.stack(middles, axis=1)


def _mean_probabilities(things: _Things, semantic: SemanticResult, owners: np.ndarray) -> np.ndarray:
    """The mean of each thing's class, after a softmax over all, on its pixels: float32 [T]."""
    class_of = np.zeros(1 + things.centers.max(initial=0), dtype=np.int64)
    class_of[things.centers] = things.classes
    sums = np.zeros(len(class_of))
    for rows, band in resize_bands(semantic.logits, semantic.image_size):
        pixels = np.flatnonzero(owners[rows])
        owner = owners[rows].ravel()[pixels]
        powers = band.reshape(len(band), -1).take(pixels, axis=1)
        powers -= powers.max(axis=0, initial=-np.inf)
        np.exp(powers, out=powers)
        probability = powers[class_of[owner], np.arange(len(owner))] / powers.sum(axis=0)
        sums += np.bincount(owner, probability, minlength=len(sums))
    areas = np.bincount(owners.ravel(), minlength=len(sums))
    return (sums[things.centers] / areas[things.centers]).astype(np.float32)


def _thing_segments(things: _Things, instances: Instances | None) -> Iterator[Segment]:
    for row, (id, class_id) in enumerate(zip(things.ids.tolist(), things.classes.tolist(), strict=True)):
        score, instance = (None, None) if instances is None else (float(instances.scores[row]), row)
        yield Segment(id=id, is_thing=True, category_id=class_id, score=score, instance_id=instance)


def _stuff_segments(areas: np.ndarray) -> Iterator[Segment]:
    for class_id in np.flatnonzero(areas).tolist():
        yield Segment(id=class_id * LABEL_DIVISOR, is_thing=False, category_id=class_id, area=int(areas[class_id]))
