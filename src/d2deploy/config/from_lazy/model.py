"""The entry: a LazyConfig to a schema.ModelConfig.

To add a meta-architecture: a function in a file of your own and a row in ARCHITECTURES, by the target's short name:

    def my_detector(model: Arguments, levels: Levels, loader: Loader) -> schema.MyDetector:
        return schema.MyDetector(in_features=chosen(model, "in_features", levels), ...)

It takes what is its own of the model's arguments; backbone, pixel_mean, pixel_std, input_format and vis_period are
taken already, and whatever is left after it is refused.
"""

from collections.abc import Callable

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments
from d2deploy.config.from_lazy.backbone import backbone
from d2deploy.config.from_lazy.dense import fcos, retinanet
from d2deploy.config.from_lazy.input import Loader, read_input, read_loader
from d2deploy.config.from_lazy.levels import Levels
from d2deploy.config.from_lazy.proposals import rpn
from d2deploy.config.from_lazy.roi_heads import roi_heads
from d2deploy.config.from_lazy.segmentation import panoptic_fpn, semantic_segmentor
from d2deploy.config.lazy.node import LazyNode
from d2deploy.config.lazy.targets import check_targets
from d2deploy.errors import ConfigError


def lazy_model_config(
    config: LazyNode, *, min_size: int | None = None, max_size: int | None = None
) -> schema.ModelConfig:
    """What to build. `min_size`, `max_size`: shorter edge and cap of the longer one, in place of the data loader's.

    Raises ConfigError: no model, a class or an argument that d2deploy cannot build, parts that do not fit each other,
    no size where the config has no data loader for tests that says it.
    """
    if "model" not in config:
        raise ConfigError(f"The config has no model; it has {', '.join(map(str, config))}. Give a config of a network.")
    check_targets(config.model, "model")
    model = Arguments(config.model, "model")
    model.must_be(*ARCHITECTURES)
    loader = read_loader(config)
    images = read_input(model, loader, min_size, max_size)
    given = backbone(model.call("backbone"), len(images.pixel_mean))
    model.ignore("vis_period")
    architecture = ARCHITECTURES[model.target](model, given.levels, loader)
    model.done()
    return schema.ModelConfig(
        input=images,
        backbone=given.config,
        architecture=architecture,
        weights=_weights(config),
        dataset=loader.dataset,
    )


def generalized_rcnn(model: Arguments, levels: Levels, loader: Loader) -> schema.GeneralizedRCNN:
    """GeneralizedRCNN(proposal_generator, roi_heads); without a generator proposals are given (Fast R-CNN)."""
    proposals: schema.RPN | schema.PrecomputedProposals
    if model.has("proposal_generator"):
        proposals = rpn(model.call("proposal_generator"), levels)
    else:
        model.ignore("proposal_generator")
        proposals = schema.PrecomputedProposals(topk=loader.proposals_topk)
    return schema.GeneralizedRCNN(proposals=proposals, roi_heads=roi_heads(model.call("roi_heads"), levels))


def _proposal_network(model: Arguments, levels: Levels, _: Loader) -> schema.ProposalNetwork:
    return schema.ProposalNetwork(proposals=rpn(model.call("proposal_generator"), levels))


def _weights(config: LazyNode) -> str:
    train = config.get("train")
    checkpoint = train.get("init_checkpoint") if isinstance(train, LazyNode) else None
    return checkpoint if isinstance(checkpoint, str) else ""


ARCHITECTURES: dict[str, Callable[[Arguments, Levels, Loader], schema.Architecture]] = {
    "FCOS": fcos,
    "GeneralizedRCNN": generalized_rcnn,
    "PanopticFPN": panoptic_fpn,
    "ProposalNetwork": _proposal_network,
    "RetinaNet": retinanet,
    "SemanticSegmentor": semantic_segmentor,
}
