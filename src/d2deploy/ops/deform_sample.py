"""The samples of a deformable convolution: each kernel tap reads where its offset says."""

import torch
from torch import Tensor, nn


def tap_positions(offset: Tensor, *, kernel: int, stride: int, padding: int, dilation: int, groups: int) -> Tensor:
    """Where each tap reads: offset[N,groups*K*2,H',W'] -> [2,N,groups,H'*W',K], rows first, in cells of the input.

    The whole number of cells is added last, as torchvision does: offsets decide by their last digits what a deep
    network of such layers sees.
    """
    rows, columns, taps = offset.shape[2], offset.shape[3], kernel * kernel
    moved = offset.reshape(-1, groups, taps, 2, rows * columns).permute(3, 0, 1, 4, 2)
    steps = torch.arange(taps, device=offset.device)
    tap_y, tap_x = steps.div(kernel, rounding_mode="floor") * dilation, (steps % kernel) * dilation
    row, column = torch.arange(rows, device=offset.device), torch.arange(columns, device=offset.device)
    cell_y = (row * stride - padding)[:, None].expand(rows, columns).reshape(-1)
    cell_x = (column * stride - padding)[None, :].expand(rows, columns).reshape(-1)
    return torch.stack((moved[0] + (cell_y[:, None] + tap_y), moved[1] + (cell_x[:, None] + tap_x)))


def deform_sample(
    x: Tensor, offset: Tensor, *, kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> Tensor:
    """What each tap of a kernel x kernel convolution reads at each output cell.

    x[N,C,H,W]; offset[N,groups*K*2,H',W'] in cells of x, for each of K = kernel^2 taps (y, x), `groups` equal parts of
    the channels having their own -> [N,H'*W',K,C]. Bilinear, zero beyond the border (torchvision deform_conv2d.cpp).

    One embedding_bag over the cells of x, channels last: a tap is a bag of its four corners.
    """
    images, channels, height, width = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    y, column = tap_positions(
        offset, kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=groups
    ).unbind(0)
    top, left = y.floor(), column.floor()
    corners_y = torch.stack((top, top, top + 1, top + 1), dim=-1)
    corners_x = torch.stack((left, left + 1, left, left + 1), dim=-1)
    weights = (1 - (y[..., None] - corners_y).abs()) * (1 - (column[..., None] - corners_x).abs())
    inside = (corners_y >= 0) & (corners_y < height) & (corners_x >= 0) & (corners_x < width)
    cell = corners_y.clamp(0, height - 1) * width + corners_x.clamp(0, width - 1)
    # One table of cells: image by image, and each cell's groups of channels one after the other.
    image = torch.arange(images, device=x.device).reshape(-1, 1, 1, 1, 1)
    group = torch.arange(groups, device=x.device).reshape(-1, 1, 1, 1)
    index = ((image * (height * width) + cell.to(torch.int64)) * groups + group).permute(0, 2, 3, 1, 4)
    table = x.permute(0, 2, 3, 1).reshape(-1, channels // groups)
    sampled = nn.functional.embedding_bag(
        index.reshape(-1, 4),
        table,
        mode="sum",
        per_sample_weights=weights.masked_fill(~inside, 0.0).permute(0, 2, 3, 1, 4).reshape(-1, 4),
    )
    return sampled.reshape(images, offset.shape[2] * offset.shape[3], kernel * kernel, channels)


class DeformSample(nn.Module):
    """`deform_sample` with its constants."""

    def __init__(self, *, kernel: int, stride: int, padding: int, dilation: int, groups: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.dilation, self.groups = dilation, groups

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """See `deform_sample`."""
        return deform_sample(
            x,
            offset,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
