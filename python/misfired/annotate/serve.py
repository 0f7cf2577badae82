"""The server of a study, on this machine alone unless it is told otherwise."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import filelock

from misfired.annotate.options import ServeOptions
from misfired.annotate.study import ANSWERS, Study
from misfired.annotate.texts import CONSENT, INSTRUCTIONS, blanks
from misfired.errors import ArgumentError, MisfiredError, RunFolderError
from misfired.options import takes_options

_Say = Callable[[str], object]


@takes_options(ServeOptions)
def serve_study(
    path: Path | str, *, tell: _Say = print, warn: _Say = print, **options: Any
) -> None:
    """Serve a study until it is interrupted.

    Args:
        path: The folder of a study.
        tell: Called with each line that says where the pages are.
        warn: Called with each line of a warning.
        options: Fields of `ServeOptions`.

    Raises:
        ArgumentError: Starlette or uvicorn is not installed, or the address cannot be listened on.
        DataError: The folder is no study, or has been changed.
        RunFolderError: Another server serves the study.
    """
    asked = ServeOptions.of(options)
    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise ArgumentError(
            "starlette and uvicorn must be installed: pip install 'misfired[annotate]'"
        )
    import uvicorn  # noqa: PLC0415

    from misfired.annotate.app import Pages  # noqa: PLC0415

    study = Study.read(path)
    with _alone(study), _listening(asked) as bound:
        app = Pages(study, asked).app()
        # A link to 0.0.0.0 would lead others to their own machine.
        host = socket.gethostname() if asked.is_everywhere else asked.host
        where = f"{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
        for line in _warnings(study, asked, where):
            warn(line)
        for line in _told(study, where, (asked.url or f"http://{where}").rstrip("/")):
            tell(line)
        config = uvicorn.Config(
            app, access_log=False, log_level="warning", server_header=False, lifespan="off"
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[bound])
        tell(f"stopped; all answers are in {study.path / ANSWERS}")


def _warnings(study: Study, options: ServeOptions, where: str) -> Iterator[str]:
    for name in (CONSENT, INSTRUCTIONS):
        if left := blanks(study.text(name)):
            yield f"WARNING: {study.path / name} still has blanks to fill in: {left[0]}"
    if options.url or not options.is_local:
        places = [*([options.url] if options.url else []), *([] if options.is_local else [where])]
        yield f"WARNING: this study can be reached by others at {' and '.join(places)}"
    if not (options.is_local and (options.url or "https:").lower().startswith("https:")):
        yield "WARNING: pages and answers travel unencrypted unless a proxy with HTTPS stands before it"


def _told(study: Study, where: str, base: str) -> Iterator[str]:
    yield f"listening on {where}; answers are kept in {study.path / ANSWERS}; one link for each person:"
    for word, annotator in study.links().items():
        yield f"{annotator}  {base}/a/{word}"
    yield "stop with Ctrl-C; the same command continues"


@contextlib.contextmanager
def _alone(study: Study) -> Iterator[None]:
    lock = filelock.FileLock(study.path / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise RunFolderError(f"{study.path}: another process serves this study") from None
    except OSError as error:
        raise RunFolderError(f"{study.path}: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _listening(options: ServeOptions) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        try:
            found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
            family, *_, address = found[0]
            bound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            # From here on a link that was told can be opened: requests wait until the server takes them.
            bound.listen(128)
        except OSError as error:
            where = f"{options.host}:{options.port}"
            raise MisfiredError(
                f"{where}: cannot be listened on ({error.strerror or error})"
            ) from None
        yield bound
