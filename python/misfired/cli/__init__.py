"""The `misfired` command: one table of commands, each loaded when it is used.

A command is a thin wrapper over the API: data to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from misfired._core import __version__
from misfired.cli.interrupt import CODE, MESSAGE, TOLD, ending_on_interrupt
from misfired.cli.output import drop, drop_if_full, echo_error, notes_shown, prepare_streams
from misfired.errors import ArgumentError, DataError, MisfiredError
from misfired.text import LONGEST_MESSAGE, shown

if TYPE_CHECKING:
    import typer

#: Module, function or group, and the one-line help of each command.
COMMANDS = {
    "demo": ("demo", "demo", "Measure two shipped models, one with a planted misfire."),
    "run": ("run", "run", "Measure models on pairs; print MAR with intervals."),
    "score": ("run", "score", "Score a suite and leave the answers in a run folder."),
    "stats": ("stats", "stats", "Print MAR and its companions with intervals."),
    "compare": ("stats", "compare", "Print what differs between two runs on the same pairs."),
    "failures": ("failures", "failures", "List the pairs that misfired, worst margin first."),
    "leaderboard": ("stats", "leaderboard", "Rank runs, with intervals and joint ranks."),
    "report": ("report", "report", "Write a page about runs, to open in a browser."),
    "plot": ("plot", "plot", "Draw the figures of a paper from runs."),
    "localise": ("localise", "localise", "Find layers and heads that overrule the evidence."),
    "bbq": ("bbq", "app", "Download BBQ, the benchmark that VETO's pairs are built from."),
    "pairs": ("pairs", "app", "Build a suite of contrastive pairs from BBQ; check and show it."),
    "suite": ("suite", "app", "Check or describe a suite of pairs."),
    "protocols": ("protocols", "protocols", "List the built-in protocols, or check a file."),
    "plan": ("plan", "app", "Say how many scenarios a study needs and what it can detect."),
    "annotate": (
        "annotate",
        "app",
        "Ask people the same questions, in a browser.",
    ),
    "agreement": ("agreement", "agreement", "Say how far raters agree beyond chance."),
    "doctor": ("doctor", "doctor", "Check the installation, and a model if one is given."),
}

#: Commands that load the model they are given first.
_LOADING = ("run", "score", "localise", "doctor")

#: Exit code of a gate without a verdict; 1 and 2 are verdicts.
_NO_VERDICT = 3

_HELP = """\
Usage: misfired COMMAND [OPTIONS]

Measure misfired alignment in language models: conclusions that a model rejects
because of whom they are about.

Commands:
{commands}

Options:
  --version    Print the version.
  --help       Print this help; `misfired COMMAND --help` explains a command.

Examples:
  misfired demo
  misfired run model.gguf --suite pairs.parquet -o runs/model
  misfired stats runs/model --json

Exit codes: 0 success, 1 the work failed, 2 bad input or usage, 130 interrupted.
Of a gate (compare --fail-if): 0 pass, 1 fail, 2 inconclusive, 3 no verdict.
"""


@ending_on_interrupt()
def main() -> None:
    """Run the command; a failure is one line on stderr and an exit code, never a traceback."""
    prepare_streams()
    try:
        with notes_shown():
            code = _run(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(code)
    except MisfiredError as error:
        _fail(str(error), 2 if isinstance(error, ArgumentError | DataError) else 1)
    except BrokenPipeError:
        # The reader of stdout has gone, as `head` does; nothing is left to say to it.
        drop("stdout")
        sys.exit(_code(1))
    except OSError as error:
        said = error.strerror or str(error)
        named = f"{error.filename}: {said}" if error.filename else said
        # What a full stream still holds would end Python with a code of its own.
        drop_if_full("stdout")
        _fail(named, 1)
    except KeyboardInterrupt:
        TOLD.set()
        _fail(MESSAGE, CODE)
    except Exception as error:
        if isinstance(error, MemoryError) or "can't start new thread" in str(error):
            _fail("memory ran out (misfired doctor MODEL says what is needed)", 1)
        if _code(1) == 1:
            raise
        # Python would leave with 1, which a gate keeps for a harm that was shown.
        traceback.print_exc()
        sys.exit(_NO_VERDICT)


def load(name: str) -> typer.Typer:
    """Import a command and return it as an app."""
    from misfired.cli.options import group

    module, attribute, about = COMMANDS[name]
    found: Any = getattr(import_module(f"misfired.cli.{module}"), attribute)
    app: typer.Typer = found if attribute == "app" else group()
    app.info.help = about
    if app is not found:
        app.command(name)(found)
    return app


def _run(words: list[str]) -> int:
    name, *arguments = words or [""]
    if name in {"", "--help"}:
        commands = "\n".join(f"  {each:<11}  {about}" for each, (*_, about) in COMMANDS.items())
        sys.stdout.write(_HELP.format(commands=commands))
        return 0 if name else 2
    if name == "--version":
        sys.stdout.write(f"misfired {__version__}\n")
        return 0
    if name not in COMMANDS:
        _fail(f"command must be one of {', '.join(COMMANDS)}, got {name!r}", 2)
    return _invoke(name, arguments)


def _begin_early(name: str, arguments: list[str]) -> None:
    """Begin to try a model file in a process of its own, while this one imports for half a second."""
    model = arguments[0] if arguments else ""
    is_file = model.endswith(".gguf") or model.startswith("pypi:")
    if name in _LOADING and is_file and not {"--ray", "--help"} & set(arguments):
        from misfired.scoring.llama.guard import begin

        begin(model, hashing=False)


def _invoke(name: str, arguments: list[str]) -> int:
    from misfired.scoring.environment import spare_address_space

    spare_address_space()
    _begin_early(name, arguments)
    import typer

    from misfired.cli.options import plain
    from misfired.cli.usage import usage_words

    command = plain(typer.main.get_command(load(name)))
    is_empty_group = COMMANDS[name][1] == "app" and not arguments
    words = ["--help"] if is_empty_group else arguments
    try:
        code = command.main(words, prog_name=f"misfired {name}", standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{usage_words(error)} (see misfired {name} --help)", error.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == CODE:
        raise KeyboardInterrupt
    return 2 if is_empty_group else code or 0


def _fail(message: str, code: int) -> NoReturn:
    echo_error(f"error: {shown(' '.join(message.split()), LONGEST_MESSAGE)}")
    sys.exit(_code(code))


def _code(code: int) -> int:
    """Return the exit code of a failure: a gate has one of its own for 1 and 2."""
    gates = any(word.split("=")[0] == "--fail-if" for word in sys.argv[2:])
    return _NO_VERDICT if gates and sys.argv[1] == "compare" and code in {1, 2} else code
