"""A graph made smaller, as by onnxscript's optimizer (0.7.2, optimize_ir) with all its rules but these.

slice_split_rule asks of each node, whatever it is, which of all nodes it could go with: of a deformable network's 4000
nodes that took 22 s of CPU of 27, and it found nothing (measured 2026-11-28). flatten_to_reshape_rule names its
constant after the value that is flattened; when a value is flattened again the first constant is lost. Rules for
dropout and for quantised numbers, of which our graphs have none.
"""

from typing import Any

from onnx_ir.passes import common
from onnxscript import rewriter
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter.rules import common as rules

_BOTH_ORDERS = ("mul_by_1_rule", "add_0_rule")
_OTHERS = (
    "sub_0_rule",
    "div_by_1_rule",
    "two_reshapes_matmul_reshape_rule",
    "one_reshape_matmul_reshape_rule",
    "cast_constant_of_shape_rule",
    "cast_constant_of_shape_without_value_rule",
    "collapse_slice_rule",
    "collapse_slice2_rule",
    "materialize_reshape_shape_rule",
    "min_min_rule",
    "max_max_rule",
    "min_max_rule",
    "max_min_rule",
    "successive_clip_relu_rule",
    "successive_relu_clip_rule",
    "successive_relu_rule",
    "successive_clip_rule",
    "cast_cast_rule",
    "no_op_cast_rule",
    "no_op_expand_rule",
    "reshape_reshape_rule",
    "no_op_transpose_rule",
    "transpose_transpose_rule",
    "unsqueeze_unsqueeze_rule",
    "squeeze_reshape_1d_rule",
    "no_op_dynamic_scatter_nd_rule",
    "no_op_static_scatter_nd_rule",
    "normalize_pad_format_conv_rule",
    "fuse_pad_into_conv_rule",
    "fuse_batchnorm_into_conv_rule",
    "fuse_batchnorm_into_conv_transpose_rule",
    "fuse_batchnorm_into_gemm_rule",
    "remove_optional_bias_from_conv_rule",
    "remove_optional_bias_from_conv_transpose_rule",
    "remove_optional_bias_from_gemm_rule",
)
# By name, so that a version that lacks one of them still does.
RULES = (
    *(rule for name in _BOTH_ORDERS if hasattr(rules, name) for rule in getattr(rules, name).commute()),
    *(getattr(rules, name) for name in _OTHERS if hasattr(rules, name)),
)
ROUNDS = 2


def simplify(model: Any) -> None:
    """Fold and rewrite `model` (onnx_ir.Model) in place, its functions written out."""
    common.InlinePass()(model)
    for _ in range(ROUNDS):
        fold_constants(model, onnx_shape_inference=True)
        rewriter.rewrite(model, RULES)  # and what nobody reads is gone
    for last in (
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        last(model)
