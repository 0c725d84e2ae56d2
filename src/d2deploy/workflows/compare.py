"""One image's two results, compared: one function for each kind of result, all in pixels of the original image."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from d2deploy.artifact import ModelSpec
from d2deploy.results import Instances, PanopticResult, Proposals, Result, Segment, SemanticResult, corners
from d2deploy.workflows.matching import match, match_segments
from d2deploy.workflows.report import Budget, Row
from d2deploy.workflows.surface import surface_difference

_NOT_FINITE = "numbers that are not finite"
_MORE_IMAGES = "Give images with objects that the model knows: --sample-image for export, --images for verify."


class _Kind(NamedTuple):
    compare: Callable[[Any, Any, ModelSpec, Budget], dict[str, Any]]  # -> fields of Row
    nothing: str  # what is wrong where no image had a pair


def compare(name: str, a: Result, b: Result, *, spec: ModelSpec, budget: Budget) -> Row:
    """One image's row: a is the source's result, b the export's."""
    if _form(a) != _form(b):
        fault = f"the source gives {_form(a)}, the export {_form(b)}"
        return Row(image=name, size=a.image_size, source=0, export=0, pairs=0, unmatched=0, excused=0, faults=(fault,))
    return Row(image=name, size=a.image_size, **_KINDS[type(a)].compare(a, b, spec, budget))


def _form(result: Result) -> str:
    """What can be compared with each other, in words."""
    boxes = getattr(result, "pred_boxes", getattr(result, "proposal_boxes", None))
    return type(result).__name__ + (" with rotated boxes" if boxes is not None and boxes.shape[1] == 5 else "")


def nothing_compared(kind: type) -> str:
    """What is wrong with a comparison of results of that type in which no image had a pair."""
    return f"nothing was compared: {_KINDS[kind].nothing}. {_MORE_IMAGES}"


def _instances(a: Instances, b: Instances, spec: ModelSpec, budget: Budget) -> dict[str, Any]:
    matching = match(a, b)
    left, right = matching.pairs.T
    alone = np.concatenate([a.scores[matching.only_a], b.scores[matching.only_b]])
    excused = int((alone <= _cut_off(a, b, spec) + budget.threshold_margin).sum())
    masks = [_mask_iou(a, b, i, j) for i, j in matching.pairs.tolist()] if _both_have_masks(a, b) else []
    found: dict[str, Any] = {
        "boxes_px": _largest(_points(a.pred_boxes[left]), _points(b.pred_boxes[right])),
        "scores": _largest(a.scores[left], b.scores[right]),
        "mask_iou": min(masks, default=None),
        "keypoints_px": _keypoint_difference(a, b, matching.pairs),
        **_surface_differences(a, b, matching.pairs),
        "unmatched": len(alone) - excused,
    }
    faults = list(_faults(found, budget))
    if found["unmatched"]:
        faults.insert(0, f"{found['unmatched']} detections without partner")
    if not all(np.isfinite(x).all() for i in (a, b) for x in (i.pred_boxes, i.scores)):
        faults.append(_NOT_FINITE)
    for part in ("masks", "keypoints", "densepose"):
        if (getattr(a, f"pred_{part}") is None) != (getattr(b, f"pred_{part}") is None):
            faults.append(f"{part} on one side only")
    counts = {"source": len(a), "export": len(b), "pairs": len(matching.pairs)}
    return {**counts, "excused": excused, "faults": tuple(faults), **found}


def _proposals(a: Proposals, b: Proposals, spec: ModelSpec, budget: Budget) -> dict[str, Any]:
    left, right = _as_instances(a), _as_instances(b)
    matching = match(left, right)
    rows_a, rows_b = matching.pairs.T
    alone = np.concatenate([a.objectness_logits[matching.only_a], b.objectness_logits[matching.only_b]])
    # Either list ends where the best so many were taken, so its last logit is a cut-off.
    last = max((float(logits.min()) for x in (a, b) if len(logits := x.objectness_logits)), default=0.0)
    excused = int((alone <= last + budget.threshold_margin).sum())
    found: dict[str, Any] = {
        "boxes_px": _largest(_points(left.pred_boxes[rows_a]), _points(right.pred_boxes[rows_b])),
        "objectness": _largest(left.scores[rows_a], right.scores[rows_b]),
        "unmatched": len(alone) - excused,
    }
    faults = list(_faults(found, budget))
    if found["unmatched"] > budget.lost_proposals * (len(a) + len(b)):
        faults.insert(0, f"{found['unmatched']} proposals without partner")
    if not all(np.isfinite(x).all() for i in (left, right) for x in (i.pred_boxes, i.scores)):
        faults.append(_NOT_FINITE)
    counts = {"source": len(a), "export": len(b), "pairs": len(matching.pairs)}
    return {**counts, "excused": excused, "faults": tuple(faults), **found}


def _as_instances(proposals: Proposals) -> Instances:
    return Instances(
        image_size=proposals.image_size,
        pred_boxes=proposals.proposal_boxes,
        scores=proposals.objectness_logits,
        pred_classes=np.zeros(len(proposals), dtype=np.int64),
    )


def _semantic(a: SemanticResult, b: SemanticResult, spec: ModelSpec, budget: Budget) -> dict[str, Any]:
    seen = [set(np.unique(result.labels).tolist()) for result in (a, b)]
    found: dict[str, Any] = {"pixels": float((a.labels != b.labels).mean())}
    faults = list(_faults(found, budget))
    if not all(np.isfinite(result.logits).all() for result in (a, b)):
        faults.append(_NOT_FINITE)
    # One class everywhere on both sides is what a network that is broken the same way twice would say, too.
    pairs = len(seen[0] & seen[1]) if len(seen[0] | seen[1]) > 1 else 0
    counts = {"source": len(seen[0]), "export": len(seen[1]), "pairs": pairs}
    # A class that only one side has is among the pixels that differ, and counts for no more than they do.
    alone = len(seen[0] ^ seen[1])
    return {**counts, "unmatched": alone if faults else 0, "excused": 0, "faults": tuple(faults), **found}


def _panoptic(a: PanopticResult, b: PanopticResult, spec: ModelSpec, budget: Budget) -> dict[str, Any]:
    matching = match_segments(a, b)
    excused = [
        {
            segment.id
            for segment in result.segments
            if segment.id in alone and _is_at_cut_off(segment, result, spec, budget)
        }
        for result, alone in ((a, matching.only_a), (b, matching.only_b))
    ]
    pixels = matching.differing(but=(excused[0], excused[1])) / max(1, a.panoptic_seg.size)
    unmatched = len(matching.only_a - excused[0]) + len(matching.only_b - excused[1])
    detected: dict[str, Any] = {"unmatched": 0, "excused": 0, "faults": ()}
    if a.instances is not None and b.instances is not None:
        detected = _instances(a.instances, b.instances, spec, budget)
    faults = [*detected["faults"], *_faults({"pixels": pixels}, budget)]
    if unmatched:
        faults.append(f"{unmatched} segments without partner")
    if (a.instances is None) != (b.instances is None):
        faults.append("instances on one side only")
    if not all(np.isfinite(result.sem_seg.logits).all() for result in (a, b)):
        faults.append(_NOT_FINITE)
    return {
        **detected,
        "source": len(a.segments),
        "export": len(b.segments),
        "pairs": len(matching.pairs),
        "unmatched": detected["unmatched"] + unmatched,
        "excused": detected["excused"] + sum(map(len, excused)),
        "pixels": pixels,
        "faults": tuple(faults),
    }


def _is_at_cut_off(segment: Segment, result: PanopticResult, spec: ModelSpec, budget: Budget) -> bool:
    """Whether a segment is there or not by the last digits: of its score, or of its size where it is stuff."""
    rule = spec.panoptic or spec.panoptic_deeplab
    if rule is None:
        return False
    if not segment.is_thing:
        area = int(np.count_nonzero(result.panoptic_seg == segment.id))
        return abs(area - rule.stuff_area) <= budget.pixels * result.panoptic_seg.size
    if spec.panoptic is None or segment.score is None:
        return False
    return abs(segment.score - spec.panoptic.instance_score) <= budget.threshold_margin


_KINDS: dict[type, _Kind] = {
    Instances: _Kind(_instances, "no object was found in any image"),
    PanopticResult: _Kind(_panoptic, "no segment was found in any image"),
    Proposals: _Kind(_proposals, "no object was proposed in any image"),
    SemanticResult: _Kind(_semantic, "every image was of one class throughout"),
}

# Field of Row and of Budget -> what it is about, and how its values are written.
_WORDS = {
    "boxes_px": ("boxes", "{:.3g} px"),
    "scores": ("scores", "{:.3g}"),
    "objectness": ("objectness logits", "{:.3g}"),
    "keypoints_px": ("keypoints", "{:.3g} px"),
    "pixels": ("pixels", "{:.3%}"),
    "surface": ("parts of a surface", "{:.3%}"),
    "uv": ("coordinates on a surface", "{:.3g}"),
}


def _faults(found: dict[str, Any], budget: Budget) -> Iterator[str]:
    for key, (words, form) in _WORDS.items():
        value, allowed = found.get(key), getattr(budget, key)
        # Written as "not <=" so that a NaN is a fault.
        if value is not None and not value <= allowed:
            yield f"{words} differ by {form.format(value)}, allowed are {form.format(allowed)}"
    iou = found.get("mask_iou")
    if iou is not None and not iou >= budget.mask_iou:
        yield f"a mask overlaps by {iou:.3f} only, required are {budget.mask_iou:g}"


def _cut_off(a: Instances, b: Instances, spec: ModelSpec) -> float:
    if spec.thresholds is None:
        return -np.inf
    full = [i.scores.min() for i in (a, b) if 0 < spec.thresholds.max_detections <= len(i)]
    return float(max([spec.thresholds.score, *full]))


def _points(boxes: np.ndarray) -> np.ndarray:
    """What is compared of boxes: x1 y1 x2 y2, or the corners of rotated ones."""
    return corners(boxes) if boxes.shape[1] == 5 else boxes


def _largest(a: np.ndarray, b: np.ndarray) -> float | None:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) if len(a) else None


def _keypoint_difference(a: Instances, b: Instances, pairs: np.ndarray) -> float | None:
    if a.pred_keypoints is None or b.pred_keypoints is None:
        return None
    left, right = pairs.T
    return _largest(a.pred_keypoints[left, :, :2], b.pred_keypoints[right, :, :2])


def _both_have_masks(a: Instances, b: Instances) -> bool:
    return a.pred_masks is not None and b.pred_masks is not None


def _mask_iou(a: Instances, b: Instances, row: int, column: int) -> float:
    """IoU of two masks; 1 when both are empty."""
    assert a.pred_masks is not None and b.pred_masks is not None
    left, right = a.pred_masks[row], b.pred_masks[column]
    union = int(np.count_nonzero(left | right))
    return int(np.count_nonzero(left & right)) / union if union else 1.0


def _surface_differences(a: Instances, b: Instances, pairs: np.ndarray) -> dict[str, float | None]:
    """Fields of Row: the largest share of a body's pixels that differ, and how far places on the same part are."""
    if a.pred_densepose is None or b.pred_densepose is None:
        return {}
    found = [surface_difference(a.pred_densepose[i], b.pred_densepose[j]) for i, j in pairs.tolist()]
    apart = [uv for _, uv in found if uv is not None]
    return {"surface": max((share for share, _ in found), default=None), "uv": max(apart, default=None)}
