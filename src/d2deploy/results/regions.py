"""Results that say something about every pixel."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from d2deploy.results.instances import Instances
from d2deploy.results.resize import resize, resize_bands


@dataclass(frozen=True, kw_only=True, eq=False)
class SemanticResult:
    """What every pixel of the original image is.

    Kept are the network's logits; what is made of them for the original image is made when it is asked for. A photo of
    12 megapixels has 2.6 GB of logits for 54 classes, and most want the labels alone.
    """

    image_size: tuple[int, int]  # (height, width) of the original image
    logits: np.ndarray  # [C,h,w] float32 on the image as the network saw it, without padding
    known_labels: np.ndarray | None = None  # what `labels` is to be, from a graph that has made it of the logits

    @property
    def sem_seg(self) -> np.ndarray:
        """Logits for each pixel of the original image, float32 [C,H,W]: detectron2's `sem_seg`. Made anew each time."""
        return resize(self.logits, self.image_size)

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of each pixel of the original image, int64 [H,W]: the highest of sem_seg, the first of equals."""
        if self.known_labels is not None:
            return self.known_labels
        labels = np.empty(self.image_size, dtype=np.int64)
        for rows, band in resize_bands(self.logits, self.image_size):
            band.argmax(axis=0, out=labels[rows])
        return labels


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One region of a panoptic picture.

    `category_id` counts things from 0, and stuff as the channels of sem_seg; of Panoptic-DeepLab both as the channels.
    """

    id: int  # its value in panoptic_seg
    is_thing: bool
    category_id: int
    score: float | None = None  # of a thing that is a detection
    instance_id: int | None = None  # the row of that detection
    area: int | None = None  # pixels, of stuff


@dataclass(frozen=True, kw_only=True, eq=False)
class PanopticResult:
    """Every pixel of the original image as part of one region: a thing, or a kind of stuff."""

    image_size: tuple[int, int]  # (height, width) of the original image
    panoptic_seg: np.ndarray  # [H,W] int32: ids of segments; 0: none (Panoptic-DeepLab: -1; 0 is a segment there)
    segments: tuple[Segment, ...]
    sem_seg: SemanticResult
    instances: Instances | None  # None: the model has no detector
