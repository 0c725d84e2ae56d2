"""d2deploy's ops on rotated boxes in ONNX's standard operators, opset 18.

ONNX has neither of them, so both are loops: over the boxes that are kept, and over the samples of a bin. The loops are
model-local functions, which the exporter writes out in place. Specifications: https://onnx.ai/onnx/operators/
(ArgMax-13, GatherND-13, Loop-16, ScatterND-18).
"""

from collections.abc import Sequence
from typing import Any

from onnxscript import opset18, script

from d2deploy.backends.onnx.functions import FUNCTIONS, Floats, Ints

op: Any = opset18  # typed, it would not know what the language of `script` adds to Python
DEGREE = 0.017453292519943295  # in radians


@script(FUNCTIONS, default_opset=op)
def keep_best(boxes: Floats, scores: Floats, iou_threshold: Floats, kept: Ints) -> Ints:
    """Greedy NMS of boxes[N,G,M,5], scores[N,G,M] -> kept[N,max_out], which comes filled with -1.

    The best box a of each image is kept, it and what it covers of its group b are taken away, and so on. IoU and its
    names are those of ops/rotated_iou.py; the four edges of a are the last axis.
    """
    zero, one, half = op.Constant(value_float=0.0), op.Constant(value_float=1.0), op.Constant(value_float=0.5)
    smallest, nothing = op.Constant(value_float=1e-20), op.Constant(value_float=float("-inf"))
    start, step, degree = op.Constant(value_int=0), op.Constant(value_int=1), op.Constant(value_float=0.0174532925199)
    members = op.Range(start, op.Squeeze(op.Shape(scores, start=2)), step)
    groups = op.Range(start, op.Squeeze(op.Shape(scores, start=1, end=2)), step)
    rounds = op.Squeeze(op.Shape(kept, start=1))
    columns, i = op.Range(start, rounds, step), start
    going = rounds > start  # for and break would leave the first condition out: OpenVINO cannot write that
    while going:
        flat = op.Flatten(scores, axis=1)
        index = op.ArgMax(flat, axis=1, keepdims=1)
        found = op.GatherElements(flat, index, axis=1) > nothing
        kept = op.Where(op.And(columns == i, found), index, kept)
        group = index / op.Shape(scores, start=2)
        member = index - group * op.Shape(scores, start=2)
        b = op.GatherND(boxes, group, batch_dims=1)
        a = op.Unsqueeze(op.GatherND(b, member, batch_dims=1), op.Constant(value_ints=[1]))
        a_x, a_y, a_width, a_height, a_angle = op.Split(a, num_outputs=5, axis=2)
        b_x, b_y, b_width, b_height, b_angle = op.Split(b, num_outputs=5, axis=2)
        b_cos, b_sin = op.Cos(b_angle * degree), op.Sin(b_angle * degree)
        turn = (a_angle - b_angle) * degree
        along = a_width * op.Constant(value_floats=[-0.5, 0.5, 0.5, -0.5])
        down = a_height * op.Constant(value_floats=[0.5, 0.5, -0.5, -0.5])
        x = (a_x - b_x) * b_cos - (a_y - b_y) * b_sin + b_width * half + along * op.Cos(turn) + down * op.Sin(turn)
        y = (a_x - b_x) * b_sin + (a_y - b_y) * b_cos + b_height * half + down * op.Cos(turn) - along * op.Sin(turn)
        run = op.Gather(x, op.Constant(value_ints=[1, 2, 3, 0]), axis=2) - x
        climb = op.Gather(y, op.Constant(value_ints=[1, 2, 3, 0]), axis=2) - y
        left, right = op.Min(op.Max(x, zero), b_width), op.Min(op.Max(x + run, zero), b_width)
        divisor = op.Where(run == zero, one, run)
        first = y + op.Clip((left - x) / divisor, zero, one) * climb
        last = y + op.Clip((right - x) / divisor, zero, one) * climb
        low, high, rise = op.Min(first, last), op.Max(first, last), op.Max(op.Abs(last - first), smallest)
        below, above = op.Clip(op.Neg(low) / rise, zero, one), op.Clip((high - b_height) / rise, zero, one)
        between = (op.Min(op.Max(low, zero), b_height) + op.Min(op.Max(high, zero), b_height)) * half
        mean = above * b_height + (one - below - above) * between
        shared = op.Max(op.ReduceSum((right - left) * mean, op.Constant(value_ints=[2]), keepdims=1), zero)
        shared = op.Min(shared, op.Min(a_width * a_height, b_width * b_height))
        union = op.Max(a_width * a_height + b_width * b_height - shared, smallest)
        covered = op.Squeeze(shared / union > iou_threshold, op.Constant(value_ints=[2]))
        covered = op.Unsqueeze(op.Or(covered, members == member), op.Constant(value_ints=[1]))
        mine = op.Unsqueeze(groups == group, op.Constant(value_ints=[2]))
        scores = op.Where(op.And(covered, mine), nothing, scores)
        i = i + step
        any_found = op.Cast(op.ReduceMax(op.Cast(found, to=6), keepdims=0), to=9)
        going = op.And(any_found, i < rounds)
    return kept


@script(FUNCTIONS, default_opset=op)
def sum_samples(table: Floats, places: Floats, maps: Ints, sums: Floats) -> Floats:
    """Adds to sums[B,C], which comes as zeros, the samples of each of B bins: each round takes one of every bin.

    table[cells,C]; places[B,3,2]: row and column of a bin's first sample, then what one sample down and one along add
    to them; maps[B,5] int64: samples of the bin, those along it, where its map begins, its height and width.
    """
    zero = op.Constant(value_float=0.0)
    whole = op.Constant(value_int=1)
    counts = op.Gather(maps, op.Constant(value_int=0), axis=1)
    rounds = op.ReduceMax(op.Concat(counts, op.Constant(value_ints=[0]), axis=0), keepdims=0)
    for i in range(rounds):
        bins = op.Transpose(op.NonZero(counts > i))
        _, along, begin, height, width = op.Split(op.GatherND(maps, bins), num_outputs=5, axis=1)
        number = op.Cast(op.Concat(along / along, i / along, i - i / along * along, axis=1), to=1)
        place = op.MatMul(op.Unsqueeze(number, op.Constant(value_ints=[1])), op.GatherND(places, bins))
        place = op.Squeeze(place, op.Constant(value_ints=[1]))
        limits = op.Concat(height, width, axis=1)
        inside = op.And(place >= op.Constant(value_float=-1.0), place <= op.Cast(limits, to=1))
        inside = op.ReduceMin(op.Cast(inside, to=1), op.Constant(value_ints=[1]), keepdims=1)
        place = op.Min(op.Max(place, zero), op.Cast(limits - whole, to=1))
        low = op.Floor(place)
        top, left = op.Split(op.Cast(low, to=7), num_outputs=2, axis=1)
        bottom, right = op.Split(op.Min(op.Cast(low, to=7) + whole, limits - whole), num_outputs=2, axis=1)
        cells = op.Concat(
            top * width + left, top * width + right, bottom * width + left, bottom * width + right, axis=1
        )
        down, across = op.Split(place - low, num_outputs=2, axis=1)
        up, back = op.Constant(value_float=1.0) - down, op.Constant(value_float=1.0) - across
        weights = op.Concat(up * back, up * across, down * back, down * across, axis=1) * inside
        corners = op.Gather(table, cells + begin)
        sample = op.Squeeze(
            op.MatMul(op.Unsqueeze(weights, op.Constant(value_ints=[1])), corners), op.Constant(value_ints=[1])
        )
        sums = op.ScatterND(sums, bins, sample, reduction="add")
    return sums


def rotated_nms(boxes: Any, scores: Any, iou_threshold: Any, max_out: int) -> Any:
    """See ops/nms.py: boxes[N,G,M,5], scores[N,G,M] -> [N,max_out]."""
    empty = op.Expand(_int(-1), op.Concat(op.Shape(scores, start=0, end=1), _ints(max_out), axis=0))
    return keep_best(boxes, scores, iou_threshold, empty)


def roi_align_rotated(
    features: Sequence[Any],
    boxes: Any,
    image_index: Any,
    levels: Any,
    scales: Sequence[float],
    size: int,
    sampling_ratio: int,
) -> Any:
    """See ops/roi_align_rotated.py."""
    table = op.Concat(*(_cells(feature) for feature in features), axis=0)
    sides = op.Concat(*(op.Unsqueeze(op.Shape(f, start=2, end=4), _ints(0)) for f in features), axis=0)
    cells = op.Concat(*(op.ReduceProd(op.Shape(f, start=2, end=4), keepdims=1) for f in features), axis=0)
    all_cells = op.Mul(cells, op.Shape(features[0], start=0, end=1))
    before = op.Sub(op.CumSum(all_cells, _int(0)), all_cells)
    begin = op.Add(op.Gather(before, levels), op.Mul(image_index, op.Gather(cells, levels)))

    scale = op.Unsqueeze(op.Gather(op.Constant(value_floats=list(scales)), levels), _ints(1))
    center = op.Sub(op.Mul(_columns(boxes, 1, 0), scale), _float(0.5))  # row, column
    side = op.Mul(_columns(boxes, 3, 2), scale)  # down, along
    if sampling_ratio > 0:
        grid = op.Expand(_int(sampling_ratio), op.Shape(side))
    else:
        grid = op.Max(op.Cast(op.Ceil(op.Div(side, _float(size))), to=7), _int(0))
    turn = op.Mul(_columns(boxes, 4), _float(DEGREE))
    cos, sin = op.Cos(turn), op.Sin(turn)
    # Rows: one sample down, one along; columns: what that adds to row and column of the map.
    directions = op.Reshape(op.Concat(cos, sin, op.Neg(sin), cos, axis=1), _ints(-1, 2, 2))
    each_bin = op.Div(side, _float(size))
    step = op.Div(each_bin, op.Cast(op.Max(grid, _int(1)), to=1))
    numbers = [float(number) for row in range(size) for column in range(size) for number in (row, column)]
    bins = op.Reshape(op.Constant(value_floats=numbers), _ints(1, -1, 2))
    first = op.Mul(op.Sub(step, side), _float(0.5))
    offsets = op.Add(op.Mul(bins, op.Unsqueeze(each_bin, _ints(1))), op.Unsqueeze(first, _ints(1)))
    starts = op.Reshape(op.Add(op.Unsqueeze(center, _ints(1)), op.MatMul(offsets, directions)), _ints(-1, 1, 2))
    steps = _for_each_bin(op.Mul(directions, op.Unsqueeze(step, _ints(2))), size, 2, 2)

    counts = op.ReduceProd(grid, _ints(1), keepdims=1)
    maps = op.Concat(counts, _columns(grid, 1), op.Unsqueeze(begin, _ints(1)), op.Gather(sides, levels), axis=1)
    bin_maps = _for_each_bin(maps, size, 5)
    sums = op.Expand(_float(0.0), op.Concat(op.Shape(bin_maps, start=0, end=1), op.Shape(table, start=1), axis=0))
    sums = sum_samples(table, op.Concat(starts, steps, axis=1), bin_maps, sums)
    bin_counts = op.Cast(op.Max(_columns(bin_maps, 0), _int(1)), to=1)
    shape = op.Concat(_ints(-1, size, size), op.Shape(table, start=1), axis=0)
    return op.Transpose(op.Reshape(op.Div(sums, bin_counts), shape), perm=[0, 3, 1, 2])


def _for_each_bin(of_box: Any, size: int, *shape: int) -> Any:
    """of_box[R,*shape] -> [R*size*size,*shape]."""
    several = op.Concat(op.Shape(of_box, start=0, end=1), _ints(size * size, *shape), axis=0)
    return op.Reshape(op.Expand(op.Unsqueeze(of_box, _ints(1)), several), _ints(-1, *shape))


def _cells(feature: Any) -> Any:
    """Every cell as a row, see ops/roi_align.py cell_table."""
    channels = op.Shape(feature, start=1, end=2)
    return op.Reshape(op.Transpose(feature, perm=[0, 2, 3, 1]), op.Concat(_ints(-1), channels, axis=0))


def _columns(rows: Any, *numbers: int) -> Any:
    return op.Gather(rows, _ints(*numbers), axis=1)


def _int(value: int) -> Any:
    return op.Constant(value_int=value)


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _float(value: float) -> Any:
    return op.Constant(value_float=float(value))
