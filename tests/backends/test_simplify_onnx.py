"""A graph made smaller says the same."""

import numpy as np
import onnx
import onnx_ir
import onnxruntime

from d2deploy.backends.onnx.simplify import simplify

TEXT = """
<ir_version: 8, opset_import: ["" : 18]>
graph (float[N,3,4] x) => (float[N,4,3] turned, float[M,4] once, float[M,4] again) {
    zero = Constant <value_float = 0.0> ()
    same = Add (x, zero)
    there = Transpose <perm = [0, 2, 1]> (same)
    back = Transpose <perm = [0, 2, 1]> (there)
    turned = Transpose <perm = [0, 2, 1]> (back)
    first = Flatten <axis = 2> (same)
    second = Flatten <axis = 2> (same)
    once = Relu (first)
    again = Sigmoid (second)
    unread = Exp (x)
}
"""


def test_smaller_and_the_same():
    given = onnx.parser.parse_model(TEXT)
    model = onnx_ir.from_proto(given)
    simplify(model)
    made = onnx_ir.to_proto(model)
    onnx.checker.check_model(made, full_check=True)
    # Once each: what is worked out twice is taken from one place.
    assert sorted(node.op_type for node in made.graph.node) == ["Flatten", "Relu", "Sigmoid", "Transpose"]
    x = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    for ours, theirs in zip(run(made, x), run(given, x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def run(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
