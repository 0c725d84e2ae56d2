"""What users write parts of a network with: detectron2's base classes, without detectron2.

Names and calling conventions are those of detectron2 (modeling/backbone/backbone.py, layers/shape_spec.py,
layers/wrappers.py, layers/batch_norm.py at 02b5c4e2), so that a part moves over by changing its import.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models.norm import make_norm
from d2deploy.registry import Registry


@dataclass(frozen=True)
class ShapeSpec:
    """The shape of a feature map, as far as it is known. `stride`: input pixels per cell."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None


class Backbone(nn.Module):
    """Base of a user's backbone: forward(images[N,3,H,W], normalised) -> {level: [N,C,H/stride,W/stride]}."""

    __jit_unused_properties__: ClassVar = ["size_divisibility", "padding_constraints"]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each level; by default from the attributes that detectron2's backbones set."""
        own: Any = self
        return {
            name: ShapeSpec(channels=own._out_feature_channels[name], stride=own._out_feature_strides[name])
            for name in own._out_features
        }

    @property
    def size_divisibility(self) -> int:
        """The input is padded to multiples of it; 0: as it comes."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """`size_divisibility` again, or `square_size`: the side of the square that the input is padded to."""
        return {}


class Conv2d(nn.Conv2d):
    """nn.Conv2d that ends in a norm and an activation: Conv2d(..., norm=get_norm("BN", 64), activation=F.relu)."""

    def __init__(
        self,
        *args: Any,
        norm: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] | None = None,
        **keys: Any,
    ) -> None:
        super().__init__(*args, **keys)
        self.norm = norm
        self.activation = activation or _as_it_is

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> convolved, normalised, activated."""
        x = nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


def _as_it_is(x: Tensor) -> Tensor:
    return x


def get_norm(norm: str | Callable[[int], nn.Module], out_channels: int) -> nn.Module | None:
    """The norm of that config name, or that class, for so many channels; None for ""."""
    return make_norm(norm, out_channels) if isinstance(norm, str) else norm(out_channels)


def make_part(registry: Registry, config: schema.Registered, *shapes: Any) -> Any:
    """The user's part that `config` names, made as detectron2 makes it: part(cfg, *shapes). Raises ConfigError."""
    part = registry[config.name]
    configured = getattr(part, "from_config", None)
    try:
        return part(**configured(config.cfg, *shapes)) if configured is not None else part(config.cfg, *shapes)
    except ConfigError:
        raise
    except Exception as error:  # whatever the user's part raises
        raise ConfigError(
            f"The {registry.kind} {config.name} cannot be made: {type(error).__name__}: {error}. "
            f"Mend {part.__module__}, or the keys that it reads."
        ) from error
