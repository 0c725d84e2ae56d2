"""TridentNet's keys: its branches share their weights and differ in the dilation of one stage of the backbone.

TEST_BRANCH_IDX says which of them runs, as in all official models ("fast"); -1 runs all, and NMS merges what they find.
The project's RPN and RoI heads differ from the plain ones in that alone. Facts: detectron2's projects/TridentNet.
"""

from d2deploy.config.node import Node
from d2deploy.config.yacs.checks import at, refused, whole, wholes

BACKBONE = "build_trident_resnet_backbone"
# Part -> what it is where one branch runs.
_PLAIN = {
    "TridentRPN": "RPN",
    "TridentRes5ROIHeads": "Res5ROIHeads",
    "TridentStandardROIHeads": "StandardROIHeads",
}
_INDEX = "MODEL.TRIDENT.TEST_BRANCH_IDX"


def plain_name(cfg: Node, key: str) -> str:
    """The name at `key`, or that of the plain part which it is where one branch runs."""
    name: str = at(cfg, key)
    return _PLAIN.get(name, name)


def check_one_branch(cfg: Node, key: str) -> None:
    """Raises ConfigError when the part that `key` names would have to merge branches."""
    if plain_name(cfg, key) != at(cfg, key):
        branch_dilation(cfg)


def branch_dilation(cfg: Node) -> int:
    """The dilation of the branch that runs. Raises ConfigError when it is not one of them."""
    count = whole(cfg, "MODEL.TRIDENT.NUM_BRANCH")
    dilations = wholes(cfg, "MODEL.TRIDENT.BRANCH_DILATIONS")
    if len(dilations) != count:
        raise refused(cfg, "MODEL.TRIDENT.BRANCH_DILATIONS", f"one dilation for each of {count} branches (NUM_BRANCH)")
    index = at(cfg, _INDEX)
    if type(index) is not int or not 0 <= index < count:
        raise refused(
            cfg,
            _INDEX,
            f"one branch, 0 to {count - 1}: merging the detections of all branches (-1) is not supported. detectron2 "
            f"recommends the middle one: -o {_INDEX} {count // 2}",
        )
    return dilations[index]
