"""Boxes and arrows as SVG: rows from above, arrows over several rows on lanes beside the boxes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDE, _NARROW, _HEIGHT, _GAP_X, _GAP_Y = 290, 190, 84, 36, 48
_MARGIN, _LANE, _LETTER = 20, 16, 5.6  # pixels; the width of a letter of a label on average
_STEP = 14  # between the ends of lines at one box


@dataclass(frozen=True, kw_only=True)
class Box:
    """One box."""

    title: str
    lines: Sequence[str]
    colour: str
    level: int  # its row
    is_wide: bool

    @property
    def width(self) -> int:
        """Pixels."""
        return _WIDE if self.is_wide else _NARROW


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """From one box to another in a lower row, by their numbers."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class _Spot:
    """Where a box is: its middle, and its upper border."""

    x: float
    y: float
    half: float  # of its width


def picture(boxes: Sequence[Box], arrows: Sequence[Arrow], *, caption: Sequence[str]) -> str:
    """All of it as the text of an SVG file."""
    top = 30 + 18 * len(caption)
    spots = _spots(boxes, arrows, top)
    long = [arrow for arrow in arrows if boxes[arrow.end].level - boxes[arrow.start].level > 1]
    short = [arrow for arrow in arrows if arrow not in long]
    lanes = _lanes(boxes, spots, short, long)
    heights = _heights(long)
    arriving = Counter(arrow.end for arrow in short)
    lines = [_down(spots, arrow, is_shared=arriving[arrow.end] > 1) for arrow in short]
    lines += [_beside(spots, arrow, lanes[i], heights[i]) for i, arrow in enumerate(long)]
    rights = [spot.x + spot.half for spot in spots] + lanes + [_label_end(spots, a) for a in short]
    rights += [_MARGIN + 6.6 * len(line) for line in caption]
    width, height = max(rights) + _MARGIN, max(spot.y for spot in spots) + _HEIGHT + _MARGIN
    said = [_text(_MARGIN, 26 + 18 * row, line, size=12 - row) for row, line in enumerate(caption)]
    drawn = [_box(box, spot) for box, spot in zip(boxes, spots)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif">\n<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" '
        f'markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#667"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join([*said, *lines, *drawn]) + "\n</svg>\n"
    )


def _spots(boxes: Sequence[Box], arrows: Sequence[Arrow], top: float) -> list[_Spot]:
    """Each box as near as can be below what it reads from; those of the first row side by side."""
    rows: dict[int, list[int]] = {}
    for number, box in enumerate(boxes):
        rows.setdefault(box.level, []).append(number)
    middles: dict[int, float] = {}
    for _, row in sorted(rows.items()):
        wanted = {number: _wanted(number, boxes, arrows, middles) for number in row}
        row.sort(key=lambda number: (boxes[number].is_wide, wanted[number]))  # the net's outputs on the left
        middles |= _side_by_side(row, boxes, wanted)
    left = min(x - boxes[number].width / 2 for number, x in middles.items())
    step = _HEIGHT + _GAP_Y
    return [
        _Spot(middles[number] - left + _MARGIN, top + box.level * step, box.width / 2)
        for number, box in enumerate(boxes)
    ]


def _wanted(number: int, boxes: Sequence[Box], arrows: Sequence[Arrow], middles: dict[int, float]) -> float:
    """Below what it reads from in the row above."""
    last = boxes[number].level - 1
    above = [middles[arrow.start] for arrow in arrows if arrow.end == number and boxes[arrow.start].level == last]
    return sum(above) / len(above) if above else 0.0


def _side_by_side(row: list[int], boxes: Sequence[Box], wanted: dict[int, float]) -> dict[int, float]:
    """Middles of the boxes of a row: where they want to be, moved apart; only what reads from nothing is not moved."""
    xs: list[float] = []
    for place, number in enumerate(row):
        least = xs[-1] + (boxes[row[place - 1]].width + boxes[number].width) / 2 + _GAP_X if xs else wanted[number]
        xs.append(max(wanted[number], least))
    moved = sum(wanted.values()) / len(row) - sum(xs) / len(row) if boxes[row[0]].level else 0.0
    return {number: x + moved for number, x in zip(row, xs)}


def _lanes(boxes: Sequence[Box], spots: Sequence[_Spot], short: Sequence[Arrow], long: Sequence[Arrow]) -> list[float]:
    """The x of each long arrow's lane: right of all that is in the rows that it passes; the shortest innermost."""
    taken: list[tuple[int, int, float]] = []
    lanes = [0.0] * len(long)
    for i in sorted(range(len(long)), key=lambda i: boxes[long[i].end].level - boxes[long[i].start].level):
        first, last = boxes[long[i].start].level, boxes[long[i].end].level
        passed = [spot.x + spot.half for box, spot in zip(boxes, spots) if first <= box.level <= last]
        passed += [_label_end(spots, arrow) for arrow in short if first <= boxes[arrow.start].level < last]
        arriving = [_LETTER * len(arrow.label) for arrow in long if arrow.end == long[i].end]
        inner = [x + _LANE for low, high, x in taken if low <= last and first <= high]
        lanes[i] = max(max(passed) + 30, spots[long[i].end].x + spots[long[i].end].half + max(arriving) + 30, *inner, 0)
        taken.append((first, last, lanes[i]))
    return lanes


def _label_end(spots: Sequence[_Spot], arrow: Arrow) -> float:
    return spots[arrow.end].x + 8 + _LETTER * len(arrow.label)


def _heights(long: Sequence[Arrow]) -> list[tuple[int, int]]:
    """How far below the upper border of its boxes each line leaves and arrives: no two at the same height."""
    taken: Counter[int] = Counter()
    heights = []
    for arrow in long:
        ends = []
        for number in (arrow.start, arrow.end):
            taken[number] += 1
            ends.append(min(_STEP * taken[number] + 4, _HEIGHT - 4))
        heights.append((ends[0], ends[1]))
    return heights


def _down(spots: Sequence[_Spot], arrow: Arrow, *, is_shared: bool) -> str:
    """To the next row. is_shared: others arrive there, too; what comes from the left is labelled on the left then."""
    start, end = spots[arrow.start], spots[arrow.end]
    top, bend = start.y + _HEIGHT, _GAP_Y / 2
    path = f"M{start.x:g} {top:g} C{start.x:g} {top + bend:g} {end.x:g} {end.y - bend:g} {end.x:g} {end.y:g}"
    side = -1 if is_shared and start.x < end.x else 1
    return _line(path) + _label(end.x + 8 * side, end.y - 12, arrow.label, anchor="start" if side > 0 else "end")


def _beside(spots: Sequence[_Spot], arrow: Arrow, lane: float, heights: tuple[int, int]) -> str:
    """Further down, on a lane of its own."""
    start, end = spots[arrow.start], spots[arrow.end]
    leaves, arrives = start.y + heights[0], end.y + heights[1]
    path = f"M{start.x + start.half:g} {leaves:g} H{lane:g} V{arrives:g} H{end.x + end.half:g}"
    return _line(path) + _label(end.x + end.half + 12, arrives - 3, arrow.label)


def _line(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="#889" marker-end="url(#tip)"/>'


def _label(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    """Text that lines may cross: white behind its letters. As two texts, for not every viewer knows paint-order."""
    if not text:
        return ""
    start = f'<text x="{x:g}" y="{y:g}" font-size="10" text-anchor="{anchor}"'
    return (
        f'{start} fill="white" stroke="white" stroke-width="3">{escape(text)}</text>'
        f'{start} fill="#445">{escape(text)}</text>'
    )


def _text(x: float, y: float, text: str, *, size: int, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="#223"{style}>{escape(text)}</text>'


def _box(box: Box, spot: _Spot) -> str:
    middle = ' text-anchor="middle"'
    texts = [_text(spot.x, spot.y + 22, box.title, size=12, style=f'{middle} font-weight="bold"')]
    texts += [_text(spot.x, spot.y + 41 + 16 * row, line, size=11, style=middle) for row, line in enumerate(box.lines)]
    return (
        f'<rect x="{spot.x - spot.half:g}" y="{spot.y:g}" width="{box.width}" height="{_HEIGHT}" rx="8" '
        f'fill="{box.colour}" stroke="#556"/>' + "".join(texts)
    )
