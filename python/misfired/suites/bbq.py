"""The files of BBQ (Parrish et al. 2022, CC BY 4.0): where they are, and how to get them."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from misfired.errors import ArgumentError, DataError, check_one_of
from misfired.files import make_folder
from misfired.reading import read_text
from misfired.types import checks_types

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


def checked_categories(
    categories: Sequence[str], known: Sequence[str] = BBQ_CATEGORIES
) -> list[str]:
    """Return the categories as a list; an `ArgumentError` if none, one unknown or one repeated."""
    wanted = [categories] if isinstance(categories, str) else list(categories)
    if not wanted:
        raise ArgumentError(f"categories must be some of {', '.join(known)}, got none")
    for category in wanted:
        check_one_of("category", category, known)
        if wanted.count(category) > 1:
            raise ArgumentError(f"category must be named once, got {category!r} twice")
    return wanted


def bbq_files(
    bbq_dir: str | os.PathLike[str], categories: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Return name, category and text of the file of each category; a `DataError` if one is missing."""
    folder = Path(bbq_dir)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; `misfired bbq fetch {folder}` makes one")
    files = [(folder / f"{category}.jsonl", category) for category in categories]
    for file, _ in files:
        if not file.exists():
            raise DataError(f"{file}: no such file; `misfired bbq fetch {folder}` gets it")
    return [(str(file), category, read_text(file)) for file, category in files]


@checks_types
def fetch_bbq(
    bbq_dir: str | os.PathLike[str],
    *,
    base_url: str = BBQ_URL,
    categories: Sequence[str] | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> list[Path]:
    """Download BBQ's files, checked against the pinned commit's git blobs; return them in order.

    A download that was cut resumes, in this call or in a later one: until it is complete and checked,
    a file is called `<category>.jsonl.part`. Files that are there already are only checked.

    Args:
        bbq_dir: Where the files go. Created if missing.
        base_url: Folder of the files, `http` or `https`.
        categories: Which of `BBQ_CATEGORIES`; all by default.
        progress: Called with a category, the bytes of its file so far, and all its bytes if known.

    Raises:
        ArgumentError: An unknown category, or a URL that is not `http` or `https`.
        DataError: A file that is there already is another one.
        FetchError: The server has no such file, the connection fails several times in a row
            without a byte gained, or the content is not the pinned file's.
        OSError: The folder cannot be made or written.

    Examples:
        >>> fetch_bbq("bbq", categories=["Age"])  # doctest: +SKIP
        [PosixPath('bbq/Age.jsonl')]
    """
    if not base_url.startswith(("https://", "http://")):
        raise ArgumentError(f"base_url must be http:// or https://, got {base_url!r}")
    from misfired.suites.fetch import fetch_file  # noqa: PLC0415  urllib3 is slow to import

    wanted = checked_categories(BBQ_CATEGORIES if categories is None else categories)
    folder = make_folder(bbq_dir)
    files = [folder / f"{category}.jsonl" for category in wanted]
    for category, file in zip(wanted, files, strict=True):
        told = partial(progress, category) if progress else lambda *_: None
        fetch_file(f"{base_url.rstrip('/')}/{file.name}", file, _GIT_BLOBS[category], told)
    return files
