"""Where on a body's surface the pixels of a detection lie: detectron2's two kinds of DensePose."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class DensePoseChart:
    """A body part for each pixel, and a place on it. Names as in detectron2's DensePoseChartResultWithConfidences."""

    x: int  # of the left column and the top row, pixels of the original image
    y: int
    labels: np.ndarray  # [h,w] uint8: 1..24 a part of the surface, 0 none
    uv: np.ndarray  # [2,h,w] float32: u and v on the part, mostly 0..1; 0 where there is none
    confidences: Mapping[str, np.ndarray] = field(default_factory=dict)  # name, such as sigma_2 -> [h,w] float32

    @property
    def surface(self) -> np.ndarray:
        """[h,w]: a number for each place that is told apart; 0: not on the body."""
        return self.labels


@dataclass(frozen=True, kw_only=True, eq=False)
class DensePoseVertices:
    """The vertex of a mesh that each pixel is nearest to, as embeddings (continuous surface embeddings, CSE)."""

    x: int  # of the left column and the top row, pixels of the original image
    y: int
    vertices: np.ndarray  # [h,w] int32: rows of the mesh's list, -1 where no body is; without a mesh 0 where one is
    mesh: str  # its name, such as smpl_27554; "": the model has none for the class

    @property
    def surface(self) -> np.ndarray:
        """[h,w]: a number for each place that is told apart; 0: not on the body."""
        surface: np.ndarray = self.vertices + 1
        return surface


DensePose = DensePoseChart | DensePoseVertices
