"""Boxes on their image: detections, upright or rotated, with masks, keypoints and surfaces, and proposals."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from d2deploy.draw.canvas import INK, Canvas, Rectangle, colour_of
from d2deploy.draw.surfaces import tint_surface
from d2deploy.results import Instances, Proposals, corners

SHOWN = 50  # proposals


def draw_instances(
    image_bgr: np.ndarray, instances: Instances, class_names: Sequence[str] = (), *, min_score: float = 0.5
) -> Image.Image:
    """An RGB picture of the image with its detections of at least `min_score`: masks, surfaces, boxes, labels.

    `image_bgr` uint8 [H,W,3]; `class_names` may be empty: numbers are shown. Small images are enlarged by a whole
    factor, so that the labels can be read beside the objects; all others keep their size.
    """
    shown = instances[instances.scores >= min_score]
    canvas = Canvas.on(image_bgr)
    order = np.argsort(-_areas(shown.pred_boxes), kind="stable").tolist()  # small objects above large ones
    colours = [colour_of(class_id) for class_id in shown.pred_classes.tolist()]
    if shown.pred_masks is not None:
        for i in order:
            canvas.tint(shown.pred_masks[i], colours[i])
    if shown.pred_densepose is not None:
        for i in order:
            tint_surface(canvas, shown.pred_densepose[i])
    picture = Image.fromarray(canvas.pixels)
    pen = ImageDraw.Draw(picture)
    for i in order:
        _outline(pen, shown.pred_boxes[i] * _factors(shown.pred_boxes, canvas.factor), colours[i], canvas.style.line)
    if shown.pred_keypoints is not None:
        _dots(pen, shown, canvas)
    boxes = _around(shown.pred_boxes) * canvas.factor
    for i, class_id in enumerate(shown.pred_classes.tolist()):
        name = class_names[class_id] if class_names else str(class_id)
        canvas.label(pen, f"{name} {shown.scores[i]:.0%}", tuple(boxes[i].tolist()), colours[i])
    return picture


def draw_proposals(image_bgr: np.ndarray, proposals: Proposals, *, count: int = SHOWN) -> Image.Image:
    """An RGB picture of the image with its best `count` proposals as thin boxes, each in a colour of its own."""
    canvas = Canvas.on(image_bgr)
    picture = Image.fromarray(canvas.pixels)
    pen = ImageDraw.Draw(picture)
    boxes = proposals.proposal_boxes[np.argsort(-proposals.objectness_logits, kind="stable")[:count]]
    for i, box in reversed(list(enumerate(boxes * _factors(boxes, canvas.factor)))):  # the best above all others
        _outline(pen, box, colour_of(i), max(1, canvas.style.line // 2))
    return picture


def _dots(pen: ImageDraw.ImageDraw, shown: Instances, canvas: Canvas) -> None:
    """A dot on each keypoint whose score is above 0.05, as detectron2's visualizer draws them."""
    assert shown.pred_keypoints is not None
    radius = 1.5 * canvas.style.line
    for points, class_id in zip(shown.pred_keypoints.tolist(), shown.pred_classes.tolist(), strict=True):
        for x, y, score in points:
            if score > 0.05:
                pen.circle((x * canvas.factor, y * canvas.factor), radius, fill=colour_of(class_id), outline=INK)


def _areas(boxes: np.ndarray) -> np.ndarray:
    sides = boxes[:, 2:4] if boxes.shape[1] == 5 else boxes[:, 2:] - boxes[:, :2]
    areas: np.ndarray = sides.prod(axis=1)
    return areas


def _factors(boxes: np.ndarray, factor: int) -> np.ndarray:
    """What enlarges each column of boxes: all but an angle."""
    return np.array([factor] * 4 + [1] * (boxes.shape[1] - 4))


def _around(boxes: np.ndarray) -> np.ndarray:
    """Upright boxes [N,4] around boxes [N,4] or rotated ones [N,5]."""
    if boxes.shape[1] == 4:
        return boxes
    points = corners(boxes)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def _outline(pen: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    if len(box) == 5:
        points = [tuple(point) for point in corners(box[None])[0].tolist()]
        pen.line([*points, *points[:2]], fill=colour, width=width, joint="curve")
        return
    pen.rectangle(_whole(tuple(box.tolist())), outline=colour, width=width)


def _whole(box: Rectangle) -> Rectangle:
    x1, y1, x2, y2 = (round(edge) for edge in box)
    return x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)
