"""Results on their image, for people to look at: Pillow."""

from d2deploy.draw.canvas import colour_of, side_by_side
from d2deploy.draw.kinds import draw_result
from d2deploy.draw.objects import draw_instances, draw_proposals
from d2deploy.draw.regions import draw_panoptic, draw_semantic

__all__ = [
    "colour_of",
    "draw_instances",
    "draw_panoptic",
    "draw_proposals",
    "draw_result",
    "draw_semantic",
    "side_by_side",
]
