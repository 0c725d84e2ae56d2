"""d2deploy evaluate."""

from pathlib import Path
from typing import Any

import click

from d2deploy.cli.options import STDIO, ModelPath, data, device, network
from d2deploy.cli.progress import progress_bar
from d2deploy.cli.source import data_of, source_of, write_json
from d2deploy.writing import check_writable


@click.command("evaluate")
@click.argument("artifact", type=ModelPath(), required=False)
@network
@data
@click.option("--json", "json_file", type=ModelPath(), help="Write the numbers to this file; - for stdout.")
@device
def evaluate_command(artifact: Path | None, json_file: Path | None, **options: Any) -> None:
    """Measure AP, mIoU and panoptic quality of an artifact, or of a network (--config-file)."""
    from d2deploy.workflows.evaluate import evaluate as run

    if json_file and json_file != STDIO:
        check_writable(json_file)
    source = source_of(artifact, options)
    data = data_of(options, source)
    with progress_bar("evaluating") as progress:
        evaluation = run(source, progress=progress, device=options["device"], **data)
    if json_file != STDIO:
        click.echo(evaluation.metrics)
    write_json(json_file, evaluation.metrics.to_json(), indent=1)
