"""Progress bars, on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that is told (done, all)."""
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def told(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield told


@contextmanager
def download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr that appears when the first bytes come."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def told(done: int, total: int | None) -> None:
            if not bars:
                bar = click.progressbar(length=total or done, label="downloading", file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        yield told
