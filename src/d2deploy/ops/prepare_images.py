"""Raw pixels to the network's input: normalise, then zero what is not image."""

import torch
from torch import Tensor, nn


def prepare_images(
    images: Tensor, image_sizes: Tensor, *, mean: list[float], std: list[float], size_divisor: int, square_size: int
) -> Tensor:
    """Normalised images, zero outside each image and up to the next multiple of `size_divisor`.

    images[N,3,H,W] float 0..255, anything beyond image_sizes[N,2] (height, width) -> [N,3,H',W'] float32. With a
    `square_size` above 0 they become that square instead; what is larger is cut, as detectron2 does for ViTDet.
    Zeroing comes after normalising: detectron2 pads the normalised image (ImageList.from_tensors), so the
    padding is the mean colour; padding first would make it black.
    """
    height, width = images.shape[-2], images.shape[-1]
    below = torch.arange(height, device=images.device)[None, :] < image_sizes[:, :1]
    right = torch.arange(width, device=images.device)[None, :] < image_sizes[:, 1:]
    inside = (below[:, :, None] & right[:, None, :])[:, None]
    mean_C11 = torch.tensor(mean, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)
    std_C11 = torch.tensor(std, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)
    normalised = ((images - mean_C11) / std_C11).masked_fill(~inside, 0.0)
    if square_size > 0:
        return nn.functional.pad(normalised, [0, square_size - width, 0, square_size - height])
    return pad_to_multiple(normalised, size_divisor)


def pad_to_multiple(images: Tensor, divisor: int) -> Tensor:
    """images[N,C,H,W] with zeros below and to the right, up to the next multiples of `divisor`."""
    return nn.functional.pad(images, [0, -images.shape[-1] % divisor, 0, -images.shape[-2] % divisor])


class PrepareImages(nn.Module):
    """`prepare_images` with its constants."""

    def __init__(
        self, *, mean: tuple[float, ...], std: tuple[float, ...], size_divisor: int, square_size: int = 0
    ) -> None:
        super().__init__()
        self.mean, self.std = list(mean), list(std)
        self.size_divisor, self.square_size = max(size_divisor, 1), square_size

    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """See `prepare_images`."""
        return prepare_images(
            images,
            image_sizes,
            mean=self.mean,
            std=self.std,
            size_divisor=self.size_divisor,
            square_size=self.square_size,
        )
