"""From a command line to the network, artifact or data that it names; and results to a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from d2deploy.artifact import Artifact, read_artifact, write_text
from d2deploy.cli.options import STDIO
from d2deploy.cli.progress import download_bar

if TYPE_CHECKING:
    from d2deploy.models.build import Model


def load_model(options: dict[str, Any], overrides: Sequence[str] = ()) -> "Model":
    """The network that the `network` options name."""
    from d2deploy.config.datasets import names_from
    from d2deploy.optional import optional

    if not options["config_file"]:
        raise click.UsageError("Give --config-file, the detectron2 config of the network.")
    optional("torch", extra="torch")
    from d2deploy.models.build import load_model

    names = options["class_names"]
    with download_bar() as progress:
        return load_model(
            options["config_file"],
            options["weights"],
            overrides=[*overrides, *(word for pair in options.get("opts", ()) for word in pair)],
            class_names=None if names is None else names_from(names),
            progress=progress,
            min_size=options["min_size"],
            max_size=options["max_size"],
            trust_config=options["trust_config"],
        )


def source_of(artifact: Path | None, options: dict[str, Any]) -> "Artifact | Model":
    """The artifact, or the network that the `network` options name: one of the two must be given."""
    if artifact and options["config_file"]:
        raise click.UsageError("Give an artifact or --config-file, not both.")
    if not artifact and not options["config_file"]:
        raise click.UsageError("Give an artifact, the folder that export wrote, or the network by --config-file.")
    return read_artifact(artifact) if artifact else load_model(options)


def data_of(options: dict[str, Any], source: "Artifact | Model") -> dict[str, Any]:
    """evaluate's arguments that say which images of which annotations; by default those that the config names."""
    from d2deploy.config.datasets import installed_files

    coco_json, image_root = options["coco_json"], options["image_root"]
    if options["dataset"] and (coco_json or image_root):
        raise click.UsageError("Give --coco-json and --image-root, or --dataset, not both.")
    if not (coco_json and image_root):
        name = options["dataset"] or (not isinstance(source, Artifact) and source.config.dataset)
        if coco_json or image_root or not name:
            raise click.UsageError("Give --coco-json and --image-root, or --dataset.")
        coco_json, image_root = installed_files(name)
    return {"coco_json": coco_json, "image_root": image_root, "limit": options["limit"]}


def write_json(path: Path | None, content: Any, *, indent: int | None = None) -> None:
    """To a file, or to stdout for STDIO; nowhere for None."""
    if path is None:
        return
    text = json.dumps(content, indent=indent, allow_nan=False)
    click.echo(text) if path == STDIO else write_text(path, text + "\n")
