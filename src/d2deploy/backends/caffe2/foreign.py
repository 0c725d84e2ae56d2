"""Two nets without a manifest, such as detectron2's own exporter writes: what they say of themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2deploy.artifact import ModelSpec, PanopticRule, Preprocess, TensorSpec
from d2deploy.backends.caffe2.messages import arg_value
from d2deploy.backends.caffe2.names import INPUTS, OUTPUTS
from d2deploy.errors import ArtifactError

_SPLITS = OUTPUTS["image_index"]
_DETECTIONS = ("boxes", "scores", "classes")
_SHAPES: dict[str, tuple[int | str, ...]] = {
    "boxes": ("D", "C"),
    "mask_probs": ("D", "M", "M"),
    "keypoint_heatmaps": ("D", "K", "S", "S"),
    "sem_seg": ("N", "C", "H_padded", "W_padded"),
}
_INPUTS = (
    TensorSpec(name="images", shape=("N", 3, "H", "W"), dtype="float32"),
    TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64"),
)
_COMBINE = ("combine_overlap_threshold", "combine_stuff_area_limit", "combine_instances_confidence_threshold")
_AGAIN = "Export the checkpoint with d2deploy: caffe2_converter, or d2deploy export --format caffe2."


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """How to run such nets."""

    spec: ModelSpec  # how images were resized, and the names of classes, are not in a net: nothing stands for them
    one_by_one: bool  # it does not say which detection is whose, as detectron2's do not: one image a run
    fill: tuple[float, ...]  # the pixel that images are padded with, one number a channel


def read_foreign(net: Any, init: Any, folder: Path) -> Foreign:
    """What two NetDefs are as a model. `folder`: for messages.

    Raises ArtifactError for nets that make no result without more than they hold: other inputs or outputs, those of
    detectron2's RetinaNet, whose anchors are a pickled module, and nets for a GPU.
    """
    args = {arg.name: arg_value(arg) for arg in net.arg}
    _check(net, init, args, folder)
    one_by_one = "bbox_nms" in net.external_output and _SPLITS not in net.external_output
    made = {name for name, blob in OUTPUTS.items() if blob in net.external_output}
    names = [name for name in OUTPUTS if name in made or (name == "image_index" and one_by_one)]
    spec = ModelSpec(
        meta_architecture=_text(args.get("meta_architecture", "GeneralizedRCNN")),
        inputs=_INPUTS,
        outputs=tuple(TensorSpec(name=name, shape=_SHAPES.get(name, ("D",)), dtype="float32") for name in names),
        preprocess=Preprocess(
            min_size=0,
            max_size=0,
            channel_order="BGR",
            size_divisor=int(args.get("size_divisibility", 0)),
            pixel_mean=(),
            pixel_std=(),
        ),
        thresholds=None,
        num_classes=0,
        class_names=(),
        panoptic=_panoptic(args) if {"boxes", "sem_seg"} <= made else None,
    )
    return Foreign(spec=spec, one_by_one=one_by_one, fill=_mean(net, init))


def _check(net: Any, init: Any, args: dict[str, Any], folder: Path) -> None:
    filled = {name for op in init.op for name in op.output}
    inputs = [name for name in net.external_input if name not in filled]
    outputs = list(net.external_output)
    made = {name for name, blob in OUTPUTS.items() if blob in outputs}
    is_for_gpu = _text(args.get("device", "cpu")) != "cpu" or any(op.device_option.device_type for op in net.op)
    reasons = {
        f"it takes {', '.join(inputs) or 'nothing'}, not data and im_info": set(inputs) != set(INPUTS.values()),
        "it was exported for a GPU, and d2deploy runs Caffe2 on the CPU": is_for_gpu,
        "it is a RetinaNet of detectron2's exporter, with its anchors as a pickled module, and pickles are not run": (
            "box_cls_0" in outputs
        ),
        "its keypoints come from HeatmapMaxKeypoint, not as heat maps": "keypoints_out" in outputs,
        f"it gives {', '.join(outputs) or 'nothing'}, of which no result can be made": (
            not made.issuperset(_DETECTIONS) and made != {"sem_seg"}
        ),
        f"it does not say how instances and classes of pixels become one picture ({', '.join(_COMBINE)})": (
            {"boxes", "sem_seg"} <= made and not args.keys() >= set(_COMBINE)
        ),
    }
    if reason := next((text for text, is_so in reasons.items() if is_so), ""):
        raise ArtifactError(f"{folder} has no manifest.json, and its net alone cannot be used: {reason}. {_AGAIN}")


def _panoptic(args: dict[str, Any]) -> PanopticRule:
    overlap, area, score = (args[name] for name in _COMBINE)
    return PanopticRule(overlap=float(overlap), stuff_area=int(area), instance_score=float(score))


def _mean(net: Any, init: Any) -> tuple[float, ...]:
    """What a net that begins with `data - mean` subtracts; else 0.

    detectron2's nets normalise after the padding, so that only a padding of this colour is the network's own, zero.
    """
    first = next((op for op in net.op if "data" in op.input), None)
    if first is not None and first.type == "Sub":
        for op in init.op:
            if op.output[0] == first.input[1]:
                return tuple(next(arg.floats for arg in op.arg if arg.name == "values"))
    return (0.0,)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
