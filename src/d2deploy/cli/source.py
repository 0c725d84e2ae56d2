"""From a command line to the network, artifact or data that it names; and results to a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from d2deploy.artifact import Artifact, read_artifact
from d2deploy.cli.options import STDIO
from d2deploy.cli.progress import download_bar
from d2deploy.config.thresholds import check_thresholds
from d2deploy.writing import write_text

if TYPE_CHECKING:
    from d2deploy.models.build import Model


def load_model(options: dict[str, Any], overrides: Sequence[str] = ()) -> "Model":
    """The network that the `network` options name."""
    from d2deploy.optional import optional

    if not options["config_file"]:
        raise click.UsageError("Give --config-file, the detectron2 config of the network.")
    optional("torch", extra="torch")
    from d2deploy.models.build import load_model

    with download_bar() as progress:
        return load_model(
            options["config_file"],
            options["weights"],
            class_names=options["class_names"],
            progress=progress,
            **reading_of(options, overrides),
        )


READING = ("min_size", "max_size", "score_thresh", "nms_thresh", "max_detections", "trust_config")


def reading_of(options: dict[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """load_model's arguments about how a config is read. Runs the modules that --import names."""
    from d2deploy.registry import import_parts

    for name in options["imports"]:
        import_parts(name)
    return {
        "overrides": [*overrides, *(word for pair in options["opts"] for word in pair)],
        **{name: options[name] for name in READING},
    }


def source_of(artifact: Path | None, options: dict[str, Any]) -> "Artifact | Model":
    """The artifact, or the network that the `network` options name: one of the two must be given."""
    if artifact and options["config_file"]:
        raise click.UsageError("Give an artifact or --config-file, not both.")
    if not artifact and not options["config_file"]:
        raise click.UsageError("Give an artifact, the folder that export wrote, or the network by --config-file.")
    return _with_thresholds(artifact, options) if artifact else load_model(options)


# What a file holds already: each an option that would change nothing.
FIXED = {
    **{"weights": "--weights", "class_names": "--class-names", "opts": "--opts", "imports": "--import"},
    **{"min_size": "--min-size", "max_size": "--max-size", "max_detections": "--max-detections"},
    "trust_config": "--trust-config",
}


def _with_thresholds(path: Path, options: dict[str, Any]) -> Artifact:
    """The artifact in `path`, to be run with the thresholds that were given."""
    given_by = click.get_current_context().get_parameter_source
    if fixed := [option for name, option in FIXED.items() if given_by(name) is ParameterSource.COMMANDLINE]:
        raise click.UsageError(f"An artifact is run as it was exported: give {', '.join(fixed)} to export.")
    check_thresholds(options["score_thresh"], options["nms_thresh"])
    artifact, given = read_artifact(path), {"score": options["score_thresh"], "nms": options["nms_thresh"]}
    return artifact if set(given.values()) == {None} else artifact.with_thresholds(**given)


DATA_PATHS = ("image_root", "coco_json", "sem_seg_root", "panoptic_json", "panoptic_root")


def data_of(options: dict[str, Any], source: "Artifact | Model") -> dict[str, Any]:
    """evaluate's arguments that say which images of which annotations; by default those that the config names."""
    from d2deploy.config.dataset_files import installed_files
    from d2deploy.workflows.measure import measurable

    paths = {name: options[name] for name in DATA_PATHS if options[name]}
    if options["dataset"] and paths:
        raise click.UsageError("Give annotations and --image-root, or --dataset, not both.")
    if not paths:
        name = options["dataset"] or (not isinstance(source, Artifact) and source.config.dataset)
        if not name:
            raise click.UsageError("Give --image-root and annotations (--coco-json and others), or --dataset.")
        paths = installed_files(name, measurable(source.spec))
    return {**paths, "limit": options["limit"]}


def write_json(path: Path | None, content: Any, *, indent: int | None = None) -> None:
    """To a file, or to stdout for STDIO; nowhere for None."""
    if path is None:
        return
    text = json.dumps(content, indent=indent, allow_nan=False)
    click.echo(text) if path == STDIO else write_text(path, text + "\n")
