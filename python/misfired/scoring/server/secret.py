"""Secrets taken out of everything that a server says.

Servers quote the key that they refuse, in the spelling of whatever wrote the message: JSON escapes,
percent-encoding, HTML entities, broken lines, base64. So texts are compared with all spellings undone.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from misfired.text import UNSEEN

#: What stands for a secret that was taken out.
REPLACEMENT = "[API key]"
#: Shorter secrets are placeholders ("EMPTY", "ollama"), which may well be words of an answer.
LEAST_LENGTH = 8
#: Spellings can be nested this deep: a JSON text in an HTML page, percent-encoded.
_MOST_PASSES = 4

#: What breaks a line, shows nothing or changes the look; no key holds it.
_UNSEEN = re.compile(rf"\x1b\[[\d;]*[a-z]|\s|[{UNSEEN}\ufe0e\ufe0f]|<w?br ?/?>", re.IGNORECASE)
#: A character by its number (in escapes of JSON, C, Rust and Perl, in URLs, mail and HTML), or by its name in
#: HTML. The numbers have the bases of `_BASES`.
_SPELLED = re.compile(
    r"(?:\\+(?:u(?:0000)?00|x)|%(?:u00)?|=)([0-9a-f]{2})|\\+[ux]\{0*([0-9a-f]{2})\}"
    r"|&#x0*([0-9a-f]{2});?|\\+0?([01][0-7]{2})|&#0*(\d{2,3});?|&\w{1,8};",
    re.IGNORECASE,
)
_BASES = 16, 16, 16, 8, 10
#: Ways to compare: with spellings undone or not, and without characters that escapes and soft line
#: breaks add. With n, r and t dropped, an escaped line break in a key is as unseen as one that is none.
_WAYS = ((True, "\\="), (True, "\\=nrt"), (False, "\\="), (False, "\\=nrt"))

#: Characters, and where in the text each stands.
_Undone = tuple[str, list[tuple[int, int]]]


class Secrets:
    r"""Secrets, of which half in a row is enough to be found.

    Example:
        >>> secrets = Secrets(["sk-ab/cd+efgh"])
        >>> secrets.clean(r"wrong key: sk-ab\/cd\u002Befgh!")
        'wrong key: [API key]!'
        >>> secrets.cleaned({"sent": ["Bearer sk-ab%2Fcd%2Befgh"]})
        {'sent': ['Bearer [API key]']}
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._whole = [secret for secret in secrets if len(secret) >= LEAST_LENGTH]
        self._least = min((max(LEAST_LENGTH, -(-len(s) // 2)) for s in self._whole), default=0)
        self._needles = [_needles(self._whole, *way) for way in _WAYS]

    def clean(self, text: str) -> str:
        """Return a text without the secrets, however they are spelled in it."""
        if not self._whole or len(text) < self._least:
            return text
        for secret in self._whole:
            text = re.sub(re.escape(secret), REPLACEMENT, text, flags=re.IGNORECASE)
        for way, needles in zip(_WAYS, self._needles, strict=True):
            if any(map(_compared(text, *way).__contains__, needles)):
                text = _without(text, _undone(text, *way), needles)
        return text

    def cleaned(self, value: Any) -> Any:
        """Return a JSON document without the secrets; halves of characters become question marks.

        JSON can spell such halves, and no file can hold them.
        """
        if isinstance(value, str):
            return self.clean(value).encode(errors="replace").decode()
        if isinstance(value, dict):
            pairs = [(self.cleaned(k), self.cleaned(v)) for k, v in _pairs(value)]
            return Repeated(pairs) if isinstance(value, Repeated) else dict(pairs)
        if isinstance(value, list):
            return [self.cleaned(each) for each in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and self._whole and (text := repr(value)) != self.clean(text):
            return REPLACEMENT
        return value

    def found_in(self, text: str) -> bool:
        """True if a text holds a secret."""
        return self.clean(text) != text


class Repeated(dict[str, Any]):
    """A JSON object that has a name twice; `pairs` keeps all its members."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = list(pairs)


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, for `json.loads`, that loses no member."""
    whole = dict(pairs)
    return whole if len(whole) == len(pairs) else Repeated(pairs)


def _pairs(value: dict[str, Any]) -> list[tuple[str, Any]]:
    return value.pairs if isinstance(value, Repeated) else list(value.items())


def _needles(secrets: Sequence[str], decodes: bool, dropped: str) -> list[str]:
    """Return what to look for in texts that are compared in one of `_WAYS`."""
    found: dict[str, None] = {}
    for secret in secrets:
        for form in (secret, secret.encode().hex(), *_in_base64(secret.encode())):
            plain, _ = _undone(form, decodes, dropped)
            half = max(LEAST_LENGTH, -(-len(plain) // 2))
            starts = range(len(plain) - half + 1)
            found.update((plain[start : start + half], None) for start in starts)
    return list(found)


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what every base64 of a text with the secret holds, by where in three bytes it begins."""
    for before in range(3):
        n_whole = (before + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + secret).decode()[(before * 8 + 5) // 6 : n_whole]


def _compared(text: str, decodes: bool, dropped: str) -> str:
    """Return the characters of `_undone`, without their places: fast, for texts that hold no secret."""
    chars = _UNSEEN.sub("", text)
    chars = chars if chars.isascii() else "".join(map(_narrow, chars))
    for _ in range(_MOST_PASSES if decodes and _SPELLED.search(chars) else 0):
        chars = _SPELLED.sub(_of, chars)
    return chars.lower().translate(dict.fromkeys(map(ord, dropped)))


def _undone(text: str, decodes: bool, dropped: str) -> _Undone:
    """Return a text in lower case as it is compared in one of `_WAYS`."""
    chars, spans = _joined_lines(text)
    for _ in range(_MOST_PASSES if decodes else 0):
        parts: list[str] = []
        places: list[tuple[int, int]] = []
        end = 0
        for match in _SPELLED.finditer(chars):
            said = _of(match)
            parts += chars[end : match.start()], said
            places += spans[end : match.start()]
            end = match.end()
            places += [(spans[match.start()][0], spans[end - 1][1])] * len(said)
        chars, spans = "".join(parts) + chars[end:], places + spans[end:]
    kept = [place for place, char in enumerate(chars) if char.lower() not in dropped]
    return "".join(_lower(chars[place]) for place in kept), [spans[place] for place in kept]


def _joined_lines(text: str) -> _Undone:
    unseen = {place for match in _UNSEEN.finditer(text) for place in range(*match.span())}
    kept = [place for place in range(len(text)) if place not in unseen]
    return "".join(_narrow(text[place]) for place in kept), [(at, at + 1) for at in kept]


def _of(match: re.Match[str]) -> str:
    """Return what a match of `_SPELLED` stands for; an entity that is none stands for itself."""
    for digits, base in zip(match.groups(), _BASES, strict=True):
        if digits:
            return chr(int(digits, base))
    return html.unescape(match[0])


def _narrow(char: str) -> str:
    """Return a character of ordinary width, if that is one character."""
    narrow = unicodedata.normalize("NFKC", char)
    return narrow if len(narrow) == 1 else char


def _lower(char: str) -> str:
    """Return a character in lower case, if that is one character."""
    lower = char.lower()
    return lower if len(lower) == 1 else char


def _without(text: str, undone: _Undone, needles: Sequence[str]) -> str:
    chars, spans = undone
    hit: list[tuple[int, int]] = []
    for needle in needles:
        place = chars.find(needle)
        while place >= 0:
            hit.append((spans[place][0], spans[place + len(needle) - 1][1]))
            place = chars.find(needle, place + 1)
    for start, end in _joined(hit):
        text = text[:start] + REPLACEMENT + text[end:]
    return text


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans without overlaps, the last first."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined[::-1]
