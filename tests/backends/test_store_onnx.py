"""An ONNX graph on disk, also one whose weights are too many for a file: a limit of a few bytes stands for 2 GB."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from d2deploy.backends.onnx.store import store

WEIGHT = np.arange(4096, dtype=np.float32).reshape(64, 64)
X = np.random.default_rng(0).random((2, 64), dtype=np.float32)


def graph() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    x, y = value("x", onnx.TensorProto.FLOAT, ["n", 64]), value("y", onnx.TensorProto.FLOAT, ["n", 64])
    node = helper.make_node("MatMul", ["x", "weight"], ["y"])
    made = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(WEIGHT, "weight")])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(("most", "files"), [(WEIGHT.nbytes, ["m.onnx"]), (100, ["m.onnx", "m.onnx.data"])])
def test_both_runtimes_read_it(tmp_path, most, files):
    import onnxruntime
    import openvino

    proto, before = graph(), graph()
    store(proto, tmp_path / "m.onnx", most=most)
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert (tmp_path / "m.onnx").stat().st_size < WEIGHT.nbytes or len(files) == 1
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": X})[0], X @ WEIGHT, rtol=1e-5)
    compiled = openvino.compile_model(openvino.Core().read_model(tmp_path / "m.onnx"), "CPU")
    np.testing.assert_allclose(compiled(X)[0], X @ WEIGHT, rtol=1e-5)
    assert [t.raw_data for t in proto.graph.initializer] == [t.raw_data for t in before.graph.initializer]


@pytest.mark.parametrize("most", [WEIGHT.nbytes, 100])
def test_a_wrong_graph_is_refused(tmp_path, most):
    proto = graph()
    proto.graph.node[0].op_type = "Matmull"
    with pytest.raises(onnx.checker.ValidationError, match="Matmull"):
        store(proto, tmp_path / "m.onnx", most=most)
