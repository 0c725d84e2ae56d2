"""The ops of whole.py in ONNX's standard operators, opset 18: what is done before a network and after it.

Names and formulas are those of the ops. What has another size for each detection is a loop, as in rotated.py; masks are
a Scan, which needs no room for the probabilities of all of them. Specifications: https://onnx.ai/onnx/operators/
(Loop-16, Scan-16, ScatterElements-18).
"""

from typing import Any

from onnxscript import graph, opset18, script

from d2deploy.backends.onnx.functions import FUNCTIONS, Bools, Doubles, Floats, Ints, Ints32

op: Any = opset18  # typed, it would not know what the language of `script` adds to Python


@script(FUNCTIONS, default_opset=op)
def resized_size(size: Ints, min_size: Ints, max_size: Ints) -> Ints:
    """Height and width [2] by the short-edge rule, in the floats of d2deploy.image.

    OpenVINO has no floats of 64 bits: there a size that is a half exactly may be rounded the other way.
    """
    half, one = op.Cast(op.Constant(value_float=0.5), to=11), op.Constant(value_int=1)
    least, most = op.Cast(min_size, to=11), op.Cast(max_size, to=11)
    short = op.ReduceMin(size, keepdims=0)
    new = op.Where(size == short, least, least / op.Cast(short, to=11) * op.Cast(size, to=11))
    longer = op.ReduceMax(new, keepdims=0)
    new = op.Where(longer > most, new * (most / longer), new)
    return op.Max(op.Cast(op.Floor(new + half), to=7), one)


@script(FUNCTIONS, default_opset=op)
def resize_rows(rows: Floats, new: Ints) -> Floats:
    """rows[old,C], new[1] -> [new,C]. Quotients are put right by their rest: not every runtime divides whole numbers
    beyond 24 bits exactly."""
    zero, one, two = op.Constant(value_int=0), op.Constant(value_int=1), op.Constant(value_int=2)
    block, digit, first_axis = op.Constant(value_int=16), op.Constant(value_int=2048), op.Constant(value_ints=[0])
    old = op.Shape(rows, start=0, end=1)
    reach = op.Max(old, new)
    numbers = op.Range(zero, op.Squeeze((new + block - one) / block * block), one)
    center = op.Reshape(op.Min(numbers, new - one), op.Constant(value_ints=[-1, 16, 1])) * two + one
    nearest = op.Gather(center, first_axis, axis=1) * old - two * reach - new
    first = op.Max(nearest / (two * new), zero)
    pixel = first + op.Range(zero, op.Squeeze((block * old + two * reach) / new) + two + one, one)
    distance = op.Abs((two * pixel + one) * new - center * old)
    weight = op.Where(pixel < old, op.Max(two * reach - distance, zero), zero)
    total = op.ReduceSum(weight, op.Constant(value_ints=[2]), keepdims=1)
    high = weight * digit / total
    rest = weight * digit - high * total
    high = high + op.Cast(rest >= total, to=7) - op.Cast(rest < zero, to=7)
    rest = (weight * digit - high * total) * digit
    low = rest / total
    left = rest - low * total
    low = low + op.Cast(left >= total, to=7) - op.Cast(left < zero, to=7)
    low = low + op.Cast(two * (rest - low * total) >= total, to=7)
    windows = op.Gather(rows, op.Squeeze(op.Min(pixel, old - one), op.Constant(value_ints=[1])))
    sums = op.MatMul(op.Cast(op.Concat(high, low, axis=1), to=1), windows)
    high_sums, low_sums = op.Split(sums, num_outputs=2, axis=1)
    part, half = op.Constant(value_float=0.00048828125), op.Constant(value_float=1024.0)
    rounded = op.Floor((high_sums + op.Floor(low_sums * part) + half) * part)
    flat = op.Reshape(rounded, op.Concat(op.Constant(value_ints=[-1]), op.Shape(rows, start=1), axis=0))
    return op.Slice(flat, first_axis, new, first_axis)


def resize_image(image: Any, min_size: int, max_size: int) -> Any:
    """See ops/resize_image.py."""
    height, width, channels = (op.Shape(image, start=axis, end=axis + 1) for axis in range(3))
    size, pixels = op.Shape(image, start=0, end=2), op.Cast(image, to=1)
    new, resized = size, pixels
    if min_size > 0:
        new = resized_size(size, _int(min_size), _int(max_size))
        new_height, new_width = op.Gather(new, _ints(0)), op.Gather(new, _ints(1))
        columns = op.Reshape(op.Transpose(pixels, perm=[1, 0, 2]), op.Concat(width, _ints(-1), axis=0))
        narrow = op.Reshape(resize_rows(columns, new_width), op.Concat(new_width, height, channels, axis=0))
        rows = op.Reshape(op.Transpose(narrow, perm=[1, 0, 2]), op.Concat(height, _ints(-1), axis=0))
        resized = op.Reshape(resize_rows(rows, new_height), op.Concat(new_height, new_width, channels, axis=0))
    images = op.Unsqueeze(op.Transpose(resized, perm=[2, 0, 1]), _ints(0))
    return images, op.Unsqueeze(new, _ints(0)), op.Unsqueeze(size, _ints(0))


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


@script(FUNCTIONS, default_opset=op)
def paste_each(probs: Floats, boxes: Floats, rows: Floats, columns: Floats) -> Bools:
    """probs[D,M,M], boxes[D,4], pixel centres rows[H,1], columns[1,W] -> bool [D,H,W].

    Rows and columns go round with the loop: OpenVINO's Scan knows nothing of what lies around it.
    """

    # Not annotated with what it returns: that would pass for what the function around it returns.
    @graph()
    def paste(rows: Floats, columns: Floats, cells: Floats, box: Floats):  # type: ignore[no-untyped-def]
        x1, y1, x2, y2 = op.Split(box, num_outputs=4, axis=0)
        half, one, zero = op.Constant(value_float=0.5), op.Constant(value_float=1.0), op.Constant(value_float=0.0)
        count = op.Shape(cells, start=1)
        cell = op.Range(op.Constant(value_int=0), op.Squeeze(count), op.Constant(value_int=1))
        along = op.Cast(op.Unsqueeze(cell, op.Constant(value_ints=[0])), to=1)
        down = op.Cast(op.Unsqueeze(cell, op.Constant(value_ints=[1])), to=1)
        cells_of_row = (rows - y1) / (y2 - y1) * op.Cast(count, to=1) - half
        cells_of_column = (columns - x1) / (x2 - x1) * op.Cast(count, to=1) - half
        to_rows = op.Max(one - op.Abs(cells_of_row - along), zero)
        to_columns = op.Max(one - op.Abs(cells_of_column - down), zero)
        mask = op.MatMul(op.MatMul(to_rows, cells), to_columns) >= half
        return op.Identity(rows), op.Identity(columns), mask

    _, _, masks = op.Scan(rows, columns, probs, boxes, body=paste, num_scan_inputs=2)
    return masks


def paste_masks(probs: Any, boxes: Any, original_sizes: Any, threshold: float) -> Any:
    """See ops/paste_masks.py."""
    limits = op.ReduceMax(original_sizes, _ints(0), keepdims=0)
    rows, columns = (
        op.Add(op.Cast(op.Range(_int(0), op.Gather(limits, _int(axis)), _int(1)), to=1), op.Constant(value_float=0.5))
        for axis in (0, 1)
    )
    masks = paste_each(
        _one_more(probs, 3), _one_more(boxes, 2), op.Unsqueeze(rows, _ints(1)), op.Unsqueeze(columns, _ints(0))
    )
    return op.Slice(masks, _ints(0), _ints(-1), _ints(0))


def _one_more(rows: Any, axes: int) -> Any:
    """A row of zeros at the end: no runtime scans nothing."""
    return op.Pad(rows, _ints(*[0] * axes, 1, *[0] * (axes - 1)))


@script(FUNCTIONS, default_opset=op)
def find_each(heatmaps: Floats, boxes: Floats) -> Floats:
    """heatmaps[D,K,S,S], boxes[D,4] -> [D,K,3]. The weights of both axes are made together: [2,pixels,S+4]."""

    @graph()
    def find(heatmap: Floats, box: Floats) -> Floats:
        one, two, zero, half = (
            op.Constant(value_float=1.0),
            op.Constant(value_float=2.0),
            op.Constant(value_float=0.0),
            op.Constant(value_float=0.5),
        )
        near_a, near_b = op.Constant(value_float=1.25), op.Constant(value_float=2.25)
        far_a, far_b = op.Constant(value_float=5.0), op.Constant(value_float=8.0)
        far_c, far_d = op.Constant(value_float=4.0), op.Constant(value_float=-0.75)
        start, step, border = op.Constant(value_int=0), op.Constant(value_int=1), op.Constant(value_int=2)
        first, axis = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])

        low, high = op.Split(box, num_outputs=2, axis=0)
        sides = op.Max(high - low, one)
        counts = op.Ceil(sides)
        size = op.Shape(heatmap, start=2)
        most = op.Cast(op.ReduceMax(counts, keepdims=0), to=7)
        pixel = op.Reshape(op.Cast(op.Range(start, most, step), to=1), op.Constant(value_ints=[1, -1, 1]))
        cell = op.Cast(op.Range(op.Neg(border), op.Squeeze(size + border), step), to=1)
        count = op.Reshape(counts, op.Constant(value_ints=[2, 1, 1]))
        position = (two * pixel + one) * op.Cast(size, to=1) - count
        distance = op.Abs(position - cell * (two * count)) / (two * count)
        near = (near_a * distance - near_b) * distance * distance + one
        far = far_d * (((distance - far_a) * distance + far_b) * distance - far_c)
        weights = op.Where(distance <= one, near, op.Where(distance < two, far, zero))
        columns, rows = op.Split(op.Cast(counts, to=7), num_outputs=2, axis=0)
        of_columns, of_rows = op.Split(weights, num_outputs=2, axis=0)
        along = op.Slice(op.Squeeze(of_columns, first), first, columns, first)
        down = op.Slice(op.Squeeze(of_rows, first), first, rows, first)

        padded = op.Pad(heatmap, op.Constant(value_ints=[0, 2, 2, 0, 2, 2]), mode="edge")
        flat = op.Flatten(op.MatMul(op.MatMul(down, padded), op.Transpose(along, perm=[1, 0])), axis=1)
        height, place = op.ReduceMax(flat, axis, keepdims=1), op.ArgMax(flat, axis=1, keepdims=1)
        row = place / columns
        point = op.Cast(op.Concat(place - row * columns, row, axis=1), to=1) + half
        share = one / op.ReduceSum(op.Exp(op.Flatten(heatmap, axis=1) - height), axis, keepdims=1)
        return op.Concat(low + point * (sides / counts), share, axis=1)

    return op.Scan(heatmaps, boxes, body=find, num_scan_inputs=2)


def find_keypoints(heatmaps: Any, boxes: Any) -> Any:
    """See ops/find_keypoints.py."""
    return op.Slice(find_each(_one_more(heatmaps, 4), _one_more(boxes, 2)), _ints(0), _ints(-1), _ints(0))


def resize_maps(maps: Any, image_sizes: Any, original_sizes: Any) -> Any:
    """See ops/resize_maps.py. Beyond an image's own size its border is repeated, where the op has zeros."""
    down = _mixed(op.Transpose(maps, perm=[0, 2, 1, 3]), _column(image_sizes, 0), _column(original_sizes, 0))
    along = _mixed(op.Transpose(down, perm=[0, 3, 2, 1]), _column(image_sizes, 1), _column(original_sizes, 1))
    return op.Transpose(along, perm=[0, 2, 3, 1])


def _mixed(maps: Any, cells: Any, pixels: Any) -> Any:
    """maps[N,h,...], cells[N,1] of them to pixels[N,1] -> [N,H,...]: see ops/resize_maps.py `neighbours`."""
    half, zero = op.Constant(value_float=0.5), op.Constant(value_float=0.0)
    most = op.ReduceMax(pixels, keepdims=0)
    at = op.Add(op.Cast(op.Range(_int(0), most, _int(1)), to=1), half)
    scale = op.Div(op.Cast(cells, to=1), op.Cast(pixels, to=1))
    position = op.Max(op.Sub(op.Mul(at, scale), half), zero)
    last = op.Sub(cells, _int(1))
    before = op.Min(op.Cast(position, to=7), last)
    way = op.Unsqueeze(op.Sub(position, op.Cast(before, to=1)), _ints(2, 3))
    first, second = (_rows_of_each(maps, place) for place in (before, op.Min(op.Add(before, _int(1)), last)))
    return op.Add(first, op.Mul(op.Sub(second, first), way))


def _rows_of_each(maps: Any, places: Any) -> Any:
    """maps[N,h,A,B], places[N,H] -> [N,H,A,B]. A Gather from all images' rows copies blocks, GatherND numbers."""
    images, count = op.Shape(maps, start=0, end=1), op.Shape(maps, start=1, end=2)
    image = op.Unsqueeze(op.Range(_int(0), op.Squeeze(images), _int(1)), _ints(1))
    table = op.Reshape(maps, op.Concat(_ints(-1), op.Shape(maps, start=2), axis=0))
    return op.Gather(table, op.Add(op.Mul(image, count), places))


def _column(table: Any, number: int) -> Any:
    return op.Gather(table, _ints(number), axis=1)


@script(FUNCTIONS, default_opset=op)
def draw_things(masks: Bools, images: Ints, overlap: Doubles, picture: Ints32) -> tuple[Ints32, Ints, Ints]:
    """masks[T,H,W] in order, images[T]: number of each's image, picture[N,H,W], which comes as zeros.

    -> picture; ids[T], 0 where a mask was left out; areas[T] of what was drawn.
    """
    zero, one, first = op.Constant(value_int=0), op.Constant(value_int=1), op.Constant(value_ints=[0])
    nothing, empty = op.Cast(zero, to=11), op.Cast(zero, to=6)
    ids, areas = images - images, images - images
    rounds = op.Size(images)
    places = op.Range(zero, rounds, one)
    layers = op.Range(zero, op.Squeeze(op.Shape(picture, start=0, end=1)), one)
    going = rounds > zero
    i = zero
    while going:
        mask = op.Gather(masks, i)
        image = op.Gather(images, i)
        free = op.And(mask, op.Gather(picture, image) == empty)
        area = op.Cast(op.ReduceSum(op.Cast(mask, to=6), keepdims=0), to=11)
        left = op.Cast(op.ReduceSum(op.Cast(free, to=6), keepdims=0), to=7)
        taken = (area - op.Cast(left, to=11)) / op.Max(area, op.Cast(one, to=11))
        is_drawn = op.And(area > nothing, taken <= overlap)
        number = op.ReduceMax(op.Where(images == image, ids, zero), first, keepdims=0) + one
        drawn = op.Where(is_drawn, number, zero)
        mine = op.Reshape(layers == image, op.Constant(value_ints=[-1, 1, 1]))
        picture = op.Where(op.And(mine, op.And(free, is_drawn)), op.Cast(drawn, to=6), picture)
        ids = op.Where(places == i, drawn, ids)
        areas = op.Where(places == i, left, areas)
        i = i + one
        going = i < rounds
    return picture, ids, areas


def merge_panoptic(
    masks: Any,
    scores: Any,
    numbers: Any,
    labels: Any,
    *,
    overlap: float,
    stuff_area: int,
    score: float,
    num_labels: int,
) -> Any:
    """See ops/merge_panoptic.py."""
    likely = op.GreaterOrEqual(scores, op.Constant(value_float=score))
    rows = op.Squeeze(op.NonZero(likely), _ints(0))
    classes, images = op.Gather(_flat_column(numbers, 0), rows), op.Gather(_flat_column(numbers, 1), rows)
    nothing = op.Cast(op.Expand(_int(0), op.Shape(labels)), to=6)
    share = op.Cast(op.Constant(value_float=overlap), to=11)
    picture, ids, areas = draw_things(op.Gather(masks, rows), images, share, nothing)
    kept = op.Squeeze(op.NonZero(op.Greater(ids, _int(0))), _ints(0))
    columns = [op.Gather(values, kept) for values in (images, ids, classes, rows, areas)]
    image, id, category, row, area = (op.Unsqueeze(values, _ints(1)) for values in columns)
    things = op.Concat(image, id, op.Expand(_int(1), op.Shape(image)), category, row, area, axis=1)
    picture, stuff = _draw_stuff(picture, labels, things, stuff_area=stuff_area, num_labels=num_labels)
    return picture, op.Concat(things, stuff, axis=0)


def _draw_stuff(picture: Any, labels: Any, things: Any, *, stuff_area: int, num_labels: int) -> Any:
    """picture[N,H,W] with the kinds of stuff in it, and their rows of segments."""
    images = op.Shape(labels, start=0, end=1)
    image = op.Unsqueeze(op.Range(_int(0), op.Squeeze(images), _int(1)), _ints(1))  # [N,1]
    is_free = op.Equal(picture, op.Cast(_int(0), to=6))
    cells = op.Add(op.Mul(op.Unsqueeze(image, _ints(2)), _int(num_labels)), labels)
    counts = [
        op.Reshape(
            op.ScatterElements(
                op.Expand(_int(0), op.Mul(images, _int(num_labels))),
                op.Reshape(cells, _ints(-1)),
                op.Reshape(counted, _ints(-1)),
                axis=0,
                reduction="add",
            ),
            _ints(-1, num_labels),
        )
        for counted in (op.Expand(_int(1), op.Shape(labels)), op.Cast(is_free, to=7))
    ]
    seen, free = counts
    label = op.Constant(value_ints=list(range(num_labels)))
    large = op.And(
        op.And(op.Greater(seen, _int(0)), op.GreaterOrEqual(free, _int(stuff_area))), op.Greater(label, _int(0))
    )
    drawn = op.Cast(large, to=7)
    before = op.ReduceSum(
        op.Cast(op.Equal(image, op.Unsqueeze(_flat_column(things, 0), _ints(0))), to=7), _ints(1), keepdims=1
    )
    ids = op.Mul(drawn, op.Add(op.CumSum(drawn, _int(1)), before))
    pixel_ids = op.Reshape(op.Gather(op.Reshape(ids, _ints(-1)), op.Reshape(cells, _ints(-1))), op.Shape(labels))
    places = op.Transpose(op.NonZero(large), perm=[1, 0])
    values = [op.Unsqueeze(op.GatherND(table, places), _ints(1)) for table in (ids, free)]
    of_image, category = op.Gather(places, _ints(0), axis=1), op.Gather(places, _ints(1), axis=1)
    none = op.Expand(_int(0), op.Shape(of_image))
    stuff = op.Concat(of_image, values[0], none, category, op.Sub(none, _int(1)), values[1], axis=1)
    return op.Where(is_free, op.Cast(pixel_ids, to=6), picture), stuff


def _flat_column(table: Any, number: int) -> Any:
    return op.Squeeze(op.Gather(table, _ints(number), axis=1), _ints(1))


def _int(value: int) -> Any:
    return op.Constant(value_int=value)


WHOLE = (find_keypoints, merge_panoptic, paste_masks, resize_image, resize_maps)
"""Rows of lowerings.lowerings."""
