"""model.svg: the network for people. One box a part (a backbone stage, the pyramid, a head), shapes on the arrows."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from d2deploy.backends.caffe2.picture import Arrow, Box, picture

_COLOURS = {
    "backbone": "#dbe9f6",
    "proposal_generator": "#fde7c9",
    "roi_heads": "#dff0d8",
    "head": "#dff0d8",
    "sem_seg_head": "#e8def3",
}
# What only brings numbers to where they are needed says little about a part.
_PLUMBING = (
    *("Copy", "Cast", "Slice", "Shape", "ExpandDims", "Squeeze", "Gather", "Concat", "ConstantFill", "Range", "Tile"),
    *("LT", "LE", "EQ", "And", "Mod", "Negative", "ATen", "Transpose", "Reshape", "LengthsToSegmentIds", "ReplaceNaN"),
)
_LINE = 44  # letters that fit into a box
_INFO = "im_info"
_LEGEND = "N: images. H, W: height and width after padding; H/64 is rounded up. rows: of all images together."


class Part:
    """Operators of one module, in the order of the net; an input or an output of the net has none."""

    def __init__(self, title: str, reads: dict[int, set[str]] | None = None) -> None:
        self.title = title
        self.operators: Counter[str] = Counter()
        self.weights = 0
        self.reads = reads or {}  # number of a part -> the blobs that it has from there
        self.level = 0  # below all that it reads from

    def lines(self, shapes: Mapping[str, str]) -> list[str]:
        """What stands in its box below the title."""
        if not self.operators:
            text = "N x 3: height, width, scale" if self.title == _INFO else shapes.get(self.title)
            return [text] if text else []
        weights = [f"{amount(self.weights)} weights"] if self.weights else []
        return [*_wrapped(_told(self.operators)), *weights]


def draw(net: Any, init: Any, shapes: Mapping[str, str]) -> str:
    """The nets as SVG. shapes: blob -> its shape in words."""
    parts = _levelled(_parts(net, init))
    boxes = [
        Box(
            title=part.title,
            lines=part.lines(shapes),
            colour=_COLOURS.get(re.split(r"\W", part.title)[0], "#eeeeee") if part.operators else "#ffffff",
            level=part.level,
            is_wide=bool(part.operators),
        )
        for part in parts
    ]
    arrows = [
        Arrow(start=source, end=number, label=label(blobs, shapes) if parts[number].operators else "")
        for number, part in enumerate(parts)
        for source, blobs in part.reads.items()
    ]
    total = sum(part.weights for part in parts)
    title = f"{net.name}: {len(net.op)} operators, {amount(total)} weights"
    return picture(boxes, arrows, caption=[title, _LEGEND] if any("H" in text for text in shapes.values()) else [title])


def words(sizes: Sequence[Any], divisor: int) -> str:
    """Sizes of a blob, those of images in parts of the padded height and width: N x 256 x H/4 x W/4.

    divisor: what height and width are padded to multiples of; torch.export has sizes as multiples of u0 = H / divisor.
    """
    return " x ".join(_size(str(size), axis, divisor) for axis, size in enumerate(sizes))


# 8*u0, u0, s14, and rounded up: (((u0 - 1)//2)) + 1
_TIMES = re.compile(r"(?:(\d+)\*)?([su])\d+")
_ROUNDED = re.compile(r"\(*([su])\d+ - 1\)//(\d+)\)* \+ 1")


def _size(size: str, axis: int, divisor: int) -> str:
    if size.isdigit():
        return size
    if axis == 0:
        return "N" if re.fullmatch(r"s\d+", size) else "rows"
    letter = "HW"[axis - 2] if axis in (2, 3) else "?"
    if found := _TIMES.fullmatch(size):
        stride = (divisor if found[2] == "u" else 1) // int(found[1] or 1)
    elif found := _ROUNDED.fullmatch(size):
        stride = (divisor if found[1] == "u" else 1) * int(found[2])
    else:
        return "..."
    return f"{letter}/{stride}" if stride > 1 else letter


def amount(number: int) -> str:
    """A number of weights for people: 23.5 M."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return str(number)


def label(blobs: Set[str], shapes: Mapping[str, str]) -> str:
    """What an arrow carries. Maps that differ in their size alone, such as a pyramid's, are told together."""
    groups: dict[str, list[str]] = {}
    for text in sorted({shapes[name] for name in blobs if shapes.get(name)}):
        sides = text.split(" x ")
        key, rest = (" x ".join(sides[:2]), " x ".join(sides[2:])) if len(sides) == 4 else (text, "")
        groups.setdefault(key, []).append(rest)
    told = [" x ".join(filter(None, (key, _range(sizes)))) for key, sizes in groups.items()]
    return ", ".join(told[:2]) + (" ..." if len(told) > 2 else "")


def _range(sizes: list[str]) -> str:
    ordered = sorted(sizes, key=_extent, reverse=True)
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _extent(size: str) -> float:
    """Something that grows with a height x width."""
    height = size.partition(" ")[0]
    found = re.fullmatch(r"H(?:/(\d+))?", height)
    return 1 / int(found[1] or 1) if found else float(height) if height.isdigit() else 0.0


def title_of(path: str) -> str:
    """The part that an operator's module belongs to: two names deep, three in the backbone's bottom-up half."""
    names = [re.sub(r"_\d+$", "", name) for name in path.split(".")]
    if names[0] == "backbone":
        depth = next((place for place, name in enumerate(names) if name == "stem" or re.fullmatch(r"res\d", name)), 0)
        return ".".join(names[: depth + 1]) if depth else "backbone, pyramid"
    is_module = len(names) > 2 or names[0] == "head" or names[-1].endswith(("head", "pooler", "predictor"))
    return ".".join(names[:2]) if is_module and names[0] != "sem_seg_head" else names[0]


def _parts(net: Any, init: Any) -> list[Part]:
    """Operators by part. A part that would wait for itself is begun again: the picture has no circles."""
    sizes = {op.output[0]: max((len(arg.floats) for arg in op.arg), default=0) for op in init.op if op.output}
    inputs = [name for name in net.external_input if name not in sizes]
    parts = [Part(name) for name in inputs]
    made = {name: number for number, name in enumerate(inputs)}
    latest: dict[str, int] = {}
    for op in net.op:
        read = {made[name] for name in op.input if name in made}
        path = _path(op, [name for name in op.input if name not in made])
        title = title_of(path) if path else _carried_on(parts, read)
        number = latest.get(title)
        if number is None or any(_is_before(parts, number, source) for source in read - {number}):
            parts.append(Part(title))
            number = latest[title] = len(parts) - 1
        part = parts[number]
        part.operators[op.type] += 1
        part.weights += sum(sizes.pop(name, 0) for name in op.input)
        for name in op.input:
            if made.get(name, number) != number:
                part.reads.setdefault(made[name], set()).add(name)
        made |= dict.fromkeys(op.output, number)
    parts += [Part(name, {made[name]: {name}}) for name in net.external_output if name in made]
    return parts


def _path(op: Any, weights: Sequence[str]) -> str:
    """The module of an operator: d2deploy's have it as name, others in the names of weights or of what they make.

    "" where all of these are numbers, as in most of detectron2's nets.
    """
    modules = [name.removeprefix("_wrapped_model.").rpartition(".")[0] for name in weights]
    names = (op.name, *modules, op.output[0].partition(".")[0])
    path = next((name for name in names if name and not name.isdigit()), "")
    return re.sub(r"\w+_nms$", "detections", path)


def _carried_on(parts: list[Part], read: set[int]) -> str:
    """The part that an operator without any name of its own belongs to: the latest that it reads from."""
    return next((parts[number].title for number in sorted(read, reverse=True) if parts[number].operators), "network")


def _is_before(parts: list[Part], number: int, reader: int) -> bool:
    """Whether `reader` has, through whatever lies between, something of part `number`."""
    waiting, seen = [reader], set()
    while waiting:
        current = waiting.pop()
        if current == number:
            return True
        if current not in seen:
            seen.add(current)
            waiting.extend(parts[current].reads)
    return False


def _levelled(parts: list[Part]) -> list[Part]:
    """Each part below all that it reads from; im_info, which everything reads, is left out of the arrows."""
    info = next((number for number, part in enumerate(parts) if part.title == _INFO), None)
    for part in parts:
        if info is not None:
            part.reads.pop(info, None)
    for _ in parts:
        for part in parts:
            part.level = max((parts[source].level + 1 for source in part.reads), default=0)
    return parts


def _told(operators: Counter[str]) -> Iterator[str]:
    """What a part does, the most frequent first."""
    telling = [(kind, count) for kind, count in operators.most_common() if kind not in _PLUMBING]
    for kind, count in telling or operators.most_common():
        yield f"{count} {kind}" if count > 1 else kind


def _wrapped(told: Iterator[str]) -> list[str]:
    """Two lines that fit, and dots where more would be to tell."""
    lines = [""]
    for text in told:
        if lines[-1] and len(lines[-1]) + len(text) + 2 > _LINE:
            lines.append("")
        lines[-1] += f", {text}" if lines[-1] else text
    return lines if len(lines) < 3 else [lines[0], f"{lines[1]} ..."]
