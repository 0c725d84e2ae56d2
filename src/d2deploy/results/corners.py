"""Where the corners of rotated boxes are."""

import numpy as np


def corners(boxes: np.ndarray) -> np.ndarray:
    """The corners of rotated boxes [N,5] (center x, y, width, height, degrees counter-clockwise), float64 [N,4,2].

    From the left top of the unturned box on, clockwise to the eye. An angle and the same plus 360 give the same
    corners, so that they can be compared number by number.
    """
    boxes = boxes.astype(np.float64)
    turn = np.deg2rad(boxes[:, 4])
    cosine, sine = np.cos(turn), np.sin(turn)
    # y points down: counter-clockwise to the eye is x' = x cos + y sin, y' = y cos - x sin.
    across = np.stack([cosine, -sine], axis=1) * boxes[:, 2:3] / 2
    down = np.stack([sine, cosine], axis=1) * boxes[:, 3:4] / 2
    centre = boxes[:, :2]
    return np.stack([centre - across - down, centre + across - down, centre + across + down, centre - across + down], 1)
