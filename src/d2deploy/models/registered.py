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
from d2deploy.registry import META_ARCH_REGISTRY, Registry


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


def configurable(init: Any) -> Any:
    """detectron2's mark of an __init__ whose arguments from_config gives; here having from_config is enough."""
    return init


class BaseMaskRCNNHead(nn.Module):
    """Base of a user's mask head: it defines layers(pooled[D,C,S,S]) -> logits[D,K or 1,M,M]."""

    def __init__(self, *, loss_weight: float = 1.0, vis_period: int = 0) -> None:
        super().__init__()

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Arguments of the base; a subclass adds its own."""
        return {}

    def layers(self, x: Tensor) -> Tensor:
        """To be defined: x[D,C,S,S] -> logits[D,K or 1,M,M]."""
        raise NotImplementedError

    def forward(self, pooled: Tensor, classes: Tensor) -> Tensor:
        """pooled[D,C,S,S], classes[D] int64 -> probabilities of each detection's own class [D,M,M]."""
        logits = self.layers(pooled)
        channel = classes.clamp(max=logits.shape[1] - 1)  # a single channel serves all classes
        own = logits.gather(1, channel[:, None, None, None].expand(-1, 1, logits.shape[2], logits.shape[3]))
        return own[:, 0].sigmoid()


class BaseKeypointRCNNHead(nn.Module):
    """Base of a user's keypoint head: it defines layers(pooled[D,C,S,S]) -> heatmap logits[D,K,H,H]."""

    def __init__(self, *, num_keypoints: int = 0, loss_weight: float = 1.0, loss_normalizer: Any = 1.0) -> None:
        super().__init__()

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Arguments of the base; a subclass adds its own."""
        return {"num_keypoints": cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS}

    def layers(self, x: Tensor) -> Tensor:
        """To be defined: x[D,C,S,S] -> logits[D,K,H,H]."""
        raise NotImplementedError

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled[D,C,S,S] -> logits[D,K,H,H]."""
        return self.layers(pooled)


class FirstOfPair(nn.Module):
    """What a head of detectron2 answers at inference: (logits, losses), of which there are none."""

    def forward(self, answer: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
        """-> the logits."""
        return answer[0]


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


class MetaArchitecture(nn.Module):
    """Base of a user's whole network: forward(images[N,3,H,W] raw, image_sizes[N,2]) -> the tensors named in `outputs`.

    Here d2deploy's convention holds, tensors in and tensors out (docs/architecture.md, The core), not detectron2's.
    """

    outputs: tuple[str, ...] = ()
    num_classes: int = 0
    size_divisor: int = 1  # height and width of `images` are multiples of it


def build_architecture(config: schema.RegisteredArchitecture, *_: Any) -> MetaArchitecture:
    """The user's network of `config`. Raises ConfigError."""
    core = make_part(META_ARCH_REGISTRY, config.part)
    if not isinstance(core, MetaArchitecture) or not core.outputs:
        raise ConfigError(
            f"The meta-architecture {config.part.name} is no d2deploy.modeling.MetaArchitecture that names its "
            f"outputs. Make that its base class, and set `outputs`."
        )
    return core
