"""What cuts a box out of feature levels."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pooler:
    """POOLER_*: how the pixels under a box become a fixed-size feature."""

    type: str  # "ROIAlign", "ROIAlignV2" (half-pixel aligned), "ROIAlignRotated", "ROIPool" (no sampling)
    resolution: int
    sampling_ratio: int  # samples per bin side; 0: as many as cells
