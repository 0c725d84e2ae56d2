"""Instances and semantic labels as one picture: Panoptic FPN's merge."""

from collections.abc import Iterator

import numpy as np

from d2deploy.artifact import PanopticRule
from d2deploy.results import Instances, Segment

_THINGS = 0  # the label that means: a thing, whichever


def merge(instances: Instances, labels: np.ndarray, rule: PanopticRule) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """panoptic_seg int32 [H,W] and its segments, from instances with masks and `labels` int [H,W].

    detectron2 modeling/meta_arch/panoptic_fpn.py (02b5c4e2): instances by falling score, down to the rule's, each with
    the pixels that are still free, unless more than the rule's share of it is taken; then the kinds of stuff by their
    labels, each with what is left of it, unless that is too small. Ids count from 1; what nobody took is 0.
    """
    picture = np.zeros(labels.shape, dtype=np.int32)
    segments = [*_things(picture, instances, rule)]
    segments += _stuff(picture, labels, rule, first_id=len(segments) + 1)
    return picture, tuple(segments)


def _things(picture: np.ndarray, instances: Instances, rule: PanopticRule) -> Iterator[Segment]:
    """The instances that count, drawn into `picture`."""
    assert instances.pred_masks is not None
    next_id = 1
    for row in np.argsort(-instances.scores, kind="stable").tolist():
        score, mask = float(instances.scores[row]), instances.pred_masks[row]
        if score < rule.instance_score:
            return
        area = int(np.count_nonzero(mask))
        free = mask & (picture == 0)
        taken = area - int(np.count_nonzero(free))
        if area == 0 or taken / area > rule.overlap:
            continue
        picture[free] = next_id
        category_id = int(instances.pred_classes[row])
        yield Segment(id=next_id, is_thing=True, category_id=category_id, score=score, instance_id=row)
        next_id += 1


def _stuff(picture: np.ndarray, labels: np.ndarray, rule: PanopticRule, *, first_id: int) -> Iterator[Segment]:
    """The kinds of stuff that are large enough, drawn into `picture`."""
    next_id = first_id
    for label in np.unique(labels).tolist():
        if label == _THINGS:
            continue
        free = (labels == label) & (picture == 0)
        area = int(np.count_nonzero(free))
        if area < rule.stuff_area:
            continue
        picture[free] = next_id
        yield Segment(id=next_id, is_thing=False, category_id=label, area=area)
        next_id += 1
