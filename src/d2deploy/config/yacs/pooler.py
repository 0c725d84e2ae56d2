"""POOLER_* keys of a head -> schema.Pooler."""

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.checks import at, whole

POOLERS = ("ROIAlign", "ROIAlignV2", "ROIPool")


def pooler(cfg: Node, head: str) -> schema.Pooler:
    """The pooler of section `head`, such as MODEL.ROI_BOX_HEAD."""
    return schema.Pooler(
        type=at(cfg, f"{head}.POOLER_TYPE"),
        resolution=whole(cfg, f"{head}.POOLER_RESOLUTION"),
        sampling_ratio=whole(cfg, f"{head}.POOLER_SAMPLING_RATIO", least=0),
    )
