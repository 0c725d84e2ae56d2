"""DensePose's heads (detectron2 projects/DensePose): where on a body's surface each cell of a detection lies."""
