"""model.svg: the network for people. One box a part (a backbone stage, the pyramid, a head), shapes on the arrows."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 290, 70, 40, 44
_COLOURS = {"backbone": "#dbe9f6", "proposal_generator": "#fde7c9", "roi_heads": "#dff0d8", "head": "#dff0d8"}
_HIDDEN = ("Copy", "Cast", "Slice", "Shape", "ExpandDims", "Squeeze", "Gather", "Concat", "ConstantFill", "Range")


@dataclass
class Part:
    """Operators of one module, in the order of the net."""

    title: str
    operators: Counter[str] = field(default_factory=Counter)
    weights: int = 0
    level: int = 0
    before: dict[int, set[str]] = field(default_factory=dict)  # parts that it reads from -> the blobs


def draw(net: Any, init: Any, shapes: dict[str, str]) -> str:
    """The nets as SVG. shapes: blob -> its shape in words."""
    parts = _levelled(_parts(net, init))
    places = _places(parts)
    edges = [(source, number, blobs) for number, part in enumerate(parts) for source, blobs in part.before.items()]
    first_lane = max(x for x, _ in places) + _WIDTH + 170  # labels stand before it
    long = [edge for edge in edges if parts[edge[1]].level - parts[edge[0]].level > 1]
    lanes = {edge[:2]: first_lane + 17 * lane for lane, edge in enumerate(long)}
    heights = _heights([edge[:2] for edge in long])
    arrows = [
        _lane(
            places[source],
            places[number],
            _label(blobs, shapes),
            lane=lanes[source, number],
            heights=heights[source, number],
        )
        if (source, number) in lanes
        else _arrow(places[source], places[number], _label(blobs, shapes))
        for source, number, blobs in edges
    ]
    width = first_lane + 17 * len(long) + 20
    height = max(y for _, y in places) + _HEIGHT + 40
    boxes = [_box(part, place) for part, place in zip(parts, places)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">\n<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" '
        f'markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#667"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join([*arrows, *boxes]) + "\n</svg>\n"
    )


def words(sizes: Sequence[Any], divisor: int) -> str:
    """Sizes of a blob, those of images in parts of the padded height and width: N x 256 x H/4 x W/4.

    divisor: what height and width are padded to multiples of; torch.export has sizes as multiples of u0 = H / divisor.
    """
    return " x ".join(_size(str(size), axis, divisor) for axis, size in enumerate(sizes))


def _size(size: str, axis: int, divisor: int) -> str:
    if size.isdigit():
        return size
    if axis == 0:
        return "N" if re.fullmatch(r"s\d+", size) else "rows"
    letter = "HW"[axis - 2] if axis in (2, 3) else "?"
    times = re.fullmatch(r"(?:(\d+)\*)?u\d+", size)
    if not times and not re.fullmatch(r"s\d+", size):
        return "..."  # rounded on the way: a level above the multiples
    stride = divisor // int(times[1] or 1) if times else 1
    return f"{letter}/{stride}" if stride > 1 else letter


def title_of(path: str) -> str:
    """The part that an operator's module belongs to: two names deep, three in the backbone's bottom-up half."""
    names = [re.sub(r"_\d+$", "", name) for name in path.split(".")]
    if names[0] == "backbone":
        depth = next((place for place, name in enumerate(names) if name == "stem" or re.fullmatch(r"res\d", name)), 0)
        return ".".join(names[: depth + 1]) if depth else "backbone, pyramid"
    is_module = len(names) > 2 or names[-1].endswith(("head", "pooler", "predictor"))
    return ".".join(names[:2]) if is_module and names[0] != "sem_seg_head" else names[0]


def _parts(net: Any, init: Any) -> list[Part]:
    """Operators by part. A part that would wait for itself is begun again: the picture has no circles."""
    inputs = [name for name in net.external_input if name not in set(init.external_output)]
    sizes = {op.output[0]: max(len(arg.floats) for arg in op.arg) for op in init.op}
    parts = [Part(name) for name in inputs]
    made = {name: number for number, name in enumerate(inputs)}
    latest: dict[str, int] = {}
    for op in net.op:
        title = title_of(op.name or op.output[0])
        read = {made[name] for name in op.input if name in made}
        number = latest.get(title)
        if number is None or any(_reads(parts, source, number) for source in read - {number}):
            parts.append(Part(title))
            number = latest[title] = len(parts) - 1
        part = parts[number]
        part.operators[op.type] += 1
        part.weights += sum(sizes.pop(name, 0) for name in op.input)
        for name in op.input:
            if name in made and made[name] != number:
                part.before.setdefault(made[name], set()).add(name)
        made |= dict.fromkeys(op.output, number)
    for name in net.external_output:
        parts.append(Part(name, before={made[name]: {name}}))
    return parts


def _reads(parts: list[Part], reader: int, source: int) -> bool:
    """Whether `reader` has, through whatever lies between, something of `source`."""
    waiting, seen = [reader], set()
    while waiting:
        number = waiting.pop()
        if number == source:
            return True
        if number not in seen:
            seen.add(number)
            waiting.extend(parts[number].before)
    return False


def _levelled(parts: list[Part]) -> list[Part]:
    """Each part below all that it reads from; im_info, which everything reads, is left out of the arrows."""
    info = next((number for number, part in enumerate(parts) if part.title == "im_info"), None)
    for part in parts:
        if info is not None:
            part.before.pop(info, None)
    for _ in parts:
        for part in parts:
            part.level = max((parts[source].level + 1 for source in part.before), default=0)
    return parts


def _places(parts: list[Part]) -> list[tuple[float, float]]:
    """Left upper corners: rows by level, and in a row each part as near as can be to what it reads from."""
    rows: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        rows.setdefault(part.level, []).append(number)
    widest = max(map(len, rows.values()))
    middle = 20 + (widest * (_WIDTH + _GAP_X) - _GAP_X) / 2
    places: list[tuple[float, float]] = [(0.0, 0.0)] * len(parts)
    for level, numbers in sorted(rows.items()):

        def wanted(number: int) -> float:
            xs = [places[source][0] for source in parts[number].before]
            return sum(xs) / len(xs) if xs else middle

        numbers.sort(key=lambda number: (bool(parts[number].operators), wanted(number)))  # the net's outputs left
        left = middle - (len(numbers) * (_WIDTH + _GAP_X) - _GAP_X) / 2
        for column, number in enumerate(numbers):
            places[number] = (left + column * (_WIDTH + _GAP_X), 20 + level * (_HEIGHT + _GAP_Y))
    return places


def _label(blobs: set[str], shapes: dict[str, str]) -> str:
    words = Counter(shapes[name] for name in blobs if shapes.get(name))
    return ", ".join(f"{count} x {text}" if count > 1 else text for text, count in sorted(words.items())[:2]) + (
        " ..." if len(words) > 2 else ""
    )


def _heights(edges: list[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
    """How far below the upper border of its boxes each line leaves and arrives: no two at the same height."""
    taken: Counter[int] = Counter()
    heights = {}
    for edge in edges:
        for end in edge:
            taken[end] += 1
        heights[edge] = tuple(min(14 * taken[end] - 2, _HEIGHT - 4) for end in edge)
    return heights  # type: ignore[return-value]


def _arrow(start: tuple[float, float], end: tuple[float, float], label: str) -> str:
    """Down to the next row."""
    x1, y1, x2, y2 = start[0] + _WIDTH / 2, start[1] + _HEIGHT, end[0] + _WIDTH / 2, end[1]
    path = f"M{x1:g} {y1:g} C{x1:g} {y1 + _GAP_Y / 2:g} {x2:g} {y2 - _GAP_Y / 2:g} {x2:g} {y2:g}"
    return _line(path, (x1 + x2) / 2 + 8, (y1 + y2) / 2 + 4, label)


def _lane(
    start: tuple[float, float], end: tuple[float, float], label: str, *, lane: float, heights: tuple[int, int]
) -> str:
    """Further down, on a lane of its own beside all boxes."""
    y1, y2 = start[1] + heights[0], end[1] + heights[1]
    path = f"M{start[0] + _WIDTH:g} {y1:g} H{lane:g} V{y2:g} H{end[0] + _WIDTH:g}"
    return _line(path, end[0] + _WIDTH + 14, y2 - 3, label)


def _line(path: str, x: float, y: float, label: str) -> str:
    text = f'<text x="{x:g}" y="{y:g}" fill="#445" font-size="10" {_HALO}>{escape(label)}</text>'
    return f'<path d="{path}" fill="none" stroke="#889" marker-end="url(#tip)"/>{text}'


_HALO = 'stroke="white" stroke-width="3" paint-order="stroke"'


def _box(part: Part, place: tuple[float, float]) -> str:
    x, y = place
    colour = _COLOURS.get(re.split(r"\W", part.title)[0], "#eeeeee" if part.operators else "#ffffff")
    shown = [(kind, count) for kind, count in part.operators.most_common() if kind not in _HIDDEN] or list(
        part.operators.most_common()
    )
    lines = [", ".join(f"{count} {kind}" for kind, count in shown[:3])]
    if part.weights:
        lines.append(f"{part.weights / 1e6:.2f} M weights")
    texts = "".join(
        f'<text x="{x + _WIDTH / 2:g}" y="{y + 42 + 17 * row:g}" text-anchor="middle" fill="#333" font-size="11">'
        f"{escape(line)}</text>"
        for row, line in enumerate(lines)
        if line
    )
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="{colour}" stroke="#556"/>'
        f'<text x="{x + _WIDTH / 2:g}" y="{y + 22:g}" text-anchor="middle" font-weight="bold">'
        f"{escape(part.title)}</text>"
        f"{texts}"
    )
