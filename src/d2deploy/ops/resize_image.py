"""An image file's pixels to the network's input: detectron2's short-edge rule and Pillow's bilinear filter, inside.

Pillow resizes 8-bit images in whole numbers (src/libImaging/Resample.c): along x, then along y, each new pixel is a sum
of old ones with weights of 22 bits, rounded to 8 bits. A weight falls linearly from the new pixel's centre to zero at
`max(1, scale)` old pixels from it, and the weights of a pixel are divided by their sum. Counted in halves of a pixel
times the new size that is a quotient of whole numbers, so nothing here depends on how a runtime rounds.
"""

import torch
from torch import Tensor, nn


def resized_shape(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """The rule of d2deploy.image.resized_shape, in the same floats; `min_size` above 0."""
    scale = min_size / min(height, width)
    new_height, new_width = scale * height, scale * width
    if height < width:
        new_height = float(min_size)
    else:
        new_width = float(min_size)
    longer = max(new_height, new_width)
    if longer > max_size:
        new_height, new_width = new_height * (max_size / longer), new_width * (max_size / longer)
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def window_weights(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each block of 16 new pixels: the old pixels that it looks at, int64 [blocks,V], and the weights of its pixels

    on them, float32 [blocks,32,V]: the high digits of all, then the low ones, of 11 bits each. Beyond the image they
    are zero. Sums of pixels times digits are exact in float32, where sums of pixels times weights would not be.
    """
    block, digit = 16, 2048
    reach = max(old, new)
    blocks = (new + block - 1) // block
    center = 2 * torch.arange(blocks * block, device=device).clamp(max=new - 1).reshape(blocks, block) + 1
    first = torch.div(center[:, :1] * old - 2 * reach - new, 2 * new, rounding_mode="floor").clamp(min=0)
    pixel = first + torch.arange((block * old + 2 * reach) // new + 3, device=device)
    distance = ((2 * pixel[:, None, :] + 1) * new - center[:, :, None] * old).abs()
    weight = (2 * reach - distance).clamp(min=0) * (pixel < old)[:, None, :]
    total = weight.sum(dim=2, keepdim=True)
    high = torch.div(weight * digit, total, rounding_mode="floor")
    rest = (weight * digit - high * total) * digit
    low = torch.div(rest, total, rounding_mode="floor")
    low = low + (2 * (rest - low * total) >= total)
    return pixel.clamp(max=old - 1), torch.cat((high, low), dim=1).float()


def resize_rows(rows: Tensor, new: int) -> Tensor:
    """rows[old,C] float32, whole numbers 0..255 -> [new,C], such numbers, as Pillow resizes along one axis."""
    pixels, weights = window_weights(rows.shape[0], new, rows.device)
    windows = rows.index_select(0, pixels.flatten()).reshape(pixels.shape[0], pixels.shape[1], rows.shape[1])
    high, low = (weights @ windows).chunk(2, dim=1)
    # (high * 2048 + low + a half of 22 bits) >> 22, without a number that float32 could not hold.
    rounded = torch.floor((high + torch.floor(low / 2048) + 1024) / 2048)
    return rounded.flatten(0, 1)[:new]


def resize_image(image: Tensor, height: int, width: int) -> Tensor:
    """image[H,W,C] uint8 -> [height,width,C] float32, whole numbers 0..255: equal to Pillow's resize(BILINEAR).

    Tested to the bit up to a 16th of the size; beyond, a sum of low digits may lose its last bit.
    """
    channels = image.shape[2]
    columns = image.permute(1, 0, 2).flatten(1).float()
    narrow = resize_rows(columns, width).reshape(width, image.shape[0], channels)
    rows = narrow.permute(1, 0, 2).flatten(1)
    return resize_rows(rows, height).reshape(height, width, channels)


class ResizeImage(nn.Module):
    """`resize_image` to the short-edge rule's size. `min_size` 0: the image as it is."""

    def __init__(self, *, min_size: int, max_size: int) -> None:
        super().__init__()
        self.min_size, self.max_size = min_size, max_size

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image[H,W,3] uint8 -> images[1,3,h,w] float32, image_sizes[1,2] (h, w), original_sizes[1,2] (H, W)."""
        height, width = image.shape[0], image.shape[1]
        new_height, new_width = height, width
        resized = image.float()
        if self.min_size > 0:
            new_height, new_width = resized_shape(height, width, self.min_size, self.max_size)
            resized = resize_image(image, new_height, new_width)
        sizes = torch.tensor([[new_height, new_width], [height, width]], device=image.device)
        return resized.permute(2, 0, 1)[None], sizes[:1], sizes[1:]
