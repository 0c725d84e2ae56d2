"""d2deploy inspect, zoo, formats, demo: what only prints, and the demonstration."""

from pathlib import Path

import click
from tabulate import tabulate

from d2deploy.artifact import read_artifact
from d2deploy.cli.options import ModelPath


@click.command("inspect")
@click.argument("artifact", type=ModelPath())
def inspect_command(artifact: Path) -> None:
    """Print what an artifact's manifest says."""
    from d2deploy.workflows.describe import describe

    click.echo(describe(read_artifact(artifact)))


@click.command("zoo")
@click.argument("words", nargs=-1)
def zoo_command(words: tuple[str, ...]) -> None:
    """List detectron2's official models, or those with all WORDS in their name.

    A name can stand in place of --config-file; its weights are downloaded once.
    """
    from d2deploy.config.zoo import zoo_models
    from d2deploy.weights.catalog import resolve

    rows = [
        (m.name, m.family, " ".join(f"{k} {v}" for k, v in m.ap.items()), resolve(m.weights) if m.weights else "")
        for m in zoo_models()
        if all(word.lower() in m.name.lower() for word in words)
    ]
    click.echo(tabulate(rows, ("model", "family", "AP", "weights"), disable_numparse=True))


@click.command("formats")
def formats_command() -> None:
    """List the formats that export writes."""
    from d2deploy.backends import FORMATS

    rows = [
        (row.name, row.summary, ", ".join(row.methods), f"d2deploy[{row.extra}]", f"d2deploy[{row.runtime_extra}]")
        for row in FORMATS.values()
    ]
    click.echo(tabulate(rows, ("format", "what it is", "methods", "to write it", "to run it")))


@click.command("demo")
@click.option("--output", type=ModelPath(), default="d2deploy-demo", show_default=True, help="Folder to write to.")
@click.option(
    "--overwrite", is_flag=True, help="Replace that folder whatever is in it; a former demo is replaced anyway."
)
def demo_command(output: Path, overwrite: bool) -> None:
    """Export a bundled Mask R-CNN, verify the exports, and show all on one HTML page."""
    from d2deploy.demo.run import run_demo

    run_demo(output, overwrite=overwrite, say=click.echo)
