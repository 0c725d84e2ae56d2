"""Read an image file as detectron2 does, resize it, pad it: numpy and Pillow.

Arrays are uint8 [H,W,3] in BGR everywhere: what detectron2's predictor takes, whatever the config's channel order.
"""

import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from d2deploy.errors import ImageError

MAX_PIXELS = 89_478_485
"""Largest image that is decoded: where Pillow, too, begins to suspect a decompression bomb. 256 MiB of pixels."""

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32 orientation (tag 274) -> what puts the image upright; 1 is upright already."""

ImageFile = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes of a file, or an open binary file."""


def read_image(file: ImageFile, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an image file: uint8 [H,W,3], BGR, contiguous, read-only.

    As detectron2 data/detection_utils.py (02b5c4e2): EXIF orientation first, then Pillow's own conversion to RGB,
    whatever that does to alpha (dropped), palettes, CMYK and 16 bits (cut at 255), then reversed. One difference:
    a TIFF that Pillow turns upright while loading is not turned a second time.

    Raises ImageError: missing, a folder, not an image, damaged, or of more than `max_pixels` pixels by its header
    (nothing is decoded then).
    """
    name = _name(file)
    with warnings.catch_warnings():
        # Pillow's warning comes at a fixed size; max_pixels decides here. Its other warnings are about metadata.
        warnings.simplefilter("ignore")
        with _open(file, name) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{name} is too large to decode: {image.width} x {image.height} pixels; the limit is {max_pixels}. "
                    f"Shrink it first."
                )
            return _decode(image, name)


def to_array(image: ImageFile | np.ndarray) -> np.ndarray:
    """An image that is a file or already an array: uint8 [H,W,3] BGR. Raises ImageError."""
    if not isinstance(image, np.ndarray):
        return read_image(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            f"An image array is {image.dtype} {list(image.shape)}; it must be uint8 [height, width, 3] in BGR, "
            f"as cv2.imread and d2deploy.image.read_image give it."
        )
    return image


def resized_shape(height: int, width: int, *, min_size: int, max_size: int) -> tuple[int, int]:
    """(height, width) after detectron2's short-edge rule.

    The shorter edge becomes `min_size`, unless the longer one would pass `max_size`, which it then becomes. Computed
    in floats and rounded once, half up. `min_size` 0: unchanged. No edge becomes less than 1 pixel: detectron2's
    rounding gives 0 for images thinner than 1 : 2 * max_size and fails there.
    """
    if min_size == 0:
        return height, width
    scale = min_size / min(height, width)
    new_height, new_width = (min_size, scale * width) if height < width else (scale * height, min_size)
    if (longer := max(new_height, new_width)) > max_size:
        shrink = max_size * 1.0 / longer
        new_height, new_width = new_height * shrink, new_width * shrink
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def resize_shortest_edge(image: np.ndarray, *, min_size: int, max_size: int) -> np.ndarray:
    """`image` uint8 [H,W,3] -> uint8 [h,w,3] of `resized_shape`, by Pillow's bilinear filter.

    That filter averages when it shrinks and rounds to uint8: OpenCV's and torch's results differ visibly. It rounds
    twice, after each axis. Pillow up to 12 always begins with the width, as here; from 13 on it begins with the height
    of tall images that shrink, and a quarter of their pixels are one grey level off (Pillow pull request 9549).
    """
    height, width = resized_shape(*image.shape[:2], min_size=min_size, max_size=max_size)
    if (height, width) == image.shape[:2]:
        return image
    narrow = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(narrow.resize((width, height), Image.Resampling.BILINEAR))


def to_batch(images: Sequence[np.ndarray], *, channel_order: str, size_divisor: int) -> tuple[np.ndarray, np.ndarray]:
    """Resized BGR images uint8 [h,w,3] -> the network's two inputs.

    images float32 [N,3,H,W], 0..255, `channel_order` "BGR" or "RGB", zero-padded at the right and bottom to the
    largest height and width, rounded up to multiples of `size_divisor` (0 or 1: not rounded);
    image_sizes int64 [N,2], (height, width) before padding.
    """
    sizes = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
    height, width = (_round_up(int(edge), size_divisor) for edge in sizes.max(axis=0))
    batch = np.zeros((len(images), 3, height, width), dtype=np.float32)
    for canvas, image in zip(batch, images, strict=True):
        planes = image.transpose(2, 0, 1)
        canvas[:, : image.shape[0], : image.shape[1]] = planes[::-1] if channel_order == "RGB" else planes
    return batch, sizes


def _round_up(edge: int, divisor: int) -> int:
    return math.ceil(edge / divisor) * divisor if divisor > 1 else edge


def _open(file: ImageFile, name: str) -> Image.Image:
    try:
        if isinstance(file, str | os.PathLike):
            return Image.open(file)
        return Image.open(io.BytesIO(file if isinstance(file, bytes) else file.read()))
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder. Give an image file.") from None
    except Image.DecompressionBombError as error:
        raise _bomb(name, error) from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not an image that Pillow can read. Convert it to PNG or JPEG.") from None
    except Exception as error:  # damaged headers make Pillow's readers raise almost anything
        raise ImageError(f"{name} cannot be read as an image: {_reason(error)}. Check the file.") from error


def _decode(image: Image.Image, name: str) -> np.ndarray:
    try:
        image.load()
        method = UPRIGHT.get(_orientation(image))
        upright = image if method is None else image.transpose(method)
        rgb = upright.convert("RGB")
        return np.frombuffer(rgb.tobytes("raw", "BGR"), dtype=np.uint8).reshape(rgb.height, rgb.width, 3)
    except Image.DecompressionBombError as error:
        raise _bomb(name, error) from None
    except Exception as error:  # damaged data makes Pillow's decoders raise almost anything
        raise ImageError(
            f"{name} is damaged or of a kind that Pillow cannot turn into RGB ({image.format}, mode {image.mode}): "
            f"{_reason(error)}. Copy the file again, or convert it to PNG or JPEG."
        ) from error


def _orientation(image: Image.Image) -> Any:
    try:
        return image.getexif().get(ORIENTATION_TAG)
    except Exception:  # unreadable EXIF counts as none, as in detectron2
        return None


def _bomb(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name} is too large to decode: {str(error).rstrip('.')}. Shrink it first.")


def _name(file: ImageFile) -> str:
    if isinstance(file, bytes):
        return f"The image of {len(file)} bytes"
    if isinstance(file, str | os.PathLike):
        return str(Path(file))
    return str(getattr(file, "name", None) or "The image")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
