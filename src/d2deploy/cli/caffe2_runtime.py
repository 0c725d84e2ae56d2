"""d2deploy caffe2-runtime."""

from pathlib import Path

import click

from d2deploy.cli.options import ModelPath


@click.command("caffe2-runtime")
@click.option("--python", required=True, help="A Python 3.6 to 3.9: a path, or a name such as python3.8.")
@click.option(
    "--folder", type=ModelPath(), help="Folder to make; default: the one in d2deploy's cache, where it looks."
)
def caffe2_runtime_command(python: str, folder: Path | None) -> None:
    """Make the environment that Caffe2 artifacts run in: torch 1.8.1 from PyPI, 1.7 GB."""
    from d2deploy.backends.caffe2.runtime import SIZE, VARIABLE, default_folder, make_runtime

    target = folder or default_folder()
    click.echo(f"Installing Caffe2 into {target}: {SIZE}, some minutes", err=True)
    made = make_runtime(python, target)
    click.echo(made)
    if target != default_folder():
        click.echo(f"To use it: export {VARIABLE}={made}", err=True)
