"""The families that only LazyConfigs have: the official ones with every width cut."""

from family import Family, of_lazy

PROPOSALS = (
    "model.proposal_generator.anchor_generator.sizes=[[8],[16],[32],[64],[128]]",
    "model.proposal_generator.pre_nms_topk=[200,200]",
    "model.proposal_generator.post_nms_topk=[60,60]",
    "model.roi_heads.num_classes=3",
    "model.roi_heads.mask_head.conv_dims=[32,32]",
)
SINGLE = (
    "model.roi_heads.box_head.fc_dims=[64]",
    "model.roi_heads.box_predictor.input_shape.channels=64",
    "model.roi_heads.box_predictor.test_topk_per_image=40",
)
CASCADE = tuple(
    override
    for stage in range(3)
    for override in (
        f"model.roi_heads.box_heads.{stage}.conv_dims=[32]",
        f"model.roi_heads.box_heads.{stage}.fc_dims=[64]",
        f"model.roi_heads.box_predictors.{stage}.input_shape.channels=64",
        f"model.roi_heads.box_predictors.{stage}.test_topk_per_image=40",
    )
)
# ShapeSpecs of a config repeat the pyramid's width.
REGNET = (
    "model.backbone.out_channels=32",
    "model.proposal_generator.head.in_channels=32",
    "model.roi_heads.box_head.input_shape.channels=32",
    "model.roi_heads.mask_head.input_shape.channels=32",
    "model.backbone.bottom_up.stem_width=8",
    "model.backbone.bottom_up.depth=6",
    "model.backbone.bottom_up.w_0=16",
    "model.backbone.bottom_up.w_a=16.0",
    "model.backbone.bottom_up.w_m=1.8",
    "model.backbone.bottom_up.group_width=8",
)
FCOS = (
    "model.num_classes=3",
    "model.backbone.bottom_up.stages.depth=50",
    "model.backbone.bottom_up.stages.stride_in_1x1=false",
    "model.test_score_thresh=0.05",
    *(f"model.head.input_shape.{level}.channels=32" for level in range(5)),
    "model.backbone.out_channels=32",
    "model.backbone.top_block.in_channels=32",
    "model.head.conv_dims=[32,32]",
)
# Scores of a width of 32 channels would all be near a half, found or not.
DISTINCT = {"head.cls_score.weight": 8.0}
# MViT's pooling kernels sum to 0: on the padding they would leave rounding errors for layer norm to enlarge.
LIFTED = {".attn.pool_": 0.2}

LAZY_FAMILIES: dict[str, Family] = {
    "fcos": of_lazy("FCOS", "COCO-Detection/fcos_R_50_FPN_1x.py", *FCOS, gains=DISTINCT),
    "fcos, batch norm of each level": of_lazy(
        "FCOS, a batch norm for each level", "COCO-Detection/fcos_R_50_FPN_1x.py", *FCOS, "model.head.norm=BN"
    ),
    "regnet x": of_lazy(
        "Mask R-CNN, RegNetX",
        "COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x.py",
        *(*PROPOSALS, *SINGLE, *REGNET),
    ),
    "regnet y, batch norm": of_lazy(
        "Mask R-CNN, RegNetY, batch norm",
        "COCO-InstanceSegmentation/mask_rcnn_regnety_4gf_dds_fpn_1x.py",
        *(*PROPOSALS, *SINGLE, *REGNET),
        "model.backbone.bottom_up.norm=BN",
        "model.backbone.bottom_up.freeze_at=2",
    ),
    "ViT": of_lazy(
        "ViTDet",
        "ViTDet/COCO/mask_rcnn_vitdet_b_100ep",
        *(*PROPOSALS, *SINGLE),
        "model.roi_heads.box_head.conv_dims=[32]",
        "model.backbone.net.embed_dim=32",
        "model.backbone.net.depth=2",
        "model.backbone.net.num_heads=2",
        "model.backbone.net.window_size=3",
        "model.backbone.net.window_block_indexes=[0]",
        "model.backbone.square_pad=160",
    ),
    "Swin": of_lazy(
        "Cascade Mask R-CNN, Swin",
        "ViTDet/COCO/cascade_mask_rcnn_swin_b_in21k_50ep",
        *(*PROPOSALS, *CASCADE),
        "model.backbone.bottom_up.embed_dim=16",
        "model.backbone.bottom_up.depths=[2,1,1,1]",
        "model.backbone.bottom_up.num_heads=[1,2,2,4]",
        "model.backbone.square_pad=0",
    ),
    "MViT": of_lazy(
        "Mask R-CNN, MViTv2",
        "MViTv2/mask_rcnn_mvitv2_t_3x",
        *(*PROPOSALS, *SINGLE),
        "model.backbone.norm=LN",
        "model.backbone.bottom_up.embed_dim=16",
        "model.backbone.bottom_up.depth=5",
        "model.backbone.bottom_up.last_block_indexes=[0,2,3,4]",
        "model.backbone.bottom_up.adaptive_window_size=16",
        shifts=LIFTED,
    ),
}
