"""The YAML half of the families: the structure of detectron2's official configs with every width cut."""

from family import Family, Part, of_keys

SMALL: Part = {
    "INPUT": {"MIN_SIZE_TEST": 96, "MAX_SIZE_TEST": 160},
    "MODEL.RESNETS": {"DEPTH": 50, "STEM_OUT_CHANNELS": 16, "RES2_OUT_CHANNELS": 32, "WIDTH_PER_GROUP": 8},
    "MODEL.FPN": {"OUT_CHANNELS": 32},
    "MODEL.RPN": {"PRE_NMS_TOPK_TEST": 200, "POST_NMS_TOPK_TEST": 60},
    "MODEL.ROI_HEADS": {"NUM_CLASSES": 3},
    "MODEL.ROI_BOX_HEAD": {"FC_DIM": 64, "POOLER_RESOLUTION": 7},
    "MODEL.ROI_MASK_HEAD": {"CONV_DIM": 32},
    "MODEL.ROI_KEYPOINT_HEAD": {"CONV_DIMS": [32, 32], "NUM_KEYPOINTS": 4},
    "MODEL.RETINANET": {"NUM_CLASSES": 3, "NUM_CONVS": 2},
    "MODEL.SEM_SEG_HEAD": {"NUM_CLASSES": 8, "CONVS_DIM": 32},
    "MODEL.PANOPTIC_FPN.COMBINE": {"STUFF_AREA_LIMIT": 200, "INSTANCES_CONFIDENCE_THRESH": 0.3},
    "MODEL": {"PIXEL_STD": [57.375, 57.12, 58.395]},
    "TEST": {"DETECTIONS_PER_IMAGE": 40},
}
PYRAMID: Part = {
    "MODEL.BACKBONE": {"NAME": "build_resnet_fpn_backbone"},
    "MODEL.RESNETS": {"OUT_FEATURES": ["res2", "res3", "res4", "res5"]},
    "MODEL.FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"]},
    "MODEL.ANCHOR_GENERATOR": {"SIZES": [[8], [16], [32], [64], [128]]},
    "MODEL.RPN": {"IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"]},
    "MODEL.ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["p2", "p3", "p4", "p5"]},
    "MODEL.ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 2},
    "MODEL.ROI_MASK_HEAD": {"NUM_CONV": 2},
}
HRNET_LEVELS = ["p1", "p2", "p3", "p4", "p5"]
HRNET: Part = {
    "MODEL.BACKBONE": {"NAME": "build_hrfpn_backbone"},
    "MODEL.HRNET.STAGE2": {"BLOCK": "BOTTLENECK", "NUM_BLOCKS": [1, 2], "NUM_CHANNELS": [2, 4]},
    "MODEL.HRNET.STAGE3": {"NUM_MODULES": 1, "NUM_BLOCKS": [1, 1, 1], "NUM_CHANNELS": [8, 16, 24]},
    "MODEL.HRNET.STAGE4": {"NUM_MODULES": 1, "NUM_BLOCKS": [1, 1, 1, 1], "NUM_CHANNELS": [8, 16, 24, 32]},
    "MODEL.HRNET.HRFPN": {"OUT_CHANNELS": 32},
    "MODEL.ANCHOR_GENERATOR": {"SIZES": [[8], [16], [32], [64], [128]]},
    "MODEL.RPN": {"IN_FEATURES": HRNET_LEVELS},
    "MODEL.ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": HRNET_LEVELS},
    "MODEL.ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 2},
}
# Sums of up to four branches, again and again, are large: levels as those of other families.
HRNET_GAINS = {f"backbone.fpn_conv.{level}.weight": 1 / 64 for level in range(len(HRNET_LEVELS))}
POINT_REND: Part = {
    "MODEL": {"MASK_ON": True},
    "MODEL.ROI_MASK_HEAD": {"NAME": "PointRendMaskHead", "POOLER_TYPE": "", "POINT_HEAD_ON": True, "FC_DIM": 64},
    "MODEL.POINT_HEAD": {"NUM_CLASSES": 3, "FC_DIM": 32, "SUBDIVISION_NUM_POINTS": 196, "SUBDIVISION_STEPS": 3},
}
DEEPLAB: Part = {
    "INPUT.CROP": {"ENABLED": True, "TYPE": "absolute", "SIZE": [64, 96]},
    "MODEL": {"META_ARCHITECTURE": "SemanticSegmentor"},
    "MODEL.BACKBONE": {"NAME": "build_resnet_deeplab_backbone"},
    "MODEL.RESNETS": {"NORM": "SyncBN", "RES5_DILATION": 2, "OUT_FEATURES": ["res2", "res5"]},
    "MODEL.SEM_SEG_HEAD": {"NUM_CLASSES": 19, "NORM": "SyncBN", "CONVS_DIM": 32, "ASPP_CHANNELS": 32},
}
PANOPTIC_DEEPLAB: Part = {
    "DATASETS": {"TRAIN": ("cityscapes_fine_panoptic_train",)},
    "MODEL": {"META_ARCHITECTURE": "PanopticDeepLab"},
    "MODEL.RESNETS": {"OUT_FEATURES": ["res2", "res3", "res5"]},
    "MODEL.SEM_SEG_HEAD": {
        "NAME": "PanopticDeepLabSemSegHead",
        "IN_FEATURES": ["res2", "res3", "res5"],
        "PROJECT_CHANNELS": [8, 16],
        "HEAD_CHANNELS": 24,
        "USE_DEPTHWISE_SEPARABLE_CONV": True,
    },
    "MODEL.INS_EMBED_HEAD": {"ASPP_CHANNELS": 24, "CONVS_DIM": 16, "HEAD_CHANNELS": 8},
    "MODEL.PANOPTIC_DEEPLAB": {"SIZE_DIVISIBILITY": 96, "USE_DEPTHWISE_SEPARABLE_CONV": True},
}
RETINANET: Part = {
    "MODEL": {"META_ARCHITECTURE": "RetinaNet"},
    "MODEL.BACKBONE": {"NAME": "build_retinanet_resnet_fpn_backbone"},
    "MODEL.RESNETS": {"OUT_FEATURES": ["res3", "res4", "res5"]},
    "MODEL.FPN": {"IN_FEATURES": ["res3", "res4", "res5"]},
    "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16], [32], [64], [96], [128]]},
}
C4: Part = {
    "MODEL.RESNETS": {"OUT_FEATURES": ["res4"]},
    "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16, 32, 64]]},
    "MODEL.ROI_BOX_HEAD": {"POOLER_RESOLUTION": 14},
    "MODEL.ROI_MASK_HEAD": {"NUM_CONV": 0},
}
DC5: Part = {
    "MODEL.RESNETS": {"OUT_FEATURES": ["res5"], "RES5_DILATION": 2},
    "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16, 32, 64]]},
    "MODEL.RPN": {"IN_FEATURES": ["res5"]},
    "MODEL.ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["res5"]},
    "MODEL.ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 2},
}
CASCADE: Part = {
    **PYRAMID,
    "MODEL.ROI_HEADS": {**PYRAMID["MODEL.ROI_HEADS"], "NAME": "CascadeROIHeads"},
    "MODEL.ROI_BOX_HEAD": {**PYRAMID["MODEL.ROI_BOX_HEAD"], "CLS_AGNOSTIC_BBOX_REG": True},
}
DEFORMABLE: Part = {
    "MODEL.RESNETS": {"DEFORM_ON_PER_STAGE": [False, True, True, True]},
}
ROTATED: Part = {
    "MODEL.ANCHOR_GENERATOR": {"NAME": "RotatedAnchorGenerator", "ANGLES": [[-90, -30, 30]]},
    "MODEL.PROPOSAL_GENERATOR": {"NAME": "RRPN"},
    "MODEL.RPN": {"BBOX_REG_WEIGHTS": [1, 1, 1, 1, 1]},
    "MODEL.ROI_HEADS": {"NAME": "RROIHeads"},
    "MODEL.ROI_BOX_HEAD": {"POOLER_TYPE": "ROIAlignRotated", "BBOX_REG_WEIGHTS": [10, 10, 5, 5, 1]},
}
TRIDENT: Part = {
    "MODEL.BACKBONE": {"NAME": "build_trident_resnet_backbone"},
    "MODEL.PROPOSAL_GENERATOR": {"NAME": "TridentRPN"},
    "MODEL.ROI_HEADS": {"NAME": "TridentRes5ROIHeads"},
}
TENSOR_MASK: Part = {
    "MODEL": {"META_ARCHITECTURE": "TensorMask", "MASK_ON": True},
    "MODEL.BACKBONE": {"NAME": "build_retinanet_resnet_fpn_backbone"},
    "MODEL.RESNETS": {"OUT_FEATURES": ["res2", "res3", "res4", "res5"]},
    "MODEL.FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"], "FUSE_TYPE": "avg"},
    "MODEL.ANCHOR_GENERATOR": {
        "SIZES": [[12, 16], [24, 32], [48, 64], [96, 128], [192, 256]],
        "ASPECT_RATIOS": [[1.0]],
    },
    "MODEL.TENSOR_MASK": {
        "NUM_CLASSES": 3,
        "IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
        "NUM_CONVS": 1,
        "CLS_CHANNELS": 32,
        "BBOX_CHANNELS": 16,
        "MASK_CHANNELS": 16,
        "TOPK_CANDIDATES_TEST": 400,
        "ALIGNED_ON": True,
        "BIPYRAMID_ON": True,
    },
}
DENSE_POSE: Part = {
    "MODEL.ROI_HEADS": {**PYRAMID["MODEL.ROI_HEADS"], "NAME": "DensePoseROIHeads"},
    "MODEL.ROI_DENSEPOSE_HEAD": {
        "NAME": "DensePoseV1ConvXHead",
        "PREDICTOR_NAME": "DensePoseChartWithConfidencePredictor",
        "NUM_STACKED_CONVS": 2,
        "CONV_HEAD_DIM": 32,
        "POOLER_TYPE": "ROIAlign",
        "POOLER_RESOLUTION": 8,
        "DECODER_NUM_CLASSES": 32,
        "DECODER_CONV_DIMS": 32,
    },
    "MODEL.ROI_DENSEPOSE_HEAD.UV_CONFIDENCE": {"ENABLED": True, "TYPE": "indep_aniso"},
    "MODEL.ROI_DENSEPOSE_HEAD.SEGM_CONFIDENCE": {"ENABLED": True},
}
MESHES: Part = {
    **DENSE_POSE,
    "MODEL.ROI_DENSEPOSE_HEAD": {
        **DENSE_POSE["MODEL.ROI_DENSEPOSE_HEAD"],
        "NAME": "DensePoseDeepLabHead",
        "PREDICTOR_NAME": "DensePoseEmbeddingPredictor",
    },
    "MODEL.ROI_DENSEPOSE_HEAD.CSE": {
        "EMBEDDERS": {
            "cat_50": {"TYPE": "vertex_feature", "NUM_VERTICES": 50, "FEATURE_DIM": 8},
            "dog_40": {"TYPE": "vertex_direct", "NUM_VERTICES": 40},
        },
    },
    "DATASETS": {"CLASS_TO_MESH_NAME_MAPPING": {"0": "cat_50", "1": "dog_40", "2": "cat_50"}},
}
MASK: Part = {"MODEL": {"MASK_ON": True}}
SEMANTIC: Part = {"MODEL": {"META_ARCHITECTURE": "SemanticSegmentor"}}
GIVEN: Part = {"MODEL.PROPOSAL_GENERATOR": {"NAME": "PrecomputedProposals"}}


def small(title: str, *parts: Part, gains: dict[str, float] | None = None) -> Family:
    return of_keys(title, SMALL, *parts, gains=gains)


YAML_FAMILIES: dict[str, Family] = {
    "mask": small("Faster and Mask R-CNN, FPN", PYRAMID, MASK),
    "c4": small("Faster and Mask R-CNN, C4", C4, MASK),
    "trident": small("TridentNet-fast, C4", C4, TRIDENT),
    "dc5": small("Faster, Mask and Keypoint R-CNN, DC5", DC5, {"MODEL": {"MASK_ON": True, "KEYPOINT_ON": True}}),
    "keypoint": small("Keypoint R-CNN, FPN", PYRAMID, {"MODEL": {"KEYPOINT_ON": True}}),
    "cascade": small("Cascade Mask R-CNN", CASCADE, MASK),
    "cascade, sigmoid, federated": small(
        "Cascade R-CNN, sigmoid scores",
        CASCADE,
        {"MODEL.ROI_BOX_HEAD": {"USE_SIGMOID_CE": True, "USE_FED_LOSS": True}},
    ),
    "hrnet": small("Faster R-CNN, HRNet", HRNET, gains=HRNET_GAINS),
    "retinanet": small("RetinaNet", RETINANET),
    "retinanet, batch norm of each level": small(
        "RetinaNet, a batch norm for each level", RETINANET, {"MODEL.RETINANET": {"NORM": "SyncBN"}}
    ),
    "tensor mask": small("TensorMask", TENSOR_MASK),
    "proposals": small("RPN alone", PYRAMID, {"MODEL": {"META_ARCHITECTURE": "ProposalNetwork"}}),
    "given proposals": small("Fast R-CNN (proposals given), FPN", PYRAMID, MASK, GIVEN),
    "given proposals, c4": small("Fast R-CNN (proposals given), C4", C4, GIVEN),
    "semantic": small("Semantic FPN", PYRAMID, SEMANTIC),
    "panoptic": small("Panoptic FPN", PYRAMID, {"MODEL": {"META_ARCHITECTURE": "PanopticFPN", "MASK_ON": True}}),
    "deformable v1": small("Deformable convolution v1", PYRAMID, DEFORMABLE),
    "deformable": small(
        "Deformable convolution v2",
        PYRAMID,
        DEFORMABLE,
        {"MODEL.RESNETS": {"DEFORM_MODULATED": True, "DEFORM_NUM_GROUPS": 2}},
    ),
    "agnostic, group norm, unaligned": small(
        "Mask R-CNN, group norm, class-agnostic, first ROIAlign",
        PYRAMID,
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.RESNETS": {"NORM": "GN", "STEM_OUT_CHANNELS": 32, "WIDTH_PER_GROUP": 32},
            "MODEL.FPN": {"NORM": "GN"},
            "MODEL.ROI_BOX_HEAD": {
                "CLS_AGNOSTIC_BBOX_REG": True,
                "POOLER_TYPE": "ROIAlign",
                "POOLER_SAMPLING_RATIO": 2,
                "NUM_CONV": 1,
                "CONV_DIM": 32,
                "NORM": "GN",
                "NUM_FC": 1,
            },
            "MODEL.ROI_MASK_HEAD": {"CLS_AGNOSTIC_MASK": True, "NORM": "GN"},
        },
    ),
    "layer norm": small(
        "Mask R-CNN, layer norm",
        PYRAMID,
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.RESNETS": {"NORM": "LN"},
            "MODEL.FPN": {"NORM": "LN"},
            "MODEL.ROI_BOX_HEAD": {"NUM_CONV": 1, "CONV_DIM": 32, "NORM": "LN", "NUM_FC": 1},
            "MODEL.ROI_MASK_HEAD": {"NORM": "LN"},
        },
    ),
    "layer norm, c4": small("Faster R-CNN, layer norm, C4", C4, {"MODEL.RESNETS": {"NORM": "LN"}}),
    "pooled by the largest": small(
        "Mask R-CNN, ROIPool",
        PYRAMID,
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.ROI_BOX_HEAD": {"POOLER_TYPE": "ROIPool"},
            "MODEL.ROI_MASK_HEAD": {"POOLER_TYPE": "ROIPool"},
        },
    ),
    "rotated": small("Rotated Faster R-CNN", PYRAMID, ROTATED),
    "rotated, one level, agnostic, two samples": small(
        "Rotated Faster R-CNN, one level, class-agnostic",
        ROTATED,
        {
            "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16, 32]], "ANGLES": [[0, 90]]},
            "MODEL.ROI_BOX_HEAD": {
                "NAME": "FastRCNNConvFCHead",
                "NUM_FC": 1,
                "POOLER_SAMPLING_RATIO": 2,
                "CLS_AGNOSTIC_BBOX_REG": True,
            },
        },
    ),
    "dense pose": small("DensePose, charts", PYRAMID, DENSE_POSE),
    "dense pose, meshes": small("DensePose, embeddings of meshes", PYRAMID, MESHES),
    "dense pose, non-local": small(
        "DensePose, non-local block",
        PYRAMID,
        MESHES,
        {"MODEL.ROI_DENSEPOSE_HEAD.DEEPLAB": {"NONLOCAL_ON": 1}},
    ),
    "point rend": small("PointRend", PYRAMID, POINT_REND),
    "implicit": small(
        "PointRend, implicit",
        PYRAMID,
        POINT_REND,
        {
            "MODEL.ROI_MASK_HEAD": {"NAME": "ImplicitPointRendMaskHead"},
            "MODEL.POINT_HEAD": {"NAME": "ImplicitPointHead", "SUBDIVISION_STEPS": 2},
        },
    ),
    "point rend semantic": small(
        "PointRend, semantic",
        PYRAMID,
        SEMANTIC,
        {
            "MODEL.SEM_SEG_HEAD": {"NAME": "PointRendSemSegHead"},
            # More than there are cells at the first step.
            "MODEL.POINT_HEAD": {
                "NUM_CLASSES": 8,
                "FC_DIM": 32,
                "SUBDIVISION_STEPS": 2,
                "SUBDIVISION_NUM_POINTS": 5000,
                "COARSE_PRED_EACH_LAYER": False,
            },
        },
    ),
    "deeplab v3": small(
        "DeepLab v3",
        DEEPLAB,
        {"MODEL.SEM_SEG_HEAD": {"NAME": "DeepLabV3Head", "IN_FEATURES": ["res5"], "COMMON_STRIDE": 16}},
    ),
    "deeplab v3+": small(
        "DeepLab v3+",
        DEEPLAB,
        {
            "INPUT.CROP": {"ENABLED": False},
            "MODEL.SEM_SEG_HEAD": {"NAME": "DeepLabV3PlusHead", "IN_FEATURES": ["res2", "res5"]},
        },
    ),
    "panoptic deeplab": small("Panoptic-DeepLab", DEEPLAB, PANOPTIC_DEEPLAB),
}
