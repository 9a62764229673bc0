"""Canonical text: the one form that the trainer and the runtime show to the harm model.

Here live pure functions from text to text: what does not change the meaning of an action (spacing, quoting tricks,
addresses, hashes, temporary names, home folders) is folded, and what hides the meaning (hex escapes, base64) is opened
and appended. Nothing here parses a language, looks at the machine, or knows the model; a real shell parser belongs to
`guard.core.shell`. Every string has a canonical form; no function here raises on any `str`.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from typing import Final

CANONICAL_VERSION: Final = 1
"""Raised with every change of behaviour here: a model is only valid with the version it was trained on."""

_MAX_DECODED: Final = 2048
"""Decoded payloads are cut here (characters): one scoring window, so that a payload cannot grow the text unboundedly."""

_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_CONTINUATION: Final = re.compile(r"\\\r?\n")
_BLANKS: Final = re.compile(r"[ \t\f\v\r\x00]+")
_NEWLINES: Final = re.compile(r" ?\n[ \n]*")

_IFS: Final = re.compile(r"\$\{?IFS\}?(?:\$9)?")
_ANSI_C: Final = re.compile(r"\$'((?:[^'\\]|\\.){1,400})'")
_HEX_RUN: Final = re.compile(r"(?:\\x[0-9a-fA-F]{2}){2,200}")
_OCT_RUN: Final = re.compile(r"(?:\\0?[0-7]{3}){2,200}")
_EMPTY_QUOTES: Final = re.compile(r"(?<=\w)(?:''|\"\")(?=\w)")
_BACKSLASH_LETTER: Final = re.compile(r"(?<![^\s;|&(])(?:[a-z]+\\[a-z][a-z\\]*|\\[a-z]+\\?[a-z][a-z\\]*)(?=[ \t])")
_SHELL_DASH_C: Final = re.compile(
    r"""^(?:/usr)?(?:/bin/)?(?:ba|da|z|k|a)?sh(?:\ --?(?:login|norc|noprofile|[eilux]{1,4}))*\ -[eilux]{0,4}c\ (['"]?)(.+)\1$""",
    re.S | re.X,
)
_BIN_DIR: Final = re.compile(r"(?:^|(?<=[|;&(\n`] )|(?<=[|;&(\n`])|(?<=sudo ))/(?:usr/)?(?:local/)?s?bin/(?=[a-z])")

_SEPARATOR: Final = re.compile(r" *(?:&&|\|\||;+|(?<![<>&|\d])&(?![&>\d])) *")
_COMMENT: Final = re.compile(r"(?:^| )#(?!!).*")
_WRAPPER: Final = re.compile(
    r"^(?:(?:sudo(?: -[A-Zabeikns]+)*|doas|time(?: -p)?|nohup|exec|command|builtin|env|setsid|nice(?: -n ?-?\d+)?|ionice(?: -c ?\d)?"
    r"|timeout(?: -\S+)*(?: \d[\w.]*)+|stdbuf(?: -\S+)+|then|do|else|if|while|!|\{|\(|[A-Za-z_]\w*=[^\s'\"$`]*) +)+"
)

_UUID: Final = re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b")
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_HOST: Final = re.compile(
    r"(?<![\w.@/~-])(?:[a-zA-Z0-9_-]+\.)+(?:com|net|org|io|co|dev|xyz|ru|cn|info|biz|app|cloud|site|online|top|club|me"
    r"|example|test|invalid|local|internal)(?=$|[\s:/'\"),;\]}>|&?])"
)
_URL_HOST: Final = re.compile(r"(?<=://)(?:[^\s/@:'\"]{1,80}(?::[^\s/@'\"]{0,80})?@)?([^\s/:'\"$`{}<>()|;&,?#]{1,255})")
_PORT: Final = re.compile(r"(?<=<ip>|<lo>)[: /]\d{2,5}\b|(?<=<host>)[: /]\d{2,5}\b")
_HEX: Final = re.compile(r"(?<![0-9a-zA-Z])(?:0x)?(?=[a-fA-F]*\d)[0-9a-fA-F]{12,}(?![0-9a-zA-Z])")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_=.-])(?=[A-Za-z/+]*\d)[A-Za-z0-9+/_-]{32,}={0,2}(?![A-Za-z0-9+/=])")
_DIGITS: Final = re.compile(r"\d{5,}")
_TEMP: Final = re.compile(r"/(?:var/)?tmp/(?:tmp[._-]?[A-Za-z0-9_]{4,}|[A-Za-z_-]+[._-][A-Za-z0-9]{6,}(?=[/\s'\"]|$))")
_HOME: Final = re.compile(
    r"(?<![\w.~/-])(?:/home/(?!\*)[^\s/'\";:|&)$*]+|/Users/[^\s/'\";:|&)$*]+|/root|\$\{?HOME\}?)(?![\w.-])"
)

_PAYLOAD: Final = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")
_PAYLOAD_CUES: Final = ("base64", "b64", "atob", "-enc")
_LOOPBACK: Final = frozenset({"localhost", "0.0.0.0", "::1", "[::1]", "host.docker.internal"})


def canonical(text: str) -> str:
    """Give the canonical form of `text`: any length, any characters; equal meanings tend towards equal forms.

    Applying it is cheap (tens of microseconds for a command line) and total. The result may be longer than the
    input only by decoded payloads, at most 2,048 characters.
    """
    text = _plain_characters(text)
    text = _fold_space(text)
    text = _open_quoting(_unwrap(text))
    payload = _decoded_payloads(text)
    text = _tokens(text)
    return f"{text}\n{_tokens(_fold_space(payload))}" if payload else text


def simple_commands(form: str) -> str:
    """The simple commands of the shell lines of a canonical form, a line each, without wrappers (`sudo`, `time`) and comments.

    Only lines that hold more than one bare command are taken; '' where there are none. Quotes are not read: a quoted text may be
    split too, which only adds lines to what is judged.
    """
    found: dict[str, None] = {}
    for line in dict.fromkeys(form.split("\n")):
        bare = _COMMENT.sub("", line) if "#" in line else line
        parts = [_WRAPPER.sub("", part) for part in _SEPARATOR.split(bare)]
        if parts != [line]:
            found.update(dict.fromkeys(part for part in parts if part))
    return "\n".join(found)


def _plain_characters(text: str) -> str:
    """Compatibility forms become plain ones (full-width letters, ligatures), invisible marks and overrides vanish."""
    if text.isascii():
        return text
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def _fold_space(text: str) -> str:
    if "\\\n" in text or "\\\r" in text:
        text = _CONTINUATION.sub(" ", text)
    return _NEWLINES.sub("\n", _BLANKS.sub(" ", text)).strip(" \n")


def _unwrap(text: str) -> str:
    """`bash -lc '…'` is its body; bounded because a body may again be such a wrapper."""
    for _ in range(3):
        found = _SHELL_DASH_C.match(text)
        if not found:
            return text
        text = found.group(2).strip(" \n")
    return text


def _open_quoting(text: str) -> str:
    r"""Undo spellings that only hide a word: `r\m`, `r''m`, `$'\x72m'`, `\x72\x6d`, `${IFS}`, `/bin/rm`."""
    if "IFS" in text:
        text = _IFS.sub(" ", text)
    if "$'" in text:
        text = _ANSI_C.sub(lambda found: _unescape(found.group(1)), text)
    if "\\" in text:
        text = _HEX_RUN.sub(lambda found: _unescape(found.group(0)), text)
        text = _OCT_RUN.sub(lambda found: _unescape(found.group(0)), text)
        text = _BACKSLASH_LETTER.sub(lambda found: found.group(0).replace("\\", ""), text)
    if "''" in text or '""' in text:
        text = _EMPTY_QUOTES.sub("", text)
    return _BIN_DIR.sub("", text) if "bin/" in text else text


def _unescape(escaped: str) -> str:
    """Read C-style escapes; what is not a valid escape stays as it was written."""

    def one(found: re.Match[str]) -> str:
        body = found.group(1)
        if body[0] in "xuU":
            return chr(min(int(body[1:], 16), 0x10FFFF))
        if body[0] in "01234567":
            return chr(int(body, 8) & 0xFF)
        return {"n": "\n", "t": "\t"}.get(body, body)

    pattern = r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,4}|.)"
    return re.sub(pattern, one, escaped, flags=re.S)


def _decoded_payloads(text: str) -> str:
    """The readable contents of base64 words, where the text speaks of base64 at all; '' where there are none."""
    if not any(cue in text for cue in _PAYLOAD_CUES):
        return ""
    found = (_readable_base64(match.group(0)) for match in _PAYLOAD.finditer(text[: 4 * _MAX_DECODED]))
    return "\n".join(part for part in found if part)[:_MAX_DECODED]


def _readable_base64(word: str) -> str:
    try:
        raw = base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    readable = raw.decode("utf-8", "replace")
    strange = sum(not (char.isprintable() or char in "\n\t") or char == "\ufffd" for char in readable)
    return readable if strange * 20 <= len(readable) else ""


def _tokens(text: str) -> str:
    """Names that vary without meaning become tokens; order matters: a URL's host is taken before bare hosts."""
    if "://" in text:
        text = _URL_HOST.sub(_url_host, text)
    if "." in text:
        text = _IPV4.sub(_address, text)
        text = _HOST.sub("<host>", text)
    if "localhost" in text:
        text = text.replace("localhost", "<lo>")
    if ">" in text:
        text = _PORT.sub(":<port>", text)
    if "-" in text:
        text = _UUID.sub("<uuid>", text)
    text = _HEX.sub("<hex>", text)
    text = _BASE64.sub("<b64>", text)
    if "tmp/" in text:
        text = _TEMP.sub("/tmp/<tmp>", text)
    text = _HOME.sub("~", text)
    return _DIGITS.sub("<num>", text)


def _url_host(found: re.Match[str]) -> str:
    host = found.group(1).lower()
    if host in _LOOPBACK or host.startswith("127."):
        return "<lo>"
    return "<ip>" if _IPV4.fullmatch(host) else "<host>"


def _address(found: re.Match[str]) -> str:
    return "<lo>" if found.group(0).startswith(("127.", "0.0.0.0")) else "<ip>"
