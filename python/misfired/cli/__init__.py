"""The `misfired` command: one module per group of commands, each a thin wrapper over the API."""

import sys

import typer

from misfired.cli import (
    agreement,
    bbq,
    demo,
    doctor,
    localise,
    pairs,
    plan,
    protocols,
    run,
    stats,
    suite,
)
from misfired.errors import ArgumentError, DataError, MisfiredError

__all__ = ["app", "main"]

app = typer.Typer(
    name="misfired",
    help="Measure misfired alignment in local language models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(demo.demo)
app.command()(run.run)
app.command()(run.score)
app.command()(stats.stats)
app.command()(stats.compare)
app.command()(stats.leaderboard)
app.command()(agreement.agreement)
app.command()(protocols.protocols)
app.command()(doctor.doctor)
app.command()(localise.localise)
app.add_typer(bbq.app, name="bbq")
app.add_typer(pairs.app, name="pairs")
app.add_typer(plan.app, name="plan")
app.add_typer(suite.app, name="suite")


def main() -> None:
    """Run the command; a failure is one line on stderr and an exit code, never a traceback.

    Exit codes: 0 success, 1 the work failed, 2 bad input or usage, 130 interrupted.
    """
    try:
        app()
    except (ArgumentError, DataError) as error:
        _fail(str(error), 2)
    except MisfiredError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        # The reader of stdout has gone, as `head` does; nothing is left to say to it.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _fail(named, 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(code)
