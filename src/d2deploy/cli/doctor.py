"""d2deploy doctor."""

from typing import Any

import click

from d2deploy.cli.options import ModelPath, reading
from d2deploy.cli.source import reading_of


@click.command("doctor")
@click.argument("config", type=ModelPath(str))
@click.argument("weights", type=ModelPath(str), required=False)
@reading
def doctor_command(config: str, weights: str | None, **options: Any) -> None:
    """Say what a config and a checkpoint are, and what is likely wrong with them. Exits with 1 if anything is."""
    from d2deploy.optional import optional
    from d2deploy.workflows.doctor import diagnose

    if weights:
        optional("torch", extra="torch")
    diagnosis = diagnose(config, weights, **reading_of(options))
    click.echo(diagnosis)
    if not diagnosis.ok:
        raise click.exceptions.Exit(1)
