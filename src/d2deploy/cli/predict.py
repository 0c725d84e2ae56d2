"""d2deploy predict."""

from pathlib import Path
from typing import Any

import click

from d2deploy.cli.options import STDIO, ModelPath, device, network
from d2deploy.cli.progress import progress_bar
from d2deploy.cli.source import source_of, write_json


@click.command("predict")
@click.argument("paths", nargs=-1, type=ModelPath(), metavar="[ARTIFACT] IMAGES...")
@network
@click.option("--output", type=ModelPath(), help="Draw: to a picture file for one image, to a folder for several.")
@click.option(
    "--min-score", type=float, default=0.5, show_default=True, help="Draw detections with at least this score."
)
@click.option("--json", "json_file", type=ModelPath(), help="Write all detections to this file; - for stdout.")
@click.option("--coco-json", type=ModelPath(), help="The same as COCO records, category_id from 0 on; - for stdout.")
@device
def predict_command(paths: tuple[Path, ...], json_file: Path | None, coco_json: Path | None, **options: Any) -> None:
    """Detect objects on images: files, folders, or - for an image on stdin.

    The first path is the artifact, unless the network itself is to be run (--config-file).
    """
    from d2deploy.workflows.predict import check_targets, given_images
    from d2deploy.workflows.predict import predict as run

    artifact, images = (None, paths) if options["config_file"] else (paths[0] if paths else None, paths[1:])
    if not images:
        raise click.UsageError("Give an artifact and then images; with --config-file, images alone.")
    if json_file and json_file == coco_json:
        raise click.UsageError("--json and --coco-json name the same place. Give each its own.")
    given = given_images(images)
    check_targets([file for file in (json_file, coco_json) if file and file != STDIO], given)
    source = source_of(artifact, options)
    with progress_bar("predicting") as progress:
        found = run(
            source,
            given,
            output=options["output"],
            min_score=options["min_score"],
            device=options["device"],
            progress=progress,
        )
    if STDIO not in (json_file, coco_json):
        click.echo("\n".join(found.lines))
    write_json(json_file, {"images": found.images})
    write_json(coco_json, found.coco)
