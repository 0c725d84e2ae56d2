"""A manifest as text for people."""

from typing import Any

from tabulate import tabulate

from d2deploy.artifact import Artifact, Manifest, ModelSpec


def describe(artifact: Artifact) -> str:
    """What `inspect` prints: format, files, inputs, outputs, classes, pre-processing, thresholds, verdict."""
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
    rule, thresholds = spec.preprocess, spec.thresholds
    resize = f"shorter edge {rule.min_size}, longer at most {rule.max_size}" if rule.min_size else "none"
    return [
        ("model", f"{spec.meta_architecture}, {spec.num_classes} classes"),
        ("classes", ", ".join(spec.class_names) or "names unknown (numbers are shown)"),
        *(("input", str(tensor)) for tensor in spec.inputs),
        *(("output", str(tensor)) for tensor in spec.outputs),
        ("channels", f"{rule.channel_order}, 0 to 255; mean {rule.pixel_mean} and std {rule.pixel_std} are inside"),
        ("resizing", f"{resize}; padded at the right and bottom to multiples of {rule.size_divisor}"),
        ("kept", f"score > {thresholds.score:g}, NMS at {thresholds.nms:g}, at most {thresholds.max_detections}"),
    ]


def _file(artifact: Artifact, name: str) -> str:
    size = (artifact.path / name).stat().st_size
    return f"{name}, {size / 1e6:.2f} MB, sha256 {artifact.manifest.hashes[name]}"


def _pairs(values: dict[str, str]) -> str:
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
