"""The ops of whole.py in ONNX's standard operators, opset 18: what is done before a network and after it.

Names and formulas are those of the ops. What has another size for each detection is a loop, as in rotated.py; masks are
a Scan, which needs no room for the probabilities of all of them. Specifications: https://onnx.ai/onnx/operators/
(Loop-16, Scan-16, ScatterElements-18).
"""

from typing import Any

from onnxscript import BOOL, DOUBLE, FLOAT, INT64, graph, opset18, script

from d2deploy.backends.onnx.rotated import FUNCTIONS

op: Any = opset18  # typed, it would not know what the language of `script` adds to Python


@script(FUNCTIONS, default_opset=op)
def resized_size(size: INT64[...], min_size: DOUBLE[...], max_size: DOUBLE[...]) -> INT64[...]:
    """Height and width [2] by the short-edge rule, in the floats of d2deploy.image."""
    half, one = op.Cast(op.Constant(value_float=0.5), to=11), op.Constant(value_int=1)
    short = op.ReduceMin(size, keepdims=0)
    scaled = min_size / op.Cast(short, to=11) * op.Cast(size, to=11)
    new = op.Where(size == short, min_size, scaled)
    longer = op.ReduceMax(new, keepdims=0)
    new = op.Where(longer > max_size, new * (max_size / longer), new)
    return op.Max(op.Cast(op.Floor(new + half), to=7), one)


@script(FUNCTIONS, default_opset=op)
def resize_rows(rows: FLOAT[...], new: INT64[...]) -> FLOAT[...]:
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
        new = resized_size(size, _double(min_size), _double(max_size))
        new_height, new_width = op.Gather(new, _ints(0)), op.Gather(new, _ints(1))
        columns = op.Reshape(op.Transpose(pixels, perm=[1, 0, 2]), op.Concat(width, _ints(-1), axis=0))
        narrow = op.Reshape(resize_rows(columns, new_width), op.Concat(new_width, height, channels, axis=0))
        rows = op.Reshape(op.Transpose(narrow, perm=[1, 0, 2]), op.Concat(height, _ints(-1), axis=0))
        resized = op.Reshape(resize_rows(rows, new_height), op.Concat(new_height, new_width, channels, axis=0))
    images = op.Unsqueeze(op.Transpose(resized, perm=[2, 0, 1]), _ints(0))
    return images, op.Unsqueeze(new, _ints(0)), op.Unsqueeze(size, _ints(0))


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _double(value: int) -> Any:
    return op.Cast(op.Constant(value_int=value), to=11)


@script(FUNCTIONS, default_opset=op)
def paste_each(probs: FLOAT[...], boxes: FLOAT[...], rows: FLOAT[...], columns: FLOAT[...]) -> BOOL[...]:
    """probs[D,M,M], boxes[D,4], pixel centres rows[H,1], columns[1,W] -> bool [D,H,W].

    Rows and columns go round with the loop: OpenVINO's Scan knows nothing of what lies around it.
    """

    @graph()
    def paste(rows: FLOAT[...], columns: FLOAT[...], cells: FLOAT[...], box: FLOAT[...]):
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
        op.Add(
            op.Cast(op.Range(_int(0), op.Gather(limits, _int(axis)), _int(1)), to=1), op.Constant(value_float=0.5)
        )
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
def find_each(heatmaps: FLOAT[...], boxes: FLOAT[...]) -> FLOAT[...]:
    """heatmaps[D,K,S,S], boxes[D,4] -> [D,K,3]."""

    @graph()
    def find(heatmap: FLOAT[...], box: FLOAT[...]) -> FLOAT[...]:
        one, two, zero = op.Constant(value_float=1.0), op.Constant(value_float=2.0), op.Constant(value_float=0.0)
        half, first, axis = op.Constant(value_float=0.5), op.Constant(value_int=0), op.Constant(value_ints=[1])
        step = op.Constant(value_int=1)
        near_1, near_2 = op.Constant(value_float=1.25), op.Constant(value_float=2.25)
        far_1, far_2, far_3 = (
            op.Constant(value_float=5.0),
            op.Constant(value_float=8.0),
            op.Constant(value_float=4.0),
        )
        low, high = op.Split(box, num_outputs=2, axis=0)
        sides = op.Max(high - low, one)
        counts = op.Ceil(sides)
        columns, rows = op.Split(counts, num_outputs=2, axis=0)
        size = op.Shape(heatmap, start=2)
        cells = op.Cast(size, to=1)
        cell = op.Cast(op.Range(op.Constant(value_int=-2), op.Squeeze(size) + step + step, step), to=1)
        padded = op.Pad(heatmap, op.Constant(value_ints=[0, 2, 2, 0, 2, 2]), mode="edge")

        pixel = op.Unsqueeze(op.Cast(op.Range(first, op.Squeeze(op.Cast(rows, to=7)), step), to=1), axis)
        d = op.Abs((two * pixel + one) * cells - rows - cell * (two * rows)) / (two * rows)
        near, far = (near_1 * d - near_2) * d * d + one, (((d - far_1) * d + far_2) * d - far_3) * op.Constant(value_float=-0.75)
        down = op.Where(d <= one, near, op.Where(d < two, far, zero))
        pixel = op.Unsqueeze(op.Cast(op.Range(first, op.Squeeze(op.Cast(columns, to=7)), step), to=1), axis)
        d = op.Abs((two * pixel + one) * cells - columns - cell * (two * columns)) / (two * columns)
        near, far = (near_1 * d - near_2) * d * d + one, (((d - far_1) * d + far_2) * d - far_3) * op.Constant(value_float=-0.75)
        along = op.Where(d <= one, near, op.Where(d < two, far, zero))

        enlarged = op.MatMul(op.MatMul(down, padded), op.Transpose(along, perm=[1, 0]))
        flat = op.Flatten(enlarged, axis=1)
        place = op.ArgMax(flat, axis=1, keepdims=1)
        top = op.ReduceMax(flat, axis, keepdims=1)
        row = place / op.Cast(columns, to=7)
        column = op.Cast(place - row * op.Cast(columns, to=7), to=1)
        x, y = op.Split(op.Concat(column + half, op.Cast(row, to=1) + half, axis=1) * (sides / counts) + low, num_outputs=2, axis=1)
        share = one / op.ReduceSum(op.Exp(op.Flatten(heatmap, axis=1) - top), axis, keepdims=1)
        return op.Concat(x, y, share, axis=1)

    return op.Scan(heatmaps, boxes, body=find, num_scan_inputs=2)


def find_keypoints(heatmaps: Any, boxes: Any) -> Any:
    """See ops/find_keypoints.py."""
    return op.Slice(find_each(_one_more(heatmaps, 4), _one_more(boxes, 2)), _ints(0), _ints(-1), _ints(0))


def _int(value: int) -> Any:
    return op.Constant(value_int=value)
