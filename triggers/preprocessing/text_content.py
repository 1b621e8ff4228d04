"""What counts as a text: characters that a reader can see, and no NULs; and the bytes of one in a stated encoding."""

from __future__ import annotations

import unicodedata
from encodings.aliases import aliases

from triggers.errors import InputError

_BYTE_ORDER_MARK = "\ufeff"
_INVISIBLE = frozenset("ZCM")
"""First letters of the Unicode categories of spaces, of controls and formats, and of marks on other characters."""
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\ufffc")  # letters and symbols by category, and yet blank
_UNKNOWN = frozenset({"Cn", "Co"})  # perhaps a newer emoji than this Python knows
_CODECS = tuple("utf_8 utf_16 utf_32 ascii latin_1 iso8859_ cp125 koi8_ gb big5 shift_jis euc_".split())
_CHARSETS = frozenset(name for pair in aliases.items() if pair[1].startswith(_CODECS) for name in pair) | {"koi8_u"}
"""Codecs of texts, by all their names: none of host names or escapes, some of which take quadratic time."""


def readable_text(text: str) -> str:
    """The text without its byte order mark. Raises InputError if it holds NULs or nothing that can be seen."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        whole = b"\0" not in text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        whole = False
    if not whole:
        message = "The text holds NULs or halves of characters: it was cut within one, or is in another encoding."
        raise InputError("not_text", message)
    if not any(map(_visible, text)):
        raise InputError("empty_text", "The text is empty, or holds nothing that can be seen.")
    return text


def decode_text(data: bytes, charset: str = "utf-8") -> str:
    """The text of some bytes. Raises InputError."""
    try:
        return data.decode(charset)
    except UnicodeError as error:
        raise InputError("bad_encoding", f"The text is not {charset.upper()}: {error}.") from error


def known_charset(name: str) -> bool:
    """Whether texts may be sent in this encoding. Asks no codec: Python remembers each unknown name for ever."""
    return name.lower().replace("-", "_") in _CHARSETS


def _visible(character: str) -> bool:
    category = unicodedata.category(character)
    return (category[0] not in _INVISIBLE or category in _UNKNOWN) and character not in _FILLERS
