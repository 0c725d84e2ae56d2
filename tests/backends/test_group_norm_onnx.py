"""Group norm inside an ONNX graph: with weights and without, and of no rows, as where nothing was found."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from d2deploy.backends.capture import quiet
from d2deploy.backends.onnx.lowerings import lowerings

FREE = torch.export.Dim.DYNAMIC


def with_weights() -> nn.GroupNorm:
    norm = nn.GroupNorm(4, 8, eps=1e-3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("norm", [with_weights(), nn.GroupNorm(2, 8, affine=False)], ids=["weights", "none"])
def test_it_is_torchs(norm: nn.GroupNorm) -> None:
    with quiet():
        axes = ({0: FREE, 2: FREE, 3: FREE},)
        program = torch.export.export(norm.eval(), (torch.randn(3, 8, 6, 5),), dynamic_shapes=axes, strict=False)
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    assert exported is not None
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    (name,) = (value.name for value in session.get_inputs())
    for shape in ((2, 8, 4, 9), (1, 8, 1, 3), (0, 8, 14, 14)):
        x = torch.randn(shape)
        (made,) = session.run(None, {name: x.numpy()})
        assert made.shape == shape
        np.testing.assert_allclose(made, norm(x).detach().numpy(), atol=1e-5)
