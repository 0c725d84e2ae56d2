"""Names of the net's blobs that callers see: detectron2's, and ours for networks that it never exported to Caffe2."""

INPUTS = {"images": "data", "image_sizes": "im_info"}
# The manifest's name of an output -> the blob's. Splits say how many detections each image has.
OUTPUTS = {
    "boxes": "bbox_nms",
    "scores": "score_nms",
    "classes": "class_nms",
    "image_index": "roi_batch_splits_nms",
    "mask_probs": "mask_fcn_probs",
    "keypoint_heatmaps": "kps_score",
    "sem_seg": "sem_seg",
}
# Of networks that take proposals; that give them; of Panoptic-DeepLab and of DensePose.
OWN_INPUTS = {"proposal_boxes": "proposal_boxes", "num_proposals": "num_proposals"}
OWN_OUTPUTS = {
    "proposal_boxes": "rpn_boxes",
    "objectness_logits": "rpn_roi_probs",
    "center": "center",
    "offset": "offset",
    "coarse_segm": "ann_index",
    "fine_segm": "index_uv",
    "u": "u",
    "v": "v",
    "sigma_2": "sigma_2",
    "kappa_u": "kappa_u",
    "kappa_v": "kappa_v",
    "fine_segm_confidence": "fine_segm_confidence",
    "coarse_segm_confidence": "coarse_segm_confidence",
    "embedding": "embedding",
    "vertex_embeddings": "vertex_embeddings",
}
ALL_INPUTS = {**INPUTS, **OWN_INPUTS}
ALL_OUTPUTS = {**OUTPUTS, **OWN_OUTPUTS}
