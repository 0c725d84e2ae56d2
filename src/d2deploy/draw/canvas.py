"""What every drawing is made of: the enlarged image, colours, sizes that suit it, tinted pixels, labels."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]  # x1 y1 x2 y2

OPACITY = 0.45  # of what is tinted
SMALL = 400  # pixels; images of a shorter edge below it are enlarged, or labels would cover them
LARGE = 2000  # pixels; but not beyond this longer edge
GOLDEN = 0.618034  # successive hues that far apart on the circle stay apart, however many there are
WHITE: Colour = (255, 255, 255)
INK: Colour = (24, 24, 27)
PAPER: Colour = (250, 250, 250)


def colour_of(class_id: int) -> Colour:
    """The colour of a class, the same in every picture."""
    saturation, value = ((0.80, 0.95), (0.65, 1.0), (0.90, 0.78))[class_id % 3]
    red, green, blue = colorsys.hsv_to_rgb((0.58 + class_id * GOLDEN) % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True)
class Style:
    """Sizes in pixels that suit a picture."""

    line: int
    font_size: int
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont

    @classmethod
    def of(cls, picture: Image.Image) -> "Style":
        """The sizes for `picture`."""
        edge = (picture.width * picture.height) ** 0.5
        font_size = round(min(max(11, edge / 42), 64))
        return cls(line=max(2, round(edge / 350)), font_size=font_size, font=ImageFont.load_default(font_size))


@dataclass(frozen=True)
class Canvas:
    """An image to draw on: RGB, enlarged by a whole factor when it is small, so that labels can be read beside objects.

    Masks are of the image's size; everything else is in the picture's pixels.
    """

    pixels: np.ndarray  # uint8 [H*factor,W*factor,3]
    factor: int
    style: Style
    taken: list[Rectangle] = field(default_factory=list)  # where labels are already

    @classmethod
    def on(cls, image_bgr: np.ndarray) -> "Canvas":
        """A canvas with a copy of `image_bgr` uint8 [H,W,3]."""
        height, width = image_bgr.shape[:2]
        factor = max(1, min(-(-SMALL // min(height, width)), LARGE // max(height, width)))
        picture = Image.fromarray(np.ascontiguousarray(image_bgr[:, :, ::-1]))
        picture = picture.resize((width * factor, height * factor), Image.Resampling.BICUBIC)
        return cls(np.array(picture), factor, Style.of(picture))

    def tint(self, mask: np.ndarray, colour: Colour, *, opacity: float = OPACITY, line: int | None = None) -> None:
        """Lay `colour` over the pixels of `mask`, bool [H,W], and wholly over those that are `line` from its border."""
        rows, columns = extent(mask)
        inside = _enlarged(mask[rows, columns], self.factor)
        part = self.pixels[_times(rows, self.factor), _times(columns, self.factor)]
        paint = np.array(colour, dtype=np.float32)
        part[inside] = (part[inside] * (1 - opacity) + paint * opacity).astype(np.uint8)
        part[_edge(inside, self.style.line if line is None else line)] = paint

    def blend(self, x: int, y: int, colours: np.ndarray, where: np.ndarray, *, opacity: float) -> None:
        """Lay `colours`, uint8 [h,w,3], over the pixels `where`, bool [h,w], of a part that begins at x, y."""
        height, width = where.shape
        rows, columns = _times(slice(y, y + height), self.factor), _times(slice(x, x + width), self.factor)
        part = self.pixels[rows, columns]
        paint, inside = (array.repeat(self.factor, axis=0).repeat(self.factor, axis=1) for array in (colours, where))
        part[inside] = (part[inside] * (1 - opacity) + paint[inside] * opacity).astype(np.uint8)

    def label(
        self, pen: ImageDraw.ImageDraw, text: str, box: Rectangle, colour: Colour, *, inside: bool = False
    ) -> None:
        """Write `text` on a ground of `colour` above `box`, or in the middle of it, where there is room."""
        pad = round(self.style.font_size * 0.35)
        width, height = round(pen.textlength(text, font=self.style.font)) + 2 * pad, self.style.font_size + pad
        wanted = _middle(box, width, height) if inside else _around(box, width, height)
        place = _free_place(wanted, (width, height), size=pen.im.size, taken=self.taken)
        x1, y1, x2, y2 = (round(edge) for edge in place)
        self.taken.append((x1, y1, x2, y2))
        pen.rounded_rectangle((x1, y1, x2 - 1, y2 - 1), radius=pad / 2, fill=colour)
        luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        pen.text(
            (x1 + pad, (y1 + y2) / 2), text, font=self.style.font, fill=INK if luminance > 140 else WHITE, anchor="lm"
        )


def side_by_side(left: Image.Image, right: Image.Image, titles: tuple[str, str]) -> Image.Image:
    """Two pictures on one sheet, each under its title."""
    style = Style.of(left if left.height >= right.height else right)
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


def _at_least(picture: Image.Image, title: str, style: Style) -> int:
    """The width of a column: its picture's, or its title's when that is wider."""
    return max(picture.width, round(style.font.getlength(title)))


def extent(mask: np.ndarray) -> tuple[slice, slice]:
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
    inner = mask
    for _ in range(width):
        inner = shrunk(inner)
    edge: np.ndarray = mask & ~inner
    return edge


def shrunk(mask: np.ndarray) -> np.ndarray:
    """A mask bool [H,W] without the pixels that have a neighbour outside it; outside the image is outside."""
    wide = np.pad(mask, 1)
    inner: np.ndarray = wide[1:-1, 1:-1] & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return inner


def _around(box: Rectangle, width: float, height: float) -> list[tuple[float, float]]:
    """Where a label of a box goes: above it, else inside, else below."""
    x1, y1, x2, y2 = box
    return [(x1, y1 - height), (x2 - width, y1 - height), (x1, y1), (x1, y2), (x1, y2 - height), (x1, (y1 + y2) / 2)]


def _middle(box: Rectangle, width: float, height: float) -> list[tuple[float, float]]:
    """Where a label of a region goes: on the middle of `box`, else a few lines above or below."""
    x, y = (box[0] + box[2] - width) / 2, (box[1] + box[3] - height) / 2
    return [(x, y + height * lines) for lines in (0, -1, 1, -2, 2, -3, 3)]


def _free_place(
    wanted: Sequence[tuple[float, float]],
    label: tuple[float, float],
    *,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """The first free of the places whose left top corners are `wanted`, moved into the picture; else the first."""
    width, height = label
    places = []
    for x, y in wanted:
        left, top = max(0.0, min(x, size[0] - width)), max(0.0, min(y, size[1] - height))
        places.append((left, top, left + width, top + height))
    return next((p for p in places if not any(_overlap(p, t) for t in taken)), places[0])


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
