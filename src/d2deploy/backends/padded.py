"""A core whose outputs have a fixed number of rows an image, for whatever runs batches of one shape.

The only step of a core whose size follows what it sees is `Found`; in a copy a twin keeps every row, found or not.
"""

import dataclasses

from torch import Tensor, nn

from d2deploy.artifact import COUNTS, ModelSpec, TensorSpec
from d2deploy.backends.capture import Exportable, Variant, swapped
from d2deploy.errors import ExportError
from d2deploy.ops.found import Found, rows_at
from d2deploy.ops.image_index import ImageIndex


def padded(model: Exportable) -> Variant:
    """`model` with outputs [N,K,...], and num_detections[N] or num_proposals[N]: the rows of an image that are there.

    Those after them are 0. Raises ExportError where the network has no rows, or nobody knows how many.
    """
    places = [module for module in model.core.modules() if isinstance(module, Found)]
    if not places:
        raise ExportError(
            f"--outputs padded means nothing for {model.spec.meta_architecture}: d2deploy finds no list of detections "
            f"in it that it could pad. Leave the option out."
        )
    most = places[0].max_out
    if not most:
        raise ExportError(
            "--outputs padded needs the largest number of proposals, which only detectron2's RPN tells. Leave the "
            "option out."
        )
    core = swapped(model.core, {Found: EverySlot}, keep_aliases=True)
    wrapper = PaddedCore if len(model.spec.inputs) == 2 else PaddedCoreOfProposals
    made = wrapper(core, PadOutputs(model.spec, most)).eval()
    return Variant(core=made, spec=padded_spec(model.spec, most), source=model.source)


def padded_spec(spec: ModelSpec, most: int) -> ModelSpec:
    """`spec` of the same network with `most` rows an image."""
    count = next(COUNTS[tensor.name] for tensor in spec.outputs if tensor.name in COUNTS)

    def fixed(tensor: TensorSpec) -> TensorSpec:
        if tensor.name == "image_index":
            return TensorSpec(name=count, shape=("N",), dtype="int64")
        shape = ("N", most, *tensor.shape[1:]) if tensor.shape[0] == "D" else tensor.shape
        return dataclasses.replace(tensor, shape=shape)

    return dataclasses.replace(spec, outputs=tuple(map(fixed, spec.outputs)), outputs_form="padded")


class EverySlot(nn.Module):
    """A Found that keeps all M slots of each image: where nothing was found the box is 0 and the score -inf."""

    def __init__(self, op: Found) -> None:
        super().__init__()
        self.image_index = ImageIndex()

    def forward(self, best: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See ops/found.py; D is N*M."""
        is_none = (best < 0).flatten()
        image_index, index = self.image_index(best).flatten(), best.clamp(min=0).flatten()
        kept, kept_scores = rows_at(image_index, index, boxes, scores)
        # A box of no size: what works on it must not meet a number that is none.
        kept = kept.masked_fill(is_none[:, None], 0.0)
        return kept, kept_scores.masked_fill(is_none, float("-inf")), index, image_index


class PadOutputs(nn.Module):
    """A core's outputs with D = N*K, as EverySlot makes them, to the padded form."""

    def __init__(self, spec: ModelSpec, most: int) -> None:
        super().__init__()
        names = [tensor.name for tensor in spec.outputs]
        self.most = most
        self.scores = next(i for i, name in enumerate(names) if name in ("scores", "objectness_logits"))
        self.is_count = [name == "image_index" for name in names]
        self.is_rows = [tensor.shape[0] == "D" for tensor in spec.outputs]

    def forward(self, outputs: list[Tensor]) -> list[Tensor]:
        """Rows [N*K,...] -> [N,K,...], 0 where there are none; image_index[N*K] -> how many there are, [N] int64."""
        is_none = outputs[self.scores] == float("-inf")
        made: list[Tensor] = []
        for i in range(len(outputs)):
            x = outputs[i]
            if self.is_count[i]:
                x = (~is_none).unflatten(0, [-1, self.most]).sum(1)
            elif self.is_rows[i]:
                x = x.masked_fill(is_none.reshape([-1] + [1] * (x.dim() - 1)), 0).unflatten(0, [-1, self.most])
            made.append(x)
        return made


class PaddedCore(nn.Module):
    """A core and what pads its outputs."""

    def __init__(self, core: nn.Module, pad: PadOutputs) -> None:
        super().__init__()
        self.core, self.pad = core, pad

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """As the core."""
        made: list[Tensor] = self.pad(self.core(images, image_sizes))
        return made


class PaddedCoreOfProposals(nn.Module):
    """The same for a core that takes proposals: each has the inputs in its signature, which scripting needs."""

    def __init__(self, core: nn.Module, pad: PadOutputs) -> None:
        super().__init__()
        self.core, self.pad = core, pad

    def forward(
        self, images: Tensor, image_sizes: Tensor, proposal_boxes: Tensor, num_proposals: Tensor
    ) -> list[Tensor]:
        """As the core."""
        made: list[Tensor] = self.pad(self.core(images, image_sizes, proposal_boxes, num_proposals))
        return made
