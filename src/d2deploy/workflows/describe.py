"""A manifest as text for people."""

import dataclasses
from typing import Any

from tabulate import tabulate

from d2deploy.artifact import Artifact, Manifest, ModelSpec

_MANY = 40  # names in a cell


def describe(artifact: Artifact) -> str:
    """What `inspect` prints: format, files, inputs, outputs, classes, pre-processing, thresholds, rules, verdict."""
    manifest = artifact.manifest
    rows = [
        ("artifact", str(artifact.path)),
        ("format", " ".join([manifest.format, *(f"({k} {v})" for k, v in manifest.options.items())])),
        *(("file", _file(artifact, name)) for name in manifest.hashes),
        *_model(manifest.spec),
        ("made from", _pairs(manifest.source)),
        ("made with", _pairs(manifest.made_with)),
        ("verified", _verdict(manifest)),
    ]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _model(spec: ModelSpec) -> list[tuple[str, str]]:
    rule = spec.preprocess
    resize = f"shorter edge {rule.min_size}, longer at most {rule.max_size}" if rule.min_size else "none"
    channels = next((size for tensor in spec.outputs if tensor.name == "sem_seg" for size in tensor.shape[1:2]), None)
    counts = [
        *([f"{spec.num_classes} classes"] if spec.num_classes else []),
        *([f"{channels} classes of pixels"] if channels else []),
    ]
    return [
        ("model", ", ".join([spec.meta_architecture, *counts])),
        *([("classes", _names(spec.class_names))] if spec.num_classes else []),
        *([("pixels are", _names(spec.sem_seg_names))] if channels else []),
        *(("input", str(tensor)) for tensor in spec.inputs),
        *(("output", str(tensor)) for tensor in spec.outputs),
        ("channels", f"{rule.channel_order}, 0 to 255; mean {rule.pixel_mean} and std {rule.pixel_std} are inside"),
        ("resizing", f"{resize}; {_padding(spec)}"),
        *([("results", "on the original image, nothing is left to do")] if spec.includes_postprocess else []),
        *_rules(spec),
    ]


def _padding(spec: ModelSpec) -> str:
    if spec.includes_preprocess:
        return "inside, with the padding"
    return f"padded at the right and bottom to multiples of {spec.preprocess.size_divisor}"


def _rules(spec: ModelSpec) -> list[tuple[str, str]]:
    rows = []
    if kept := spec.thresholds:
        rows.append(("kept", f"score > {kept.score:g}, NMS at {kept.nms:g}, at most {kept.max_detections}"))
    if merged := spec.panoptic:
        instances = f"instances of score {merged.instance_score:g} or more, unless over {merged.overlap:.0%} is taken"
        rows.append(("segments", f"{instances}; then stuff of {merged.stuff_area} pixels or more"))
    if spec.panoptic_deeplab:
        rows.append(("segments", _pairs(dataclasses.asdict(spec.panoptic_deeplab))))
    return rows


def _names(names: tuple[str, ...]) -> str:
    if not names:
        return "names unknown (numbers are shown)"
    more = f", and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more


def _file(artifact: Artifact, name: str) -> str:
    size = (artifact.path / name).stat().st_size
    return f"{name}, {size / 1e6:.2f} MB, sha256 {artifact.manifest.hashes[name]}"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value)


def _verdict(manifest: Manifest) -> str:
    report: dict[str, Any] | None = manifest.verification
    if report is None:
        return "never (d2deploy verify)"
    try:
        images, against = len(report["rows"]), report["source"]
        if report["ok"]:
            return f"yes: the same as {against} on {images} images"
        return f"FAILED against {against} on {images} images: " + "; ".join(report["reasons"])
    except (LookupError, TypeError):
        return "unknown, the report cannot be read (d2deploy verify)"
