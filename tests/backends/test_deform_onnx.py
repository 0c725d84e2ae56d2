"""Deformable samples in ONNX Runtime are our DeformSample, at sizes that the export did not see."""

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import OPAQUE, quiet, swapped
from d2deploy.backends.onnx.lowerings import lowerings
from d2deploy.ops.deform_sample import DeformSample


class Around(nn.Module):
    """A network that is one op, of a kernel of 3 x 3."""

    def __init__(self, *, stride: int, dilation: int, groups: int) -> None:
        super().__init__()
        self.sample = DeformSample(kernel=3, stride=stride, padding=dilation, dilation=dilation, groups=groups)

    def inputs(self, images: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        rows, columns = ((side - 1) // self.sample.stride + 1 for side in (height, width))
        x = torch.randn((images, 4, height, width), generator=random)
        return x, torch.randn((images, self.sample.groups * 18, rows, columns), generator=random) * 2

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        return self.sample(x, offset)


@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 1), (1, 2, 2)])
def test_equal(stride: int, dilation: int, groups: int) -> None:
    network, free = Around(stride=stride, dilation=dilation, groups=groups), torch.export.Dim.DYNAMIC
    axes = {0: free, 2: free, 3: free}
    with quiet():
        program = torch.export.export(
            swapped(network, OPAQUE), network.inputs(2, 7, 9), dynamic_shapes=(axes, axes), strict=False
        )
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    assert exported is not None
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    for size in ((1, 5, 5), (3, 8, 9), (2, 20, 6), (1, 1, 1)):
        inputs = network.inputs(*size)
        (ours,) = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
        # Grid sampling has its positions from -1 to 1, with the roundings of that.
        torch.testing.assert_close(torch.from_numpy(ours), network(*inputs), atol=1e-5, rtol=1e-5)
