"""d2deploy verify."""

from pathlib import Path
from typing import Any

import click

from d2deploy.artifact import read_artifact
from d2deploy.cli.options import ModelPath, device, network
from d2deploy.cli.progress import progress_bar
from d2deploy.cli.source import load_model


@click.command("verify")
@click.argument("artifact", type=ModelPath())
@network
@click.option("--images", type=ModelPath(), multiple=True, help="Compare on these: a file or folder; may be repeated.")
@click.option("--sample-image", type=ModelPath(), help="Or on one image in several sizes; default: the demo's.")
@device
def verify_command(artifact: Path, images: tuple[Path, ...], sample_image: Path | None, **options: Any) -> None:
    """Compare an artifact with the network that it was made from.

    Give the config, weights and changes that export was given. Exits with 1 where they differ.
    """
    from d2deploy.workflows.predict import image_files
    from d2deploy.workflows.sample import sample_images
    from d2deploy.workflows.verify import verify as run

    exported = read_artifact(artifact)
    files = image_files(images) if images else []
    model = load_model(options)
    with progress_bar("verifying") as progress:
        report = run(
            exported,
            against=model,
            images=files or sample_images(sample_image, model.spec),
            progress=progress,
            device=options["device"],
        )
    click.echo(report)
    exported.with_verification(report.to_dict())
    report.raise_if_bad()
