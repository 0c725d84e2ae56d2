"""A core with what comes before and after it inside: an image in, results on it out, for users without code of ours."""

import dataclasses

from torch import Tensor, nn

from d2deploy.artifact import ModelSpec, TensorSpec
from d2deploy.backends.capture import Exportable, Variant, swapped
from d2deploy.backends.finish import finished_outputs, finisher
from d2deploy.errors import ExportError
from d2deploy.ops.resize_image import ResizeImage

IMAGE = TensorSpec(name="image", shape=("H", "W", 3), dtype="uint8")
IMAGE_SIZES = TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64")
ORIGINAL_SIZES = TensorSpec(name="original_sizes", shape=("N", 2), dtype="int64")


def whole(model: Exportable, *, preprocess: bool, postprocess: bool) -> Variant:
    """`model` with resizing inside, with results on the original images as outputs, or with both.

    Raises ExportError for a network of which a graph cannot hold that.
    """
    spec = model.spec
    _refuse(spec, preprocess=preprocess, postprocess=postprocess)
    core = swapped(model.core, {}, keep_aliases=True)
    if postprocess:
        finish = finisher(spec)
        core = (Finished if len(spec.inputs) == 2 else FinishedOfProposals)(core, finish)
        spec = dataclasses.replace(
            spec, inputs=(*spec.inputs, ORIGINAL_SIZES), outputs=finished_outputs(spec), includes_postprocess=True
        )
    if preprocess:
        rule = spec.preprocess
        resize = ResizeImage(min_size=rule.min_size, max_size=rule.max_size)
        core = (ResizedAndFinished if postprocess else Resized)(core, resize)
        outputs = spec.outputs if postprocess else (*spec.outputs, IMAGE_SIZES)
        spec = dataclasses.replace(spec, inputs=(IMAGE,), outputs=outputs, includes_preprocess=True)
    return Variant(core=core.eval(), spec=spec, source=model.source)


def _refuse(spec: ModelSpec, *, preprocess: bool, postprocess: bool) -> None:
    names = {tensor.name for tensor in spec.inputs}
    if postprocess and spec.panoptic_deeplab is not None:
        raise ExportError(
            "--include-postprocess: the grouping of pixels of Panoptic-DeepLab is not in the graph. Leave the option "
            "out; Predictor groups them."
        )
    if postprocess and any(tensor.name == "coarse_segm" for tensor in spec.outputs):
        raise ExportError(
            "--include-postprocess: DensePose's surfaces, each of its box's size, are not in the graph. Leave the "
            "option out; Predictor makes them."
        )
    if preprocess and len(names) > 2:
        raise ExportError(
            f"--include-preprocess: {spec.meta_architecture} takes proposals, which lie on the resized image. Leave "
            f"the option out."
        )
    if preprocess and len(spec.preprocess.pixel_mean) != 3:
        raise ExportError(
            f"--include-preprocess: the network takes {len(spec.preprocess.pixel_mean)} channels, an image file has 3. "
            f"Leave the option out."
        )


class Finished(nn.Module):
    """A core, and what finishes its outputs."""

    def __init__(self, core: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.core, self.finish = core, finish

    def forward(self, images: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> list[Tensor]:
        """As the core; original_sizes[N,2] int64, height and width -> see finish.py."""
        made: list[Tensor] = self.finish(self.core(images, image_sizes), image_sizes, original_sizes)
        return made


class FinishedOfProposals(nn.Module):
    """The same for a core that takes proposals: each has the inputs in its signature, which scripting needs."""

    def __init__(self, core: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.core, self.finish = core, finish

    def forward(
        self,
        images: Tensor,
        image_sizes: Tensor,
        proposal_boxes: Tensor,
        num_proposals: Tensor,
        original_sizes: Tensor,
    ) -> list[Tensor]:
        """As Finished."""
        outputs = self.core(images, image_sizes, proposal_boxes, num_proposals)
        made: list[Tensor] = self.finish(outputs, image_sizes, original_sizes)
        return made


class Resized(nn.Module):
    """A core, and what makes its inputs of an image."""

    def __init__(self, core: nn.Module, resize: nn.Module) -> None:
        super().__init__()
        self.core, self.resize = core, resize

    def forward(self, image: Tensor) -> list[Tensor]:
        """image[H,W,3] uint8 in the network's order of channels -> the core's outputs, image_sizes[1,2]."""
        images, image_sizes, _ = self.resize(image)
        outputs: list[Tensor] = self.core(images, image_sizes)
        return outputs + [image_sizes]


class ResizedAndFinished(nn.Module):
    """The same for a core whose outputs are finished."""

    def __init__(self, core: nn.Module, resize: nn.Module) -> None:
        super().__init__()
        self.core, self.resize = core, resize

    def forward(self, image: Tensor) -> list[Tensor]:
        """image[H,W,3] uint8 in the network's order of channels -> see finish.py."""
        images, image_sizes, original_sizes = self.resize(image)
        outputs: list[Tensor] = self.core(images, image_sizes, original_sizes)
        return outputs
