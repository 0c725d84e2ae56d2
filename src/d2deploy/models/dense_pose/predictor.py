"""DensePose's predictors: features of a box's cells to what is known of each (predictors/*.py)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias

# The confidence of u and v: how it is modelled -> the layers that it has (chart_confidence.py).
_UV_CONFIDENCES: dict[str, tuple[str, ...]] = {
    "": (),
    "iid_iso": ("sigma_2",),
    "indep_aniso": ("sigma_2", "kappa_u", "kappa_v"),
}
# Layer -> detectron2's name of what it gives, where they are not called alike.
_NAMES = {"ann_index": "coarse_segm", "index_uv": "fine_segm", "embed": "embedding"}


class DensePosePredictor(nn.Module):
    """A transposed convolution for each output, called <name>_lowres, and bilinear enlargement by UP_SCALE."""

    def __init__(self, config: schema.ChartPredictor | schema.EmbeddingPredictor, *, in_channels: int) -> None:
        super().__init__()
        widths = _WIDTHS[type(config)](config)
        kernel = config.deconv_kernel
        for name, width in widths.items():
            layer = nn.ConvTranspose2d(in_channels, width, kernel_size=kernel, stride=2, padding=kernel // 2 - 1)
            self.add_module(f"{name}_lowres", layer)
        self.layers = Alias(self, [f"{name}_lowres" for name in widths])
        self.scale = float(config.up_scale)
        self.has_confidence = isinstance(config, schema.ChartPredictor) and config.segm_confidence
        self.epsilon = config.segm_epsilon if isinstance(config, schema.ChartPredictor) else 0.0

    def forward(self, x: Tensor) -> list[Tensor]:
        """x[D,C,S,S] -> each of `predictor_outputs`, [D,channels,T,T].

        The segmentations are logits. Their confidences are above 0 and multiplied into them already; those of u and v
        are as they come, before any softplus.
        """
        found: list[Tensor] = []
        for layer in self.layers:
            low = layer(x)
            found.append(nn.functional.interpolate(low, scale_factor=self.scale, mode="bilinear", align_corners=False))
        if self.has_confidence:
            for coarse_or_fine, confidence in ((0, -1), (1, -2)):
                found[confidence] = nn.functional.softplus(found[confidence]) + self.epsilon
                found[coarse_or_fine] = found[coarse_or_fine] * found[confidence]
        return found


def predictor_outputs(config: schema.ChartPredictor | schema.EmbeddingPredictor) -> dict[str, int]:
    """{name: channels} of what a predictor gives, in order; names are those of detectron2's fields."""
    return {_NAMES.get(name, name): width for name, width in _WIDTHS[type(config)](config).items()}


def _chart_widths(config: schema.ChartPredictor) -> dict[str, int]:
    parts = config.num_patches + 1
    widths = {"ann_index": config.num_coarse, "index_uv": parts, "u": parts, "v": parts}
    widths |= dict.fromkeys(_UV_CONFIDENCES[config.uv_confidence], parts)
    return widths | ({"fine_segm_confidence": 1, "coarse_segm_confidence": 1} if config.segm_confidence else {})


def _embedding_widths(config: schema.EmbeddingPredictor) -> dict[str, int]:
    return {"coarse_segm": config.num_coarse, "embed": config.embed_size}


_WIDTHS: dict[type, Callable[[Any], dict[str, int]]] = {
    schema.ChartPredictor: _chart_widths,
    schema.EmbeddingPredictor: _embedding_widths,
}
"""Predictor of the config -> {name of a layer: its channels}."""
