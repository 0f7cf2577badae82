"""Downloads that resume, checked against the git blob that they are pinned to."""

import hashlib
import http.client
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import urllib3

from misfired.errors import DataError, FetchError
from misfired.reading import check_file, read_bytes
from misfired.web import USER_AGENT, Deadline, cause_of, connections

#: Called with the bytes of a file so far, and all its bytes if the server tells.
_Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 16
_N_STALLED = 4
_PAUSE_SECONDS = 0.5
_MOST_REDIRECTS = 5
#: Seconds within which a server must begin to answer, and within which each part must arrive: a
#: connection that is slower than `LEAST_BYTES` a `WINDOW_SECONDS` is cut.
WINDOW_SECONDS = 10.0
LEAST_BYTES = 1 << 14
_SLOWEST = f"{LEAST_BYTES} bytes in {WINDOW_SECONDS:g} s"
_TRANSPORT = (urllib3.exceptions.HTTPError, http.client.HTTPException)
_MOST_DIGITS = 16
#: No file of BBQ is half as long.
MOST_BYTES = 32 << 20


def fetch_file(url: str, target: Path, blob: str, progress: _Progress) -> None:
    """Download a file to `target`, or check the one there, by its git blob; errors as `fetch_bbq`."""
    if target.exists():
        if (found := git_blob(target)) != blob:
            raise DataError(
                f"{target}: git blob must be {blob}, got {found}; move it away to fetch"
            )
        progress(target.stat().st_size, target.stat().st_size)
        return
    part = target.with_name(f"{target.name}.part")
    resumed = _length(part) > 0
    _download(url, part, progress)
    if resumed and git_blob(part) != blob:
        # The bytes from the earlier call may be of another file: once more, from the start.
        part.unlink()
        _download(url, part, progress)
    if (found := git_blob(part)) != blob:
        part.unlink()
        raise FetchError(f"{url}: git blob must be {blob}, got {found}")
    part.replace(target)


def git_blob(file: Path) -> str:
    """Return the SHA-1 by which git names a file's content."""
    content = read_bytes(file)
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _download(url: str, part: Path, progress: _Progress) -> None:
    """Bring `part` to the length that the server states, however often the connection is cut."""
    n_stalled = 0
    with connections(url) as pool:
        while True:
            before = _length(part)
            problem = _receive(pool, url, part, before, progress)
            if problem is None:
                return
            n_stalled = 0 if _length(part) - before >= LEAST_BYTES else n_stalled + 1
            if n_stalled == _N_STALLED:
                raise FetchError(f"{url}: {problem}, {n_stalled} times in a row")
            time.sleep(_PAUSE_SECONDS * 2**n_stalled)


def _receive(
    pool: urllib3.PoolManager, url: str, part: Path, n_have: int, progress: _Progress
) -> str | None:
    """Append one response to `part`; return what went wrong, None if the file is complete."""
    problem: str | None
    with Deadline(WINDOW_SECONDS) as deadline:
        try:
            with _asked(pool, url, n_have) as response:
                if n_have and response.status == 416:
                    # Nothing lies beyond what is there: whole, or not ours. The blob tells which.
                    return None
                if response.status >= 400:
                    problem = f"HTTP {response.status} {response.reason}"
                    if response.status < 500:
                        raise FetchError(f"{url}: {problem}")
                    return problem
                with _opened(part) as file:
                    if response.status != 206:
                        file.truncate(0)
                        n_have = 0
                    problem = _append(
                        response, file, url, n_have, progress=progress, deadline=deadline
                    )
        except _TRANSPORT as error:
            problem = cause_of(error)
    return f"slower than {_SLOWEST}" if deadline.expired else problem


def _asked(pool: urllib3.PoolManager, url: str, n_have: int) -> urllib3.BaseHTTPResponse:
    """Ask for a file from a byte on."""
    return pool.request(
        "GET",
        url,
        headers={"User-Agent": USER_AGENT} | ({"Range": f"bytes={n_have}-"} if n_have else {}),
        timeout=WINDOW_SECONDS,
        retries=urllib3.Retry(None, connect=0, read=0, other=0, redirect=_MOST_REDIRECTS),
        preload_content=False,
        decode_content=False,
        enforce_content_length=False,
    )


def _append(
    response: urllib3.BaseHTTPResponse,
    file: BinaryIO,
    url: str,
    n_have: int,
    *,
    progress: _Progress,
    deadline: Deadline,
) -> str | None:
    """Append a body to a file; return what went wrong, None if the file is complete."""
    length = response.headers.get("Content-Length", "")
    known = length.isascii() and length.isdigit() and len(length) < _MOST_DIGITS
    n_total = n_have + int(length) if known else None
    if (n_total or 0) > MOST_BYTES:
        raise FetchError(f"{url}: must be at most {MOST_BYTES} bytes, got {n_total}")
    progress(n_have, n_total)
    n_before = n_have
    while chunk := response.read1(_CHUNK):
        file.write(chunk)
        n_have += len(chunk)
        progress(n_have, n_total)
        if n_have > MOST_BYTES:
            file.truncate(0)
            raise FetchError(f"{url}: must be at most {MOST_BYTES} bytes, got more")
        if n_have - n_before >= LEAST_BYTES:
            deadline.extend(WINDOW_SECONDS)
            n_before = n_have
    return None if n_total is None or n_have >= n_total else "connection cut"


def _length(part: Path) -> int:
    """Return the bytes of an unfinished download; 0 if there is none."""
    try:
        found = part.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISLNK(found.st_mode):
        raise DataError(f"{part}: must be a file, got a link; move it away to fetch")
    check_file(part)
    return found.st_size


def _opened(part: Path) -> BinaryIO:
    """Open an unfinished download to append to it; never what a link points to."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(part, flags, 0o644), "ab")
