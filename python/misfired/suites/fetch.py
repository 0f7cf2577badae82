"""Downloads that resume, checked against the git blob that they are pinned to."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import urllib3

from misfired.errors import DataError, FetchError
from misfired.reading import check_file, read_bytes
from misfired.web import USER_AGENT, cause_of, connections

#: Called with the bytes of a file so far, and all its bytes if the server tells.
_Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 16
_N_STALLED = 4
_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 30.0
_MOST_REDIRECTS = 5


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
    if resumed := part.exists():
        check_file(part)
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
            before = part.stat().st_size if part.exists() else 0
            try:
                problem = _receive(pool, url, part, before, progress)
            except urllib3.exceptions.HTTPError as error:
                problem = cause_of(error)
            if problem is None:
                return
            n_stalled = 0 if part.exists() and part.stat().st_size > before else n_stalled + 1
            if n_stalled == _N_STALLED:
                raise FetchError(f"{url}: {problem}, {n_stalled} times without a byte gained")
            time.sleep(_PAUSE_SECONDS * 2**n_stalled)


def _receive(
    pool: urllib3.PoolManager, url: str, part: Path, n_have: int, progress: _Progress
) -> str | None:
    """Append one response to `part`; return what went wrong, None if the file is complete."""
    response = pool.request(
        "GET",
        url,
        headers={"User-Agent": USER_AGENT} | ({"Range": f"bytes={n_have}-"} if n_have else {}),
        timeout=_TIMEOUT_SECONDS,
        retries=urllib3.Retry(None, connect=0, read=0, other=0, redirect=_MOST_REDIRECTS),
        preload_content=False,
        decode_content=False,
        enforce_content_length=False,
    )
    with response:
        if n_have and response.status == 416:
            # Nothing lies beyond what is there: whole, or not ours. The blob tells which.
            return None
        if response.status >= 400:
            problem = f"HTTP {response.status} {response.reason}"
            if response.status < 500:
                raise FetchError(f"{url}: {problem}")
            return problem
        with part.open("ab") as file:
            if response.status != 206:
                file.truncate(0)
                n_have = 0
            length = response.headers.get("Content-Length")
            n_total = None if length is None else n_have + int(length)
            progress(n_have, n_total)
            while chunk := response.read1(_CHUNK):
                file.write(chunk)
                n_have += len(chunk)
                progress(n_have, n_total)
    return None if n_total is None or n_have >= n_total else "connection cut"
