"""Keys of detectron2's project DensePose -> schema. Facts: projects/DensePose, as far as it could be read.

Those files could not be read at 02b5c4e2, but in other versions of detectron2 and in copies of it.

Keys about losses and training data are not read. HEATMAP_SIZE is one of them: other keys say how large the maps are.
"""

import re
from collections.abc import Callable, Mapping

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import NORMS, PYRAMIDS, TOP_LEVELS, check_groups
from d2deploy.config.yacs.checks import Supported, at, flag, real, refused, whole
from d2deploy.config.yacs.hrnet import BACKBONE as HRFPN_NAME
from d2deploy.config.yacs.pooler import POOLERS, pooler
from d2deploy.errors import ConfigError

ROI_HEADS = "DensePoseROIHeads"
_KEY = "MODEL.ROI_DENSEPOSE_HEAD"
_EMBEDDERS = f"{_KEY}.CSE.EMBEDDERS"
_MESH_NAMES = "DATASETS.CLASS_TO_MESH_NAME_MAPPING"
_DEEPLAB_HEAD = "DensePoseDeepLabHead"
_WITH_CONFIDENCE = "DensePoseChartWithConfidencePredictor"
_GROUPS = 32  # of the group norms in pyramid pooling and in the non-local block, whatever DEEPLAB.NORM says
_DEEPLAB: Supported = {f"{_KEY}.DEEPLAB.NORM": ("", "GN"), f"{_KEY}.DEEPLAB.NONLOCAL_ON": (0, 1)}
_CONFIDENCE: Supported = {f"{_KEY}.UV_CONFIDENCE.TYPE": ("iid_iso", "indep_aniso")}
# Backbone -> the key that says how many channels its levels have.
_CHANNELS = {
    **dict.fromkeys(PYRAMIDS, "MODEL.FPN.OUT_CHANNELS"),
    HRFPN_NAME: "MODEL.HRNET.HRFPN.OUT_CHANNELS",
}


def has_dense_pose(cfg: Node) -> bool:
    """Whether the RoI heads have a DensePose head: other RoI heads do not read DENSEPOSE_ON."""
    return at(cfg, "MODEL.ROI_HEADS.NAME") == ROI_HEADS and flag(cfg, "MODEL.DENSEPOSE_ON")


def supported_dense_pose(cfg: Node) -> Supported:
    """What the keys of a DensePose head may say."""
    return {
        f"{_KEY}.NAME": ("DensePoseV1ConvXHead", _DEEPLAB_HEAD),
        f"{_KEY}.POOLER_TYPE": POOLERS,
        f"{_KEY}.PREDICTOR_NAME": tuple(_PREDICTORS),
        **({f"{_KEY}.DECODER_NORM": NORMS} if flag(cfg, f"{_KEY}.DECODER_ON") else {}),
        **(_DEEPLAB if _is_deeplab(cfg) else {}),
        **(_CONFIDENCE if at(cfg, f"{_KEY}.PREDICTOR_NAME") == _WITH_CONFIDENCE else {}),
    }


def dense_pose_head(cfg: Node) -> schema.DensePoseHead:
    """MODEL.ROI_DENSEPOSE_HEAD."""
    decoder, is_deeplab = _decoder(cfg), _is_deeplab(cfg)
    head = schema.DensePoseHead(
        pooler=pooler(cfg, _KEY),
        decoder=decoder,
        is_deeplab=is_deeplab,
        use_nonlocal=is_deeplab and bool(cfg.MODEL.ROI_DENSEPOSE_HEAD.DEEPLAB.NONLOCAL_ON),
        norm=cfg.MODEL.ROI_DENSEPOSE_HEAD.DEEPLAB.NORM if is_deeplab else "",
        conv_dims=(whole(cfg, f"{_KEY}.CONV_HEAD_DIM"),) * whole(cfg, f"{_KEY}.NUM_STACKED_CONVS", least=0),
        kernel_size=whole(cfg, f"{_KEY}.CONV_HEAD_KERNEL"),
        predictor=_PREDICTORS[cfg.MODEL.ROI_DENSEPOSE_HEAD.PREDICTOR_NAME](cfg),
    )
    if head.kernel_size % 2 == 0:
        raise refused(cfg, f"{_KEY}.CONV_HEAD_KERNEL", "odd, so that a convolution's output is as large as its input")
    if is_deeplab:
        _check_deeplab(cfg, head, _level_channels(cfg) if decoder is None else decoder.out_channels)
    return head


def _is_deeplab(cfg: Node) -> bool:
    return bool(cfg.MODEL.ROI_DENSEPOSE_HEAD.NAME == _DEEPLAB_HEAD)


def _decoder(cfg: Node) -> schema.DensePoseDecoder | None:
    if not flag(cfg, f"{_KEY}.DECODER_ON"):
        return None
    decoder = schema.DensePoseDecoder(
        out_channels=whole(cfg, f"{_KEY}.DECODER_NUM_CLASSES"),
        conv_dims=whole(cfg, f"{_KEY}.DECODER_CONV_DIMS"),
        norm=cfg.MODEL.ROI_DENSEPOSE_HEAD.DECODER_NORM,
        common_stride=whole(cfg, f"{_KEY}.DECODER_COMMON_STRIDE"),
    )
    check_groups(cfg, f"{_KEY}.DECODER_NORM", f"{_KEY}.DECODER_CONV_DIMS", decoder.conv_dims)
    # roi_head.py builds the head on the decoder for the levels' channels; with others detectron2 breaks.
    channels = _level_channels(cfg) or decoder.out_channels
    if channels != decoder.out_channels:
        raise refused(cfg, f"{_KEY}.DECODER_NUM_CLASSES", f"{channels}, as many as the feature levels have channels")
    return decoder


def _level_channels(cfg: Node) -> int | None:
    """Channels of the levels that boxes are cut out of; None for a user's own backbone."""
    name = cfg.MODEL.BACKBONE.NAME
    if name in _CHANNELS:
        return whole(cfg, _CHANNELS[name])
    if name not in TOP_LEVELS:
        return None
    stage: str = cfg.MODEL.ROI_HEADS.IN_FEATURES[0]
    if stage == "stem":
        return whole(cfg, "MODEL.RESNETS.STEM_OUT_CHANNELS")
    return whole(cfg, "MODEL.RESNETS.RES2_OUT_CHANNELS") << (int(stage.removeprefix("res")) - 2)


def _check_deeplab(cfg: Node, head: schema.DensePoseHead, channels: int | None) -> None:
    """`channels`: of what comes into the head."""
    if channels and channels % _GROUPS:
        raise refused(
            cfg, f"{_KEY}.NAME", f"another head: this one needs a multiple of {_GROUPS} channels, not {channels}"
        )
    check_groups(cfg, f"{_KEY}.DEEPLAB.NORM", f"{_KEY}.CONV_HEAD_DIM", head.conv_dims[0] if head.conv_dims else 0)
    # deeplab.py always says that CONV_HEAD_DIM channels come out, also where no convolution makes them.
    if not head.conv_dims and channels not in (None, whole(cfg, f"{_KEY}.CONV_HEAD_DIM")):
        raise refused(cfg, f"{_KEY}.NUM_STACKED_CONVS", f"1 or more where CONV_HEAD_DIM is not {channels}")
    if head.use_nonlocal and head.pooler.resolution < 2:
        raise refused(cfg, f"{_KEY}.POOLER_RESOLUTION", "at least 2 where DEEPLAB.NONLOCAL_ON is 1, which halves it")


def _chart(cfg: Node, *, uv_confidence: str = "", segm_confidence: bool = False) -> schema.ChartPredictor:
    return schema.ChartPredictor(
        num_coarse=_num_coarse(cfg),
        num_patches=whole(cfg, f"{_KEY}.NUM_PATCHES"),
        deconv_kernel=_deconv_kernel(cfg),
        up_scale=whole(cfg, f"{_KEY}.UP_SCALE"),
        uv_confidence=uv_confidence,
        segm_confidence=segm_confidence,
        segm_epsilon=real(cfg, f"{_KEY}.SEGM_CONFIDENCE.EPSILON", least=0),
    )


def _chart_with_confidence(cfg: Node) -> schema.ChartPredictor:
    uv = cfg.MODEL.ROI_DENSEPOSE_HEAD.UV_CONFIDENCE.TYPE if flag(cfg, f"{_KEY}.UV_CONFIDENCE.ENABLED") else ""
    return _chart(cfg, uv_confidence=uv, segm_confidence=flag(cfg, f"{_KEY}.SEGM_CONFIDENCE.ENABLED"))


def _embedding(cfg: Node) -> schema.EmbeddingPredictor:
    return schema.EmbeddingPredictor(
        num_coarse=_num_coarse(cfg),
        embed_size=whole(cfg, f"{_KEY}.CSE.EMBED_SIZE"),
        deconv_kernel=_deconv_kernel(cfg),
        up_scale=whole(cfg, f"{_KEY}.UP_SCALE"),
        meshes=_meshes(cfg),
    )


_PREDICTORS: dict[str, Callable[[Node], schema.ChartPredictor | schema.EmbeddingPredictor]] = {
    "DensePoseChartPredictor": _chart,
    _WITH_CONFIDENCE: _chart_with_confidence,
    "DensePoseEmbeddingPredictor": _embedding,
}


def _num_coarse(cfg: Node) -> int:
    """With the background: a body has at least one channel beside it."""
    return whole(cfg, f"{_KEY}.NUM_COARSE_SEGM_CHANNELS", least=2)


def _deconv_kernel(cfg: Node) -> int:
    """With a kernel of 1, which detectron2 would take, three cells of four saw nothing."""
    return whole(cfg, f"{_KEY}.DECONV_KERNEL", least=2)


def _meshes(cfg: Node) -> tuple[schema.Mesh, ...]:
    names = tuple(at(cfg, _EMBEDDERS))
    if not names:
        raise ConfigError(f"{_EMBEDDERS} has no mesh. DensePoseEmbeddingPredictor needs one, such as smpl_27554.")
    classes = _classes(cfg, names)
    return tuple(_mesh(cfg, name, classes.get(name, ())) for name in names)


def _mesh(cfg: Node, name: str, classes: tuple[int, ...]) -> schema.Mesh:
    key = f"{_EMBEDDERS}.{name}"
    spec = at(cfg, _EMBEDDERS)[name]
    if not name or "." in name:
        raise ConfigError(
            f"{_EMBEDDERS} has a mesh called {name!r}. Checkpoints cannot have that name: choose another."
        )
    if not isinstance(spec, Mapping) or not spec.keys() >= {"TYPE", "NUM_VERTICES"}:
        raise ConfigError(f"{key} is {spec!r}; it must be a section with TYPE and NUM_VERTICES.")
    if spec["TYPE"] not in ("vertex_direct", "vertex_feature"):
        raise refused(cfg, f"{key}.TYPE", "'vertex_direct' or 'vertex_feature'")
    has_features = spec["TYPE"] == "vertex_feature"
    if has_features and "FEATURE_DIM" not in spec:
        raise ConfigError(f"{key} has no FEATURE_DIM, which TYPE vertex_feature needs.")
    return schema.Mesh(
        name=name,
        num_vertices=whole(cfg, f"{key}.NUM_VERTICES"),
        feature_dim=whole(cfg, f"{key}.FEATURE_DIM") if has_features else 0,
        classes=classes,
    )


def _classes(cfg: Node, meshes: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """{mesh: the classes that have it}. Where nothing is said of classes, all of them have the only mesh there is."""
    count = whole(cfg, "MODEL.ROI_HEADS.NUM_CLASSES")
    mapping = at(cfg, _MESH_NAMES)
    if not mapping:
        return {meshes[0]: tuple(range(count))} if len(meshes) == 1 else {}
    found: dict[str, tuple[int, ...]] = {}
    for key, mesh in sorted(mapping.items()):
        if not re.fullmatch(r"0|[1-9][0-9]{0,8}", key) or int(key) >= count:
            raise ConfigError(f"{_MESH_NAMES} has a key {key!r}; it must be a class, 0 to {count - 1}.")
        if mesh not in meshes:
            raise ConfigError(f"{_MESH_NAMES}.{key} is {mesh!r}; {_EMBEDDERS} has: {', '.join(meshes)}.")
        found[mesh] = tuple(sorted((*found.get(mesh, ()), int(key))))
    return found
