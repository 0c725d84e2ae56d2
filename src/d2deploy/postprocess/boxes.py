"""Boxes from network-input pixels to those of the original image: scaled, then clipped, then without the empty ones.

The order is detectron2's (modeling/postprocessing.py, 02b5c4e2). Dropping first would keep what
clipping empties.
"""

import numpy as np

from d2deploy.postprocess.frame import Frame

_UPRIGHT = 1.0  # degrees; rotated boxes that are turned more are not clipped


def rescale_boxes(boxes: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """`boxes` [D,4] x1 y1 x2 y2 or [D,5] center, size, degrees, network-input pixels -> float32 in original pixels.

    Also which of them have an area left, bool [D]: the others are to be dropped.
    """
    if boxes.shape[1] == 5:
        rotated = _clip_rotated(_scale_rotated(boxes, frame.scale), frame.image_size)
        return rotated, (rotated[:, 2] > 0) & (rotated[:, 3] > 0)
    height, width = frame.image_size
    scale = np.array(frame.scale * 2, dtype=np.float32)
    upright = np.clip(boxes * scale, 0, np.array([width, height] * 2, dtype=np.float32)).astype(np.float32, copy=False)
    return upright, (upright[:, 2] > upright[:, 0]) & (upright[:, 3] > upright[:, 1])


def _scale_rotated(boxes: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Both sides are scaled along their own direction, and the angle is that of the scaled height.

    Where the axes scale differently a rectangle becomes a parallelogram; this is the rectangle that detectron2 takes
    for it (structures/rotated_boxes.py, RotatedBoxes.scale).
    """
    x, y = np.float32(scale[0]), np.float32(scale[1])
    turn = np.deg2rad(boxes[:, 4].astype(np.float32))
    cosine, sine = np.cos(turn), np.sin(turn)
    columns = (
        boxes[:, 0] * x,
        boxes[:, 1] * y,
        boxes[:, 2] * np.hypot(x * cosine, y * sine),
        boxes[:, 3] * np.hypot(x * sine, y * cosine),
        np.rad2deg(np.arctan2(x * sine, y * cosine)),
    )
    return np.stack(columns, axis=1).astype(np.float32, copy=False)


def _clip_rotated(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Angles to [-180, 180); boxes within a degree of upright are clipped as if they were (RotatedBoxes.clip)."""
    boxes = boxes.copy()
    boxes[:, 4] = (boxes[:, 4] + 180) % 360 - 180
    upright = np.abs(boxes[:, 4]) <= _UPRIGHT
    centre, size = boxes[upright, :2], boxes[upright, 2:4]
    edge = np.array(image_size[::-1], dtype=np.float32)
    low, high = np.clip(centre - size / 2, 0, edge), np.clip(centre + size / 2, 0, edge)
    boxes[upright, :2] = (low + high) / 2
    boxes[upright, 2:4] = np.minimum(size, high - low)  # rounding must not make it larger
    return boxes
