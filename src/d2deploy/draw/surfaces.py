"""The surface of bodies in colours: each part, or each stretch of a mesh's vertices, has its own."""

import colorsys

import numpy as np

from d2deploy.draw.canvas import Canvas, colour_of
from d2deploy.results import DensePose, DensePoseChart

OPACITY = 0.6
_HUES = 64  # told apart along the list of a mesh's vertices


def tint_surface(canvas: Canvas, found: DensePose) -> None:
    """Lay its colours over the pixels of one body."""
    canvas.blend(found.x, found.y, _colours(found), found.surface > 0, opacity=OPACITY)


def _colours(found: DensePose) -> np.ndarray:
    """uint8 [h,w,3]; what is not on the body has any colour."""
    if isinstance(found, DensePoseChart):
        table = np.array([colour_of(part) for part in range(int(found.labels.max(initial=0)) + 1)], dtype=np.uint8)
        return table[found.labels]
    hues = [colorsys.hsv_to_rgb(i / _HUES, 0.8, 0.95) for i in range(_HUES)]
    table = (np.array(hues) * 255).round().astype(np.uint8)
    vertices = found.vertices.clip(min=0)
    return table[vertices * _HUES // (int(vertices.max(initial=0)) + 1)]
