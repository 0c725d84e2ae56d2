"""From logits of the network's input to a class for each pixel of the original image."""

from d2deploy.postprocess.frame import Frame, Outputs
from d2deploy.results import SemanticResult


def to_semantic(outputs: Outputs, frame: Frame) -> SemanticResult:
    """What each pixel of one image is. `outputs`: sem_seg [N,C,H,W] logits at the padded size of the network's input.

    What lies beyond the image is cut off before it is resized, and the class is chosen after it (detectron2
    modeling/postprocessing.py, 02b5c4e2).
    """
    height, width = frame.input_size
    return SemanticResult(image_size=frame.image_size, logits=outputs["sem_seg"][frame.index, :, :height, :width])
