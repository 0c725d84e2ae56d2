"""Detections on their image, for people to look at: Pillow."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from d2deploy.results import Instances

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]  # x1 y1 x2 y2

OPACITY = 0.45  # of masks
SMALL = 400  # pixels; images of a shorter edge below it are enlarged, or labels would cover them
LARGE = 2000  # pixels; but not beyond this longer edge
GOLDEN = 0.618034  # successive hues that far apart on the circle stay apart, however many there are
WHITE: Colour = (255, 255, 255)
INK: Colour = (24, 24, 27)
PAPER: Colour = (250, 250, 250)


def draw_instances(
    image_bgr: np.ndarray, instances: Instances, class_names: Sequence[str] = (), *, min_score: float = 0.5
) -> Image.Image:
    """An RGB picture of the image with its detections of at least `min_score`: masks, boxes, names, percentages.

    `image_bgr` uint8 [H,W,3]; `class_names` may be empty: numbers are shown. Small images are enlarged by a whole
    factor, so that the labels can be read beside the objects; all others keep their size.
    """
    shown = instances[instances.scores >= min_score]
    factor = _enlargement(*image_bgr.shape[:2])
    picture = Image.fromarray(np.ascontiguousarray(image_bgr[:, :, ::-1]))
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    style = _Style.of(picture)
    order = np.argsort(-_areas(shown.pred_boxes), kind="stable").tolist()  # small objects above large ones
    if shown.pred_masks is not None:
        picture = _with_masks(picture, shown, order, factor=factor, style=style)
    pen = ImageDraw.Draw(picture)
    boxes = [tuple(box) for box in (shown.pred_boxes * factor).tolist()]
    for i in order:
        pen.rectangle(_outline(boxes[i]), outline=colour_of(int(shown.pred_classes[i])), width=style.line)
    if shown.pred_keypoints is not None:
        _dots(pen, shown, factor=factor, style=style)
    taken: list[Rectangle] = []
    for i in range(len(shown)):
        class_id = int(shown.pred_classes[i])
        name = class_names[class_id] if class_names else str(class_id)
        text = f"{name} {shown.scores[i]:.0%}"
        _label(pen, text, boxes[i], colour=colour_of(class_id), taken=taken, style=style)
    return picture


def _dots(pen: ImageDraw.ImageDraw, shown: Instances, *, factor: int, style: "_Style") -> None:
    """A dot on each keypoint whose score is above 0.05, as detectron2's visualizer draws them."""
    assert shown.pred_keypoints is not None
    radius = 1.5 * style.line
    for points, class_id in zip(shown.pred_keypoints.tolist(), shown.pred_classes.tolist(), strict=True):
        for x, y, score in points:
            if score > 0.05:
                pen.circle((x * factor, y * factor), radius, fill=colour_of(class_id), outline=INK)


def side_by_side(left: Image.Image, right: Image.Image, titles: tuple[str, str]) -> Image.Image:
    """Two pictures on one sheet, each under its title."""
    style = _Style.of(left if left.height >= right.height else right)
    gap, bar = style.font_size, round(style.font_size * 2.4)
    columns = [_at_least(picture, title, style) for picture, title in zip((left, right), titles, strict=True)]
    sheet = Image.new("RGB", (sum(columns) + 3 * gap, max(left.height, right.height) + bar + gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    x = gap
    for picture, title, column in zip((left, right), titles, columns, strict=True):
        pen.text((x, bar / 2), title, font=style.font, fill=INK, anchor="lm")
        sheet.paste(picture, (x, bar))
        x += column + gap
    return sheet


def colour_of(class_id: int) -> Colour:
    """The colour of a class, the same in every picture."""
    saturation, value = ((0.80, 0.95), (0.65, 1.0), (0.90, 0.78))[class_id % 3]
    red, green, blue = colorsys.hsv_to_rgb((0.58 + class_id * GOLDEN) % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels that suit a picture."""

    line: int
    font_size: int
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont

    @classmethod
    def of(cls, picture: Image.Image) -> "_Style":
        edge = (picture.width * picture.height) ** 0.5
        font_size = round(min(max(11, edge / 42), 64))
        return cls(line=max(2, round(edge / 350)), font_size=font_size, font=ImageFont.load_default(font_size))


def _enlargement(height: int, width: int) -> int:
    return max(1, min(-(-SMALL // min(height, width)), LARGE // max(height, width)))


def _areas(boxes: np.ndarray) -> np.ndarray:
    areas: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _with_masks(
    picture: Image.Image, instances: Instances, order: Sequence[int], *, factor: int, style: _Style
) -> Image.Image:
    assert instances.pred_masks is not None
    canvas = np.array(picture)
    for i in order:
        colour = np.array(colour_of(int(instances.pred_classes[i])), dtype=np.float32)
        rows, columns = _extent(instances.pred_masks[i])
        mask = _enlarged(instances.pred_masks[i][rows, columns], factor)
        part = canvas[_times(rows, factor), _times(columns, factor)]
        part[mask] = (part[mask] * (1 - OPACITY) + colour * OPACITY).astype(np.uint8)
        part[_edge(mask, style.line)] = colour
    return Image.fromarray(canvas)


def _extent(mask: np.ndarray) -> tuple[slice, slice]:
    """The smallest rows and columns that hold all of a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _enlarged(mask: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1 or not mask.size:
        return mask
    size = (mask.shape[1] * factor, mask.shape[0] * factor)
    smooth = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(smooth) >= 128


def _times(pixels: slice, factor: int) -> slice:
    return slice((pixels.start or 0) * factor, pixels.stop * factor)


def _edge(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask that are less than `width` from its outside."""
    inner = np.pad(mask, 1)
    for _ in range(width):
        core = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        inner = np.pad(core, 1)
    edge: np.ndarray = mask & ~inner[1:-1, 1:-1]
    return edge


def _outline(box: Rectangle) -> Rectangle:
    x1, y1, x2, y2 = (round(edge) for edge in box)
    return x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)


def _label(
    pen: ImageDraw.ImageDraw, text: str, box: Rectangle, *, colour: Colour, taken: list[Rectangle], style: _Style
) -> None:
    pad = round(style.font_size * 0.35)
    width, height = round(pen.textlength(text, font=style.font)) + 2 * pad, style.font_size + pad
    x1, y1, x2, y2 = (round(edge) for edge in _free_place(box, width, height, size=pen.im.size, taken=taken))
    taken.append((x1, y1, x2, y2))
    pen.rounded_rectangle((x1, y1, x2 - 1, y2 - 1), radius=pad / 2, fill=colour)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    pen.text((x1 + pad, (y1 + y2) / 2), text, font=style.font, fill=INK if luminance > 140 else WHITE, anchor="lm")


def _free_place(
    box: Rectangle, width: float, height: float, *, size: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle:
    """Where a label of `width` x `height` goes: above its box, else inside, else below; the first free place."""
    x1, y1, x2, y2 = box
    wanted = [(x1, y1 - height), (x2 - width, y1 - height), (x1, y1), (x1, y2), (x1, y2 - height), (x1, (y1 + y2) / 2)]
    places = []
    for x, y in wanted:
        left, top = max(0.0, min(x, size[0] - width)), max(0.0, min(y, size[1] - height))
        places.append((left, top, left + width, top + height))
    return next((p for p in places if not any(_overlap(p, t) for t in taken)), places[0])


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _at_least(picture: Image.Image, title: str, style: _Style) -> int:
    """The width of a column: its picture's, or its title's when that is wider."""
    return max(picture.width, round(style.font.getlength(title)))
