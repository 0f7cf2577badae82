"""Text of others (names, paths, replies of servers) made safe to show: nothing in it acts on a screen."""

import codecs
import re

#: Most characters of a name, path or reply, and of a message, that a screen shows.
LONGEST, LONGEST_MESSAGE = 200, 1000

#: Characters that act or cannot be seen: controls with the escapes that they begin, soft hyphens, fillers,
#: zero-width characters, line and paragraph separators, bidi controls, byte order marks, surrogates, tags.
#: They are Unicode's Cc, Cs and Default_Ignorable_Code_Point, without the two selectors of emoji.
UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IN_A_LINE = re.compile(f"[{UNSEEN}]")
_IN_LINES = re.compile(f"(?!\n)[{UNSEEN}]")


JSON_ESCAPES = "misfired.json"
"""Handler of errors for `str.encode`: what an encoding lacks becomes the escape that JSON has for it."""

_screen = "utf-8"


def fit_screen(encoding: str | None) -> None:
    """Let `shown` escape what the encoding of the screen lacks, so that tables are laid out as they print."""
    global _screen  # noqa: PLW0603  a process has one screen
    _screen = encoding or "utf-8"


def shown(text: object, longest: int | None = LONGEST, *, lines: bool = False) -> str:
    r"""Return a text as a screen may show it, on one line and of limited length.

    Control characters (so no escape sequence acts), bidi controls, zero-width characters, line separators
    and lone surrogates are written as Python escapes them. Of a longer text, beginning and end are kept.

    Args:
        text: Anything; `str` is taken of it.
        longest: Most characters of the text that are kept, with the words on its length; None: all.
        lines: Keep line feeds, for text that has lines of its own.

    Example:
        >>> print(shown("Tea\x1b[2J\u202e"), shown("x" * 100_000, 40))
        Tea\x1b[2J\u202e xxxxxxxx...xxxxxxxx (100,000 characters)
    """
    whole = str(text)
    if longest is not None and len(whole) > longest:
        length = f" ({len(whole):,} characters)"
        kept = max(longest - len(f"...{length}"), 2)
        whole = f"{whole[: kept - kept // 2]}...{whole[-(kept // 2) :]}{length}"
    safe = (_IN_LINES if lines else _IN_A_LINE).sub(_escaped, whole)
    return safe if safe.isascii() else safe.encode(_screen, "backslashreplace").decode(_screen)


def printable(path: object) -> str:
    r"""Return a path as text that every file can hold: bytes that are no text are escaped.

    Example:
        >>> print(printable("runs/Zoë"), printable("runs/\udcff"))
        runs/Zoë runs/\udcff
    """
    return str(path).encode(errors="backslashreplace").decode()


def data_shown(text: str) -> str:
    r"""Return JSON or rows as a screen may show them; JSON says the same with these escapes.

    Example:
        >>> print(data_shown('{"name": "\u202eTea"}'))
        {"name": "\u202eTea"}
    """
    return _IN_LINES.sub(lambda found: json_escape(found[0]), text)


def json_escape(text: str) -> str:
    r"""Return the JSON escapes of characters.

    Example:
        >>> print(json_escape("ë"), json_escape("😀"))
        \u00eb \ud83d\ude00
    """
    code = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{code[i : i + 4]}" for i in range(0, len(code), 4))


def named(name: object, *ours: str) -> str:
    """Return a name as `shown`, in quotes where it could be taken for one of ours, or for nothing.

    Example:
        >>> print(named("Age", "overall"), named("overall", "overall"), named(""))
        Age 'overall' ''
    """
    text = str(name)
    return f"'{shown(text)}'" if text in ours or text != text.strip() or not text else shown(text)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json_escape(error.object[error.start : error.end]), error.end


codecs.register_error(JSON_ESCAPES, _replace)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
