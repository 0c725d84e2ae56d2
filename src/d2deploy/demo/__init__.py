"""A small Mask R-CNN that the real detectron2 trained, four images, and what `d2deploy demo` does with them."""
