"""Thresholds that a user gives, over what the config says: one place for every kind of config and of detector."""

import dataclasses
import math
from typing import Any

from d2deploy.config import schema
from d2deploy.errors import ConfigError


def with_thresholds(
    config: schema.ModelConfig,
    *,
    score_thresh: float | None = None,
    nms_thresh: float | None = None,
    max_detections: int | None = None,
) -> schema.ModelConfig:
    """`config` with those that are not None: the score that a detection must be above, the IoU above which NMS drops
    one, and how many an image has at most.

    Raises ConfigError: out of range, or a network that has no such thing, or whose own part reads it elsewhere.
    """
    check_thresholds(score_thresh, nms_thresh)
    fits = max_detections is None or (type(max_detections) is int and 1 <= max_detections < 2**31)
    _check("max_detections", max_detections, "a whole number of at least 1", fits)
    values = {"score_thresh": score_thresh, "nms_thresh": nms_thresh, "detections_per_image": max_detections}
    given = {field: value for field, value in values.items() if value is not None}
    if not given:
        return config
    _refuse_own_parts(config)
    if config.detections is None:
        raise ConfigError(
            f"A {config.meta_architecture} has no detections, so it has neither score nor NMS threshold nor a number "
            f"of them. Leave those options out."
        )
    changed: schema.ModelConfig = _replaced(config, given)
    return changed


def check_thresholds(score_thresh: float | None, nms_thresh: float | None) -> None:
    """Raises ConfigError when one of them, where it is given, is out of range."""
    _check("score_thresh", score_thresh, "a number", score_thresh is None or math.isfinite(score_thresh))
    _check("nms_thresh", nms_thresh, "a number from 0 to 1", nms_thresh is None or 0 <= nms_thresh <= 1)


def _check(name: str, value: Any, rule: str, fits: bool) -> None:
    if not fits:
        raise ConfigError(f"{name} is {value!r}; it must be {rule}.")


def _refuse_own_parts(config: schema.ModelConfig) -> None:
    """A user's own RoI heads or network read the config themselves."""
    architecture = config.architecture
    detector = architecture.detector if isinstance(architecture, schema.PanopticFPN) else architecture
    heads = detector.roi_heads if isinstance(detector, schema.GeneralizedRCNN) else detector
    if isinstance(heads, schema.RegisteredROIHeads | schema.RegisteredArchitecture):
        raise ConfigError(
            f"{heads.part.name} is a part of your own, which reads its thresholds from the config. Change them there: "
            f"-o MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.5."
        )


def _replaced(part: Any, given: dict[str, Any]) -> Any:
    """A copy of the dataclass `part` in which every Detections has the fields `given`."""
    if isinstance(part, schema.Detections):
        return dataclasses.replace(part, **given)
    inner = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    changed = {name: _replaced(value, given) for name, value in inner.items() if dataclasses.is_dataclass(value)}
    return dataclasses.replace(part, **changed) if changed else part
