r"""Tokens as servers spell them, read as the text that they stand for.

Some servers list the pieces of the vocabulary instead of texts: `▁Yes` (SentencePiece), `ĠYes`
(byte-level BPE), `<0x0A>`, `bytes:\xe2\x80`, `Yes</w>`. Some list ids, which say nothing without the
tokenizer.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from misfired.errors import ServerError

#: A token as it is listed, and its bytes if they are told.
Listed = tuple[Any, Any]

_NAMED_ID = re.compile(r"(?:token_id|token|id)[:_]\d+|<\|?(?:(?:token_id|token|id)[:_])?\d+\|?>")
#: Numbers below this may be answers.
_LEAST_ID = 1000
_BYTE = re.compile(r"<0x([0-7][0-9A-Fa-f])>")
_ESCAPED = re.compile(r"(?:bytes: ?)((?:\\x[0-9A-Fa-f]{2})+)|b'((?:[^\\']|\\x[0-9A-Fa-f]{2})+)'")
_IDS = (
    "the server lists tokens by id ({!r}), not by text; send "
    """--extra-body '{{"return_tokens_as_token_ids": false}}', or start it without that option"""
)


def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each character of byte-level BPE (GPT-2's `bytes_to_unicode`)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + n): b for n, b in enumerate(hidden)}


_ALPHABET = _byte_alphabet()


def spelled(listed: Sequence[Listed], forms: Collection[str]) -> list[str | None]:
    r"""Return the text of each token of a list, None where none is told.

    A mark that an answer's form holds itself is left as it is.

    Example:
        >>> spelled([("▁Yes", None), ("<0x0A>", None), ("token_id:5", [78, 111])], ["Yes"])
        [' Yes', '\n', 'No']
        >>> spelled([("ĠYes", None), ("ĠnÃ£o", None)], ["Yes"])
        [' Yes', ' não']

    Raises:
        ServerError: Tokens are ids, and no bytes are told.
    """
    texts = _unquoted([_told(*each) for each in listed])
    marks = [mark for mark in ("▁", "Ġ", "Ċ", "</w>") if not any(mark in form for form in forms)]
    _refuse_ids(texts, forms)
    by_bytes = any(mark in text for mark in ("Ġ", "Ċ") if mark in marks for text in texts if text)
    return [None if text is None else _read(text, marks, by_bytes=by_bytes) for text in texts]


def _told(token: Any, data: Any) -> str | None:
    """Return a token as text, from its bytes if it is an id or no whole character."""
    is_text = isinstance(token, str)
    if is_text and not _NAMED_ID.fullmatch(token) and "\ufffd" not in token:
        return str(token)
    whole = _from_bytes(data)
    if whole is not None:
        return whole
    is_id = isinstance(token, int) and not isinstance(token, bool)
    return str(token) if is_text else f"token_id:{token}" if is_id else None


def _from_bytes(data: Any) -> str | None:
    try:
        text = bytes(data).decode() if isinstance(data, list) and data else ""
    except (TypeError, ValueError):
        return None
    return None if not text or _NAMED_ID.fullmatch(text) else text


def _unquoted(texts: list[str | None]) -> list[str | None]:
    """Take the quotes off where every token has them."""
    known = [text for text in texts if text]
    quoted = all(len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" for text in known)
    return [text and text[1:-1] for text in texts] if quoted else texts


def _refuse_ids(texts: Sequence[str | None], forms: Collection[str]) -> None:
    known = [text for text in texts if text is not None]
    named = next((text for text in known if _NAMED_ID.fullmatch(text)), None)
    if named is not None and named not in forms:
        raise ServerError(_IDS.format(named))
    numbers = [text for text in known if text.isascii() and text.isdigit()]
    if len(numbers) < max(2, len(known)) or any(form.strip().isdigit() for form in forms):
        return
    if max(map(len, numbers)) >= len(str(_LEAST_ID)):
        raise ServerError(_IDS.format(numbers[0]))


def _read(text: str, marks: Collection[str], *, by_bytes: bool) -> str:
    if match := _ESCAPED.fullmatch(text):
        return _unescaped(match[1] or match[2], text)
    if match := _BYTE.fullmatch(text):
        return chr(int(match[1], 16))
    if by_bytes and all(char in _ALPHABET for char in text):
        try:
            return bytes(_ALPHABET[char] for char in text).decode()
        except UnicodeDecodeError:
            return text
    if "▁" in marks:
        text = text.replace("▁", " ")
    return text.removesuffix("</w>") if "</w>" in marks else text


def _unescaped(escaped: str, otherwise: str) -> str:
    try:
        return escaped.encode("latin-1").decode("unicode_escape").encode("latin-1").decode()
    except UnicodeError:
        return otherwise
