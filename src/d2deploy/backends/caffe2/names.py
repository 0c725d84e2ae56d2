"""Names of the net's blobs that callers see: detectron2's."""

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
