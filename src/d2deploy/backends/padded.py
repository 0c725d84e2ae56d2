"""A core whose outputs have a fixed number of rows an image, for whatever runs batches of one shape.

The only step of a core whose size follows what it sees is `Found`; in a copy a twin keeps every row, found or not.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from d2deploy.artifact import COUNTS, ModelSpec, TensorSpec
from d2deploy.backends.capture import Exportable, Variant, swapped
from d2deploy.errors import ExportError
from d2deploy.ops.found import Found, rows_at
from d2deploy.ops.image_index import ImageIndex


def padded(model: Exportable) -> Variant:
    """`model` with outputs [N,K,...] and their number num_detections[N], or num_proposals[N]; K: an image's most.

    Rows from an image's number on are 0. Raises ExportError where the network finds nothing that could be counted.
    """
    places = [module for module in model.core.modules() if isinstance(module, Found)]
    if not places:
        raise ExportError(
            f"--outputs padded means nothing for {model.spec.meta_architecture}: its outputs are not lists of what it "
            f"found. Leave it out."
        )
    (most,) = (place.max_out for place in places)
    if not most:
        raise ExportError(
            "--outputs padded needs a number of proposals, which only detectron2's RPN has. Leave it out."
        )
    spec = _padded_spec(model.spec, most)
    core = swapped(model.core, {Found: lambda _: EverySlot()}, keep_aliases=True)
    wrapper = PaddedCore if len(spec.inputs) == 2 else PaddedCoreOfProposals
    return Variant(core=wrapper(core, PadOutputs(model.spec, most)).eval(), spec=spec, source=model.source)


def _padded_spec(spec: ModelSpec, most: int) -> ModelSpec:
    count = COUNTS["proposal_boxes" if not spec.num_classes else "boxes"]

    def fixed(tensor: TensorSpec) -> TensorSpec:
        if tensor.name == "image_index":
            return TensorSpec(name=count, shape=("N",), dtype="int64")
        if tensor.shape[0] != "D":
            return tensor
        return dataclasses.replace(tensor, shape=("N", most, *tensor.shape[1:]))

    return dataclasses.replace(spec, outputs=tuple(map(fixed, spec.outputs)), outputs_form="padded")
