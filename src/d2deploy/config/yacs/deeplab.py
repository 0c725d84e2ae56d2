"""Keys of detectron2's projects DeepLab and Panoptic-DeepLab -> schema.

Facts: projects/DeepLab and projects/Panoptic-DeepLab at 02b5c4e2. ASPP_DROPOUT is training's alone; PROJECT_FEATURES is
read by nobody: the levels are those of IN_FEATURES.
"""

from d2deploy.config import schema
from d2deploy.config.datasets import thing_ids as things_of
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import NORMS, levels
from d2deploy.config.yacs.checks import Supported, at, flag, names, real, refused, whole, wholes
from d2deploy.errors import ConfigError

_SEMANTIC, _EMBED, _PANOPTIC = "MODEL.SEM_SEG_HEAD", "MODEL.INS_EMBED_HEAD", "MODEL.PANOPTIC_DEEPLAB"
_THING_IDS = "DATASETS.THING_IDS"  # ours: see projects.yaml
_MAX_DIVISOR = 4096


def supported_deeplab(cfg: Node) -> Supported:
    """What the keys of DeepLab's semantic heads may say."""
    crop: Supported = {"INPUT.CROP.TYPE": ("absolute",)} if flag(cfg, "INPUT.CROP.ENABLED") else {}
    return {**crop, f"{_SEMANTIC}.NORM": NORMS}


def supported_panoptic_deeplab(cfg: Node) -> Supported:
    """What the keys of Panoptic-DeepLab may say."""
    return {
        **supported_deeplab(cfg),
        f"{_SEMANTIC}.NAME": ("PanopticDeepLabSemSegHead",),
        f"{_EMBED}.NAME": ("PanopticDeepLabInsEmbedHead",),
        f"{_EMBED}.NORM": NORMS,
        # detectron2 asserts it: one key for the heads, the other only has to agree
        f"{_PANOPTIC}.USE_DEPTHWISE_SEPARABLE_CONV": (cfg.MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV,),
    }


def deeplab_v3_head(cfg: Node) -> schema.DeepLabV3Head:
    """MODEL.SEM_SEG_HEAD as DeepLabV3Head reads it."""
    in_features = names(cfg, f"{_SEMANTIC}.IN_FEATURES", allowed=levels(cfg))
    if len(in_features) != 1:
        raise refused(cfg, f"{_SEMANTIC}.IN_FEATURES", "one feature level in DeepLabV3Head")
    aspp = _aspp(cfg, _SEMANTIC)
    if whole(cfg, f"{_SEMANTIC}.CONVS_DIM") != aspp.channels:
        raise refused(cfg, f"{_SEMANTIC}.CONVS_DIM", f"{aspp.channels} in DeepLabV3Head, as ASPP_CHANNELS")
    return schema.DeepLabV3Head(
        in_feature=in_features[0],
        aspp=aspp,
        num_classes=whole(cfg, f"{_SEMANTIC}.NUM_CLASSES"),
        common_stride=whole(cfg, f"{_SEMANTIC}.COMMON_STRIDE"),
        norm=at(cfg, f"{_SEMANTIC}.NORM"),
        use_depthwise_separable_conv=flag(cfg, f"{_SEMANTIC}.USE_DEPTHWISE_SEPARABLE_CONV"),
    )


def deeplab_v3_plus_head(cfg: Node) -> schema.DeepLabV3PlusHead:
    """MODEL.SEM_SEG_HEAD as DeepLabV3PlusHead reads it."""
    return schema.DeepLabV3PlusHead(
        decoder=_decoder(cfg, _SEMANTIC), num_classes=whole(cfg, f"{_SEMANTIC}.NUM_CLASSES")
    )


def panoptic_deeplab_sem_seg_head(cfg: Node) -> schema.DeepLabV3PlusHead:
    """MODEL.SEM_SEG_HEAD as PanopticDeepLabSemSegHead reads it."""
    return schema.DeepLabV3PlusHead(
        decoder=_decoder(cfg, _SEMANTIC),
        num_classes=whole(cfg, f"{_SEMANTIC}.NUM_CLASSES"),
        head_channels=whole(cfg, f"{_SEMANTIC}.HEAD_CHANNELS"),
    )


def panoptic_deeplab(cfg: Node) -> schema.PanopticDeepLab:
    """MODEL.SEM_SEG_HEAD, MODEL.INS_EMBED_HEAD and MODEL.PANOPTIC_DEEPLAB."""
    kernel = whole(cfg, f"{_PANOPTIC}.NMS_KERNEL")
    if kernel % 2 == 0:
        raise refused(cfg, f"{_PANOPTIC}.NMS_KERNEL", "an odd number: an even one has no middle")
    return schema.PanopticDeepLab(
        sem_seg=panoptic_deeplab_sem_seg_head(cfg),
        ins_embed=schema.InsEmbedHead(
            decoder=_decoder(cfg, _EMBED), head_channels=whole(cfg, f"{_EMBED}.HEAD_CHANNELS")
        ),
        size_divisibility=_size_divisibility(cfg),
        thing_ids=_thing_ids(cfg),
        stuff_area=whole(cfg, f"{_PANOPTIC}.STUFF_AREA", least=0),
        center_threshold=real(cfg, f"{_PANOPTIC}.CENTER_THRESHOLD"),
        nms_kernel=kernel,
        top_k=whole(cfg, f"{_PANOPTIC}.TOP_K_INSTANCE"),
        predict_instances=flag(cfg, f"{_PANOPTIC}.PREDICT_INSTANCES"),
    )


def _decoder(cfg: Node, head: str) -> schema.DeepLabDecoder:
    in_features = names(cfg, f"{head}.IN_FEATURES", allowed=levels(cfg))
    project_channels = wholes(cfg, f"{head}.PROJECT_CHANNELS")
    if len(project_channels) != len(in_features) - 1:
        raise refused(cfg, f"{head}.PROJECT_CHANNELS", f"{len(in_features) - 1} numbers, one less than IN_FEATURES has")
    return schema.DeepLabDecoder(
        in_features=in_features,
        project_channels=project_channels,
        aspp=_aspp(cfg, head),
        conv_dims=whole(cfg, f"{head}.CONVS_DIM"),
        common_stride=whole(cfg, f"{head}.COMMON_STRIDE"),
        norm=at(cfg, f"{head}.NORM"),
        use_depthwise_separable_conv=flag(cfg, f"{_SEMANTIC}.USE_DEPTHWISE_SEPARABLE_CONV"),
    )


def _aspp(cfg: Node, head: str) -> schema.ASPP:
    dilations = wholes(cfg, f"{head}.ASPP_DILATIONS")
    if len(dilations) != 3:
        raise refused(cfg, f"{head}.ASPP_DILATIONS", "three whole numbers")
    return schema.ASPP(
        channels=whole(cfg, f"{head}.ASPP_CHANNELS"),
        dilations=(dilations[0], dilations[1], dilations[2]),
        crop_size=_crop_size(cfg),
    )


def _crop_size(cfg: Node) -> tuple[int, int] | None:
    """The size that training cut its images to, which stays the size of ASPP's window; None: images were whole."""
    if not flag(cfg, "INPUT.CROP.ENABLED"):
        return None
    size = wholes(cfg, "INPUT.CROP.SIZE")
    if len(size) != 2:
        raise refused(cfg, "INPUT.CROP.SIZE", "two whole numbers, height and width")
    return size[0], size[1]


def _size_divisibility(cfg: Node) -> int:
    """What the input's sides are padded to multiples of; 0: what the backbone says."""
    divisor = whole(cfg, f"{_PANOPTIC}.SIZE_DIVISIBILITY", least=-1)
    if divisor > _MAX_DIVISOR:
        raise refused(cfg, f"{_PANOPTIC}.SIZE_DIVISIBILITY", f"at most {_MAX_DIVISOR}")
    return max(divisor, 0)


def _thing_ids(cfg: Node) -> tuple[int, ...]:
    """Which channels of sem_seg are things: detectron2 knows it from the metadata of DATASETS.TRAIN[0]."""
    given = wholes(cfg, _THING_IDS, least=0) if "THING_IDS" in cfg.DATASETS else ()
    dataset = next(iter((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)), "")
    found = given or things_of(dataset)
    if not found:
        raise ConfigError(
            f"Nobody knows which classes are things: detectron2 has no panoptic dataset {dataset!r} (DATASETS.TRAIN). "
            f'Say it with the override {_THING_IDS} "[11,12,13]": the contiguous ids of the thing classes.'
        )
    classes = whole(cfg, f"{_SEMANTIC}.NUM_CLASSES")
    if max(found) >= classes:
        raise ConfigError(
            f"{_SEMANTIC}.NUM_CLASSES is {classes}, but "
            + (_THING_IDS if given else f"the things of {dataset}")
            + f" go up to {max(found)}. Set {_THING_IDS} to those of your own classes."
        )
    return tuple(sorted(set(found)))
