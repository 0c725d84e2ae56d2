"""What a config and a checkpoint are, and what is likely wrong with them: without running the network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tabulate import tabulate

from d2deploy.config import schema
from d2deploy.config.datasets import class_names
from d2deploy.config.model import read_model_config
from d2deploy.config.schema import ModelConfig
from d2deploy.errors import WeightsError
from d2deploy.workflows.evidence import Shapes, contradictions
from d2deploy.workflows.smells import NOTE, ODD, WRONG, Finding, author_smells, nodes, smells

if TYPE_CHECKING:
    from d2deploy.weights.read import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found. `str` is what the command line prints."""

    rows: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong; odd things may be."""
        return all(finding.level != WRONG for finding in self.findings)

    def __str__(self) -> str:
        table = tabulate(self.rows, tablefmt="plain", disable_numparse=True)
        lines = [f"{finding.level:>5}  {finding.text}" for finding in self.findings]
        return "\n\n".join([table, "\n".join(lines or [" fine  nothing looks wrong"])])


def diagnose(
    config_file: str | Path, weights: str | Path | None = None, *, overrides: Sequence[str] = (), **reading: Any
) -> Diagnosis:
    """What `config_file` describes, and what seems wrong with it and with the checkpoint `weights`.

    The network is built without memory for its weights; only an address is downloaded, and only if it was before.
    `reading`: load_model's arguments about reading the config. Raises ConfigError where the config cannot be read.
    """
    config = read_model_config(config_file, overrides, **reading)
    findings = list(smells(config))
    rows = _family(config)
    if weights is None:
        findings.append(Finding(NOTE, f"no checkpoint was looked at: give it as the second argument{_begun(config)}"))
    else:
        weights_rows, weights_findings = _checkpoint(config, weights)
        rows += weights_rows
        findings += weights_findings
    order = [WRONG, ODD, NOTE]
    return Diagnosis(rows=tuple(rows), findings=tuple(sorted(findings, key=lambda f: order.index(f.level))))


def _begun(config: ModelConfig) -> str:
    """A warning about the checkpoint that the config itself names."""
    if "ImageNetPretrained" not in config.weights:
        return ""
    return f"; the config's own, {config.weights}, is what training began with, not what came out of it"


def _family(config: ModelConfig) -> list[tuple[str, str]]:
    from d2deploy.backends import FORMATS

    rule = config.input
    resize = f"shorter edge {rule.min_size}, longer at most {rule.max_size}" if rule.min_size else "none"
    detections = config.detections
    rows = [
        ("model", f"{config.meta_architecture}: {', '.join(_parts(config))}"),
        ("input", f"{rule.channel_order}, mean {rule.pixel_mean}, std {rule.pixel_std}; resizing: {resize}"),
    ]
    if detections:
        names = class_names(config.dataset)
        known = f"the names of {config.dataset}" if len(names) == detections.num_classes else "names unknown"
        rows.append(("classes", f"{detections.num_classes}, {known}"))
        rows.append(
            (
                "kept",
                f"score > {detections.score_thresh:g}, NMS at {detections.nms_thresh:g}, "
                f"at most {detections.detections_per_image}",
            )
        )
    return [*rows, *((f"to {name}", ", ".join(row.methods)) for name, row in FORMATS.items())]


def _parts(config: ModelConfig) -> Iterator[str]:
    """What the network is made of, in words."""
    for part in nodes(config):
        if isinstance(part, schema.Registered):
            yield f"own part {part.name}"
        elif isinstance(part, schema.ResNet):
            yield f"{'ResNeXt' if part.num_groups > 1 else 'ResNet'}-{part.depth}"
            if any(part.deform_on_per_stage):
                yield f"deformable convolution {'v2' if part.deform_modulated else 'v1'}"
        elif isinstance(part, schema.ROIHeads):
            yield f"cascade of {len(part.cascade)}" if part.cascade else "one box head"
            heads = {"mask": part.mask, "keypoint": part.keypoint}
            yield from (f"{name} head" for name, head in heads.items() if head is not None)
        elif isinstance(part, schema.DensePoseHead):
            kind = "charts" if isinstance(part.predictor, schema.ChartPredictor) else "meshes"
            yield f"DensePose head, {kind}"
        elif isinstance(part, schema.Res5ROIHeads):
            yield "res5 as box head (C4)"
            if part.mask is not None:
                yield "mask head"
        elif not isinstance(part, _UNTOLD):
            yield type(part).__name__


_UNTOLD = (
    *(schema.ModelConfig, schema.Input, schema.Anchors, schema.Detections, schema.Pooler, schema.BoxHead),
    *(schema.MaskHead, schema.KeypointHead, schema.PanopticCombine, *get_args(schema.Architecture)),
    *(schema.ConvFCHead, schema.StandardPointHead, schema.ImplicitPointHead, schema.Subdivision),
    *(schema.DensePoseDecoder, schema.ChartPredictor, schema.EmbeddingPredictor, schema.Mesh),
)


def _checkpoint(config: ModelConfig, weights: str | Path) -> tuple[list[tuple[str, str]], list[Finding]]:
    """What the checkpoint is, and how it fits the network of `config`."""
    import torch  # noqa: TID251 - the network is built below, which needs it

    from d2deploy.models.build import build_model
    from d2deploy.weights.download import fetched
    from d2deploy.weights.match import load_weights
    from d2deploy.weights.read import read_checkpoint

    checkpoint = read_checkpoint(Path(fetched(str(weights))))
    with torch.device("meta"):
        core = build_model(config)
    rows = [("checkpoint", _described(checkpoint))]
    findings = [
        Finding(
            WRONG, f"{fact.name}: {ours} in the config, {theirs} in the checkpoint: -o {fact.key} {_literal(theirs)}"
        )
        for fact, ours, theirs in contradictions(config, _shapes(checkpoint))
    ]
    try:
        report = load_weights(core, checkpoint)
        rows.append(("its tensors", str(report).partition(": ")[2].partition("\n")[0]))
        report.raise_if_bad()
    except WeightsError as error:
        # Where a contradiction explains it, the list of tensors would only be noise.
        findings += [] if findings else [Finding(WRONG, str(error))]
    return rows, [*findings, *author_smells(config, checkpoint.author)]


def _described(checkpoint: "Checkpoint") -> str:
    count = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    author = f", by {checkpoint.author}" if checkpoint.author else ""
    return f"{checkpoint.path}: {len(checkpoint.tensors)} tensors, {count / 1e6:.1f} million numbers{author}"


def _shapes(checkpoint: "Checkpoint") -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}


def _literal(value: Any) -> str:
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return f'"{text}"' if " " in text else text
