"""One command a verb: parses, calls, prints; decides nothing. Results go to stdout, progress and errors to stderr."""

import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

import click

from d2deploy import __version__
from d2deploy.cli.caffe2_runtime import caffe2_runtime_command
from d2deploy.cli.doctor import doctor_command
from d2deploy.cli.evaluate import evaluate_command
from d2deploy.cli.export import export_command
from d2deploy.cli.listings import demo_command, formats_command, inspect_command, zoo_command
from d2deploy.cli.predict import predict_command
from d2deploy.cli.verify import verify_command
from d2deploy.errors import D2DeployError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 fine, 1 an export that is not the model, 2 bad input, 130 interrupted."""
    run(cli, arguments, "d2deploy")


def run(command: click.Command, arguments: Sequence[str] | None, name: str) -> NoReturn:
    """Run `command` under the name that the user typed, and exit with `main`'s codes."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may hold what it cannot show; stderr does so already
    try:
        code = command.main(arguments, prog_name=name, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except (D2DeployError, click.ClickException, OSError, MemoryError, RuntimeError) as error:
        code = _refused(error)
    sys.exit(code or 0)


def _refused(error: Exception) -> int:
    """Prints an error's one line, gives its exit code; what is a bug and no refusal keeps its traceback."""
    message = str(error)
    if isinstance(error, click.ClickException):
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help itself; click has it since 8.2
            error.show()
            return error.exit_code
        context = getattr(error, "ctx", None)
        message = error.format_message() + (f" See {context.command_path} --help." if context else "")
    elif isinstance(error, OSError):  # the surroundings, where nothing foresaw it: rights, a name too long, a full disk
        message = f"{error.filename or 'A file or stream'}: {error.strerror or error}. Check path, rights and space."
    elif isinstance(error, MemoryError) or re.search("allocate memory|out of memory|bad_alloc", message):
        message = "The memory does not suffice. Give smaller images, or a smaller INPUT.MAX_SIZE_TEST."
    elif not isinstance(error, D2DeployError):
        raise error
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return getattr(error, "exit_code", 2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="d2deploy")
def cli() -> None:
    """Export detectron2 checkpoints, without detectron2, and prove that the export is right.

    Exits with 0 if all went well, 1 if an export is not the network or something looks wrong, 2 for bad input.
    """


for command in (
    export_command,
    verify_command,
    evaluate_command,
    predict_command,
    inspect_command,
    doctor_command,
    zoo_command,
    formats_command,
    demo_command,
    caffe2_runtime_command,
):
    cli.add_command(command)
