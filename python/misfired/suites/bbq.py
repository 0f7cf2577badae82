"""The files of BBQ (Parrish et al. 2022, CC BY 4.0): where they are, and how to get them."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from misfired.errors import ArgumentError, DataError, FetchError

__all__ = ["BBQ_CATEGORIES", "BBQ_URL", "Progress", "bbq_file", "checked_categories", "fetch_bbq"]

BBQ_URL = (
    "https://raw.githubusercontent.com/nyu-mll/BBQ/bea11bd97d79217245b5871acd247b9d6eb24598/data"
)
"""The folder of BBQ's files at the commit that `fetch_bbq` is pinned to."""

_GIT_BLOBS = {
    "Age": "5c5e7586163b869fe029e77e63716f2026e4ae08",
    "Disability_status": "9aedeccaf599299cdfa523531d625ae85ecb9131",
    "Gender_identity": "dc79ceaaa9e7126edc99a200d632899c50274b16",
    "Nationality": "cba9b63d34536cb51a6cbae76b189df3d2a945c0",
    "Physical_appearance": "8cbdf83265459083224e3a2d37809294ff12ad77",
    "Race_ethnicity": "68daf3d692b27a10596772b3b15742b26f0b110e",
    "Race_x_SES": "905cd8a5b8734e2063fe524e69a38f0a71c75907",
    "Race_x_gender": "dd09a905b284690445d36259d675243950fa0bd7",
    "Religion": "44c1940ee22f00891ab4a5526a293691957aeacb",
    "SES": "78d11ffbdb70f501617345e5c697d00045d57c29",
    "Sexual_orientation": "a06351f4dd67ba30632396eeb0c3677c67b7d387",
}

BBQ_CATEGORIES = tuple(_GIT_BLOBS)
"""All eleven categories; each is one file, `<category>.jsonl`."""

Progress = Callable[[str, int, int | None], None]
"""Called with a category, the bytes of its file so far, and all its bytes where they are known."""

_CHUNK = 1 << 16
_N_STALLED = 4
_PAUSE_SECONDS = 0.5
_TIMEOUT_SECONDS = 30.0


def checked_categories(categories: Sequence[str], known: Sequence[str]) -> list[str]:
    """The categories as a list, each of them known and named once.

    Raises:
        ArgumentError: There are none, one is unknown, or one is repeated.
    """
    wanted = [categories] if isinstance(categories, str) else list(categories)
    if not wanted:
        raise ArgumentError(f"categories: none given, expected some of {', '.join(known)}")
    for index, category in enumerate(wanted):
        if category not in known:
            raise ArgumentError(f"category: {category!r}, expected one of {', '.join(known)}")
        if category in wanted[:index]:
            raise ArgumentError(f"category: {category!r} is given twice")
    return wanted


def bbq_file(bbq_dir: str | os.PathLike[str], category: str) -> Path:
    """The file of a category.

    Raises:
        DataError: The folder or the file does not exist.
    """
    folder = Path(bbq_dir)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `misfired bbq fetch {folder}` makes one")
    file = folder / f"{category}.jsonl"
    if not file.is_file():
        raise DataError(f"{file}: no such file; `misfired bbq fetch {folder}` gets it")
    return file


def fetch_bbq(
    bbq_dir: str | os.PathLike[str],
    *,
    base_url: str = BBQ_URL,
    categories: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download BBQ's files, each checked against the git blob of the pinned commit.

    A download that was cut goes on where it stopped, in this call or in a later one: until it is
    complete and checked, a file is called `<category>.jsonl.part`. Files that are there already
    are checked and not downloaded again.

    Args:
        bbq_dir: Where the files go; made if it does not exist.
        base_url: Folder of the files, `http` or `https`.
        categories: Which of `BBQ_CATEGORIES`; all by default.
        progress: Called as bytes arrive.

    Returns:
        The files, in the order of the categories.

    Raises:
        ArgumentError: An unknown category, or a URL that is not `http` or `https`.
        DataError: A file that is there already is another one.
        FetchError: The server has no such file, the connection fails several times in a row
            without a byte gained, or what came is not the pinned file.
        OSError: The folder cannot be made or written.

    Examples:
        >>> from misfired import fetch_bbq
        >>> fetch_bbq("bbq", categories=["Age"])  # doctest: +SKIP
        [PosixPath('bbq/Age.jsonl')]
    """
    if not base_url.startswith(("https://", "http://")):
        raise ArgumentError(f"base_url: {base_url!r}, expected http:// or https://")
    wanted = checked_categories(
        BBQ_CATEGORIES if categories is None else categories, BBQ_CATEGORIES
    )
    folder = Path(bbq_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return [_fetch(folder, category, base_url, progress or _silent) for category in wanted]


def _silent(_category: str, _n_bytes: int, _n_total: int | None) -> None:
    pass


def _fetch(folder: Path, category: str, base_url: str, progress: Progress) -> Path:
    target = folder / f"{category}.jsonl"
    if target.exists():
        _check_present(target, _GIT_BLOBS[category])
        progress(category, target.stat().st_size, target.stat().st_size)
        return target
    part = target.with_name(f"{target.name}.part")
    url = f"{base_url.rstrip('/')}/{target.name}"
    resumed = part.exists()
    _download(url, part, lambda n_bytes, n_total: progress(category, n_bytes, n_total))
    if resumed and _git_blob(part) != _GIT_BLOBS[category]:
        # The bytes from the earlier call may be of another file: once more, from the start.
        part.unlink()
        _download(url, part, lambda n_bytes, n_total: progress(category, n_bytes, n_total))
    blob = _git_blob(part)
    if blob != _GIT_BLOBS[category]:
        part.unlink()
        raise FetchError(f"{url}: git blob {blob}, expected {_GIT_BLOBS[category]}")
    part.replace(target)
    return target


def _check_present(file: Path, expected: str) -> None:
    blob = _git_blob(file)
    if blob != expected:
        raise DataError(f"{file}: git blob {blob}, expected {expected}; move it away to fetch")


def _git_blob(file: Path) -> str:
    content = file.read_bytes()
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _download(url: str, part: Path, progress: Callable[[int, int | None], None]) -> None:
    """Bring `part` to the length that the server states, however often the connection is cut."""
    n_stalled = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _receive(url, part, before, progress):
                return
            problem = "connection cut"
        except urllib.error.HTTPError as error:
            with error:
                if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise FetchError(f"{url}: HTTP {error.code} {error.reason}") from None
            problem = f"HTTP {error.code} {error.reason}"
        except (http.client.HTTPException, urllib.error.URLError, TimeoutError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        except ConnectionError as error:
            problem = str(error)
        n_stalled = 0 if part.exists() and part.stat().st_size > before else n_stalled + 1
        if n_stalled == _N_STALLED:
            raise FetchError(f"{url}: {problem}, {n_stalled} times without a byte gained")
        time.sleep(_PAUSE_SECONDS * 2**n_stalled)


def _receive(
    url: str, part: Path, n_have: int, progress: Callable[[int, int | None], None]
) -> bool:
    """Append one response to `part`; whether the file is complete by the server's count."""
    request = urllib.request.Request(url)  # noqa: S310 the scheme is checked by fetch_bbq
    if n_have:
        request.add_header("Range", f"bytes={n_have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if n_have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Nothing lies beyond what is there: whole, or not ours. The blob tells which.
            error.close()
            return True
        raise
    with response, part.open("ab") as file:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.truncate(0)
            n_have = 0
        length = response.headers.get("Content-Length")
        n_total = None if length is None else n_have + int(length)
        progress(n_have, n_total)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            n_have += len(chunk)
            progress(n_have, n_total)
    return n_total is None or n_have >= n_total
