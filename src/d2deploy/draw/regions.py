"""What every pixel is, on its image: classes, or the segments of a panoptic picture."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from d2deploy.draw.canvas import Canvas, Colour, Rectangle, colour_of, extent, shrunk
from d2deploy.results import PanopticResult, SemanticResult

OPACITY = 0.55
_STUFF = 1000  # added to a kind of stuff, so that it gets no thing's colour
_SHADES = (1.0, 0.72, 0.86, 0.6)  # of things of one kind that stand beside each other
_LABELLED = 2e-3  # share of the image; a smaller region has no room for a name
_ROOMY = 0.03  # share of the image; a smaller thing would be hidden by a name on it
_COARSE = 160  # pixels; the middle of a region is looked for on a mask no larger


class _Region(NamedTuple):
    mask: np.ndarray  # bool [H,W]
    colour: Colour
    text: str
    is_thing: bool  # outlined as thick as a box; named above it, as detections are, where it is small


def draw_semantic(image_bgr: np.ndarray, semantic: SemanticResult, sem_seg_names: Sequence[str] = ()) -> Image.Image:
    """An RGB picture of the image tinted by classes, with their names in the middle of their regions.

    `image_bgr` uint8 [H,W,3]; `sem_seg_names` may be empty: numbers are shown.
    """
    regions = [
        _Region(semantic.labels == class_id, colour_of(class_id), _name(sem_seg_names, class_id), is_thing=False)
        for class_id in np.unique(semantic.labels).tolist()
    ]
    return _drawn(image_bgr, regions)


def draw_panoptic(
    image_bgr: np.ndarray,
    panoptic: PanopticResult,
    class_names: Sequence[str] = (),
    sem_seg_names: Sequence[str] = (),
) -> Image.Image:
    """An RGB picture of the image with its segments: tinted, outlined, named, things with their scores.

    `class_names` are those of things, `sem_seg_names` those of stuff; either may be empty: numbers are shown.
    """
    seen: Counter[int] = Counter()
    regions = []
    for segment in sorted(panoptic.segments, key=lambda segment: segment.is_thing):  # things above stuff
        category_id = segment.category_id
        if segment.is_thing:
            shade = _SHADES[seen[category_id] % len(_SHADES)]
            seen[category_id] += 1
            colour = _shaded(colour_of(category_id), shade)
            text = _name(class_names, category_id)
        else:
            colour, text = colour_of(category_id + _STUFF), _name(sem_seg_names, category_id)
        text += "" if segment.score is None else f" {segment.score:.0%}"
        regions.append(_Region(panoptic.panoptic_seg == segment.id, colour, text, segment.is_thing))
    return _drawn(image_bgr, regions)


def _drawn(image_bgr: np.ndarray, regions: Iterable[_Region]) -> Image.Image:
    canvas = Canvas.on(image_bgr)
    shown = [region for region in regions if region.mask.any()]
    for region in shown:
        canvas.tint(region.mask, region.colour, opacity=OPACITY, line=None if region.is_thing else 1)
    picture = Image.fromarray(canvas.pixels)
    pen = ImageDraw.Draw(picture)
    for region in sorted(shown, key=lambda region: -np.count_nonzero(region.mask)):
        if region.mask.mean() >= _LABELLED:
            inside = not region.is_thing or region.mask.mean() >= _ROOMY
            box = (_middle if inside else _around)(region.mask, canvas.factor)
            canvas.label(pen, region.text, box, region.colour, inside=inside)
    return picture


def _around(mask: np.ndarray, factor: int) -> Rectangle:
    """The box around a region, in the picture's pixels."""
    rows, columns = extent(mask)
    return columns.start * factor, rows.start * factor, columns.stop * factor, rows.stop * factor


def _middle(mask: np.ndarray, factor: int) -> Rectangle:
    """The place in a region that is farthest from its outside, as a box of no size in the picture's pixels."""
    step = max(1, -(-max(mask.shape) // _COARSE))
    inner = mask[::step, ::step]
    if not inner.any():
        inner, step = mask, 1
    while (smaller := shrunk(inner)).any():
        inner = smaller
    rows, columns = np.nonzero(inner)
    middle = len(rows) // 2
    y, x = ((at[middle] + 0.5) * step * factor for at in (rows, columns))
    return float(x), float(y), float(x), float(y)


def _shaded(colour: Colour, shade: float) -> Colour:
    red, green, blue = (round(part * shade) for part in colour)
    return red, green, blue


def _name(names: Sequence[str], class_id: int) -> str:
    return names[class_id] if names else str(class_id)
