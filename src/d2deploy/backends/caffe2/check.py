"""What can be said about two nets without running them: known operators, arguments of the right kind, blobs in order.

It does not show that Caffe2 computes what the network computes: that takes the runtime.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

from d2deploy.backends.caffe2.messages import arg_value

# Operator -> its arguments and their kinds, a|b: either. i: whole number, f: number, s: text; is, fs: several of them.
OPERATORS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Negative", "EQ"),
            *(
                "LT",
                "LE",
                "GT",
                "GE",
                "NE",
                "And",
                "Not",
                "Cos",
                "Sin",
                "Floor",
                "Reciprocal",
                "Rsqrt",
                "Copy",
                "Range",
                "BatchPermutation",
                "OneHot",
                "LengthsToSegmentIds",
            ),
            *("Gather", "Expand"),
        ),
        "",
    ),
    "ATen": "operator:s dim:i descending:i min:f other:f sparse_grad:i beta:f threshold:f",
    "AveragePool": "kernels:is strides:is pads:is count_include_pad:i order:s",
    "BBoxTransform": "weights:fs apply_scale:i rotated:i angle_bound_on:i angle_bound_lo:i angle_bound_hi:i "
    "clip_angle_thresh:f legacy_plus_one:i",
    "BoxWithNMSLimit": "score_thresh:f nms:f detections_per_im:i soft_nms_enabled:i soft_nms_method:s soft_nms_sigma:f "
    "soft_nms_min_score_thres:f rotated:i cls_agnostic_bbox_reg:i input_boxes_include_bg_cls:i "
    "output_classes_include_bg_cls:i legacy_plus_one:i",
    "BatchMatMul": "broadcast:i trans_b:i",
    "Cast": "to:i",
    "Clip": "min:f max:f",
    "Concat": "axis:i",
    "ConstantFill": "input_as_shape:i value:f|i dtype:i",
    "Conv": "kernels:is strides:is pads:is dilations:is group:i order:s",
    "ConvTranspose": "kernels:is strides:is pads:is adjs:is group:i order:s",
    "DistributeFpnProposals": "roi_canonical_scale:i roi_canonical_level:i roi_min_level:i roi_max_level:i "
    "legacy_plus_one:i",
    "ExpandDims": "dims:is",
    "FC": "axis:i",
    "Flatten": "axis:i",
    "Gelu": "fast_gelu:i",
    "GenerateProposals": "spatial_scale:f pre_nms_topN:i post_nms_topN:i nms_thresh:f min_size:f angle_bound_on:i "
    "angle_bound_lo:i angle_bound_hi:i clip_angle_thresh:f legacy_plus_one:i",
    "GroupNorm": "group:i epsilon:f order:s is_test:i",
    "LayerNorm": "axis:i epsilon:f elementwise_affine:i",
    "LeakyRelu": "alpha:f",
    "MaxPool": "kernels:is strides:is pads:is order:s",
    "Mod": "divisor:i sign_follow_divisor:i",
    "PadImage": "pads:is mode:s value:f order:s",
    "ReduceMean": "axes:is keepdims:i",
    "ReduceSum": "axes:is keepdims:i",
    "ReplaceNaN": "value:f",
    "Reshape": "shape:is",
    "ResizeNearest": "order:s height_scale:f width_scale:f",
    "RoIAlign": "order:s spatial_scale:f pooled_h:i pooled_w:i sampling_ratio:i aligned:i",
    "RoIAlignRotated": "order:s spatial_scale:f pooled_h:i pooled_w:i sampling_ratio:i aligned:i",
    "RoIPool": "order:s spatial_scale:f pooled_h:i pooled_w:i is_test:i",
    "Shape": "axes:is",
    "Slice": "starts:is ends:is",
    "Softmax": "axis:i",
    "SpatialBN": "is_test:i epsilon:f order:s",
    "Split": "axis:i",
    "Squeeze": "dims:is",
    "Tile": "tiles:i axis:i",
    "TopK": "k:i",
    "Transpose": "axes:is",
}
FILL_VALUES = {"GivenTensorFill": "floats", "GivenTensorIntFill": "ints", "GivenTensorInt64Fill": "ints"}
# Kept out of Caffe2's defaults, which mean Detectron's first version.
_NEEDED = (
    "GenerateProposals",
    "BBoxTransform",
    "BoxWithNMSLimit",
    "DistributeFpnProposals",
    "RoIAlign",
    "RoIAlignRotated",
)


def faults(net: Any, init: Any) -> list[str]:
    """What is wrong with the two NetDefs, one sentence each; empty: nothing that can be seen without running them."""
    return [*_faults_of_weights(init), *_faults_of_order(net, set(init.external_output)), *_faults_of_operators(net)]


def _faults_of_weights(init: Any) -> Iterator[str]:
    made = [op.output[0] for op in init.op if op.output]
    if sorted(made) != sorted(init.external_output) or len(set(made)) != len(made):
        yield "the weights that the init net fills are not those that it names, each once"
    for op in init.op:
        args = {arg.name: arg for arg in op.arg}
        if op.type not in FILL_VALUES or not {"shape", "values"} <= args.keys():
            yield f"weight {'/'.join(op.output)} is filled by {op.type}, without shape and values"
        elif prod(args["shape"].ints) != len(getattr(args["values"], FILL_VALUES[op.type])):
            yield f"weight {op.output[0]} has not as many numbers as its shape {list(args['shape'].ints)} says"


def _faults_of_order(net: Any, weights: set[str]) -> Iterator[str]:
    inputs = [name for name in net.external_input if name not in weights]
    if inputs[:2] != ["data", "im_info"]:
        yield f"the inputs are {', '.join(inputs) or 'none'}, not data and im_info"
    there = set(net.external_input)
    for op in net.op:
        for name in op.input:
            if name not in there:
                yield f"{op.type} reads {name}, which nothing before it makes"
        for name in op.output:
            if name in there and name not in op.input:
                yield f"{op.type} writes {name}, which is made before it"
            there.add(name)
    for name in net.external_output:
        if name not in there:
            yield f"the output {name} is not made"


def _faults_of_operators(net: Any) -> Iterator[str]:
    for op in net.op:
        if op.type not in OPERATORS:
            yield f"{op.type} is an operator that d2deploy does not know"
            continue
        kinds = dict(item.split(":") for item in OPERATORS[op.type].split())
        given = {arg.name: arg for arg in op.arg}
        for name, arg in given.items():
            if _kind(arg) not in kinds.get(name, "").split("|"):
                yield f"{op.type} ({op.output[0]}) has the argument {name}={arg_value(arg)!r}, not {kinds.get(name)}"
        if op.type in _NEEDED and (left_out := kinds.keys() - given.keys()):
            yield f"{op.type} ({op.output[0]}) lacks the argument {', '.join(sorted(left_out))}"


def _kind(arg: Any) -> str:
    kinds = [field for field in ("i", "f", "s") if arg.HasField(field)]
    kinds += [kind for kind, numbers in (("fs", arg.floats), ("is", arg.ints)) if numbers]
    return " and ".join(kinds)
