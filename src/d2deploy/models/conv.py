"""A convolution with its norm inside it, as detectron2's checkpoints name them: conv.weight, conv.norm.weight."""

from torch import Tensor, nn

from d2deploy.models.norm import make_norm


class Conv2d(nn.Conv2d):
    """Convolution, then norm, then ReLU when asked. A norm replaces the bias (detectron2 layers/wrappers.py)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: str = "",
        bias: bool | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=not norm if bias is None else bias,
        )
        self.norm = make_norm(norm, out_channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,out_channels,H/stride,W/stride]."""
        x = nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if self.norm is not None:
            x = self.norm(x)
        if self.relu:
            x = nn.functional.relu_(x)
        return x
