"""A peak at the border of Panoptic-DeepLab's heat map: as many equal pixels in a graph as in the network."""

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import quiet
from d2deploy.backends.onnx.lowerings import lowerings
from d2deploy.models.deeplab import enlarged
from d2deploy.models.panoptic_deeplab import last_repeated

FREE = torch.export.Dim.DYNAMIC
HEAT = torch.rand((1, 1, 64, 96), generator=torch.Generator().manual_seed(0))


class HeatMap(nn.Module):
    """Enlarged as it is, and as the head gives it; after a convolution, which ONNX Runtime enlarges in blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(16, 1, kernel_size=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        plain = enlarged(self.conv(x), 4.0)
        return plain, last_repeated(plain, count=1)


def test_torch_has_them_equal_anyway() -> None:
    """But in maps of some 250 cells, which another kernel of torch's enlarges: no image is so small."""
    for scale in (2, 4, 8):
        plain = enlarged(HEAT, float(scale))
        assert torch.equal(plain, last_repeated(plain, count=scale // 2 - 1))


def test_the_last_rows_and_columns_are_equal_in_onnx_runtime() -> None:
    network, features = HeatMap().eval().requires_grad_(False), HEAT * torch.linspace(0.5, 1, 16).reshape(1, 16, 1, 1)
    with quiet():
        program = torch.export.export(
            network, (features[:, :, :8, :8].contiguous(),), dynamic_shapes=({2: FREE, 3: FREE},), strict=False
        )
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=18, custom_translation_table=lowerings(), verbose=False
        )
    assert exported is not None
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    plain, repeated = session.run(None, {session.get_inputs()[0].name: features.numpy()})
    # The reason for it all; should it be equal one day, last_repeated can go.
    assert (plain[:, :, -1] != plain[:, :, -2]).any() and (plain[..., -1] != plain[..., -2]).any()
    assert (repeated[:, :, -1] == repeated[:, :, -2]).all() and (repeated[..., -1] == repeated[..., -2]).all()
    np.testing.assert_allclose(repeated, network(features)[1], atol=1e-6)
