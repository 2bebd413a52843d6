"""The language of this process: English, or what ``--lang`` or ``IMBIK_LANG`` asks for. ``LANG`` of the system changes nothing.

Only a command speaks another language than English: a library, a worker and a file that a program reads have one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence

from imbik.errors import UserError
from imbik.locale.catalogue import LANGUAGES

ENVIRONMENT = "IMBIK_LANG"
_OPTION = "--lang"


class _Spoken:
    """A language that was asked for, told apart from others of the same name."""

    def __init__(self, lang: str) -> None:
        self.lang = lang


_current = [_Spoken("en")]


def language() -> str:
    """Return the language that is spoken."""
    return _current[-1].lang


@contextlib.contextmanager
def speaking(lang: str) -> Iterator[None]:
    """Speak a language inside of the block.

    Raises:
        UserError: none of ours.

    >>> with speaking("tr"):
    ...     print(translated("no such folder"))
    böyle bir klasör yok
    """
    check_language(lang)
    spoken = _Spoken(lang)
    _current.append(spoken)
    try:
        yield
    finally:
        # A mistake of typing ends a command before click closes what its options opened: the outer block takes it along.
        if spoken in _current:
            del _current[_current.index(spoken) :]


def check_language(lang: str, where: str = _OPTION) -> str:
    """Return a language that there is.

    Raises:
        UserError: there is no such language.
    """
    if lang not in LANGUAGES:
        raise UserError("no such language", where=where, found=lang, expected=" or ".join(LANGUAGES))
    return lang


def asked_language(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> str:
    """Return the language that a command line asks for, before anything is parsed: help and mistakes of typing have one too.

    A language that there is not is left to the option, which refuses it.

    Raises:
        UserError: the environment names a language that there is not.

    >>> asked_language(["compress", "--lang=tr", "--help"], {}), asked_language(["--lang", "en"], {"IMBIK_LANG": "tr"})
    ('tr', 'en')
    >>> asked_language(["predict", "DIR", "--", "--lang", "tr"], {})
    'en'
    """
    given = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    named = [value for option, value in itertools.pairwise(given) if option == _OPTION]
    named += [argument.partition("=")[2] for argument in given if argument.startswith(_OPTION + "=")]
    if not named:
        return check_language(environment.get(ENVIRONMENT) or "en", ENVIRONMENT)
    return named[-1] if named[-1] in LANGUAGES else "en"


def translated(text: str) -> str:
    """Return a sentence of ours in the language that is spoken; in English at once."""
    if language() == "en":
        return text
    from imbik.locale.messages import messages  # only other languages need the catalogue

    return messages(language()).said(text)


def told(error: UserError) -> str:
    """Return an error as one line in the language that is spoken.

    >>> told(UserError("no such folder", where="runs"))
    'runs: no such folder.'
    """
    if language() == "en":
        return str(error)
    from imbik.locale.messages import messages

    return messages(language()).error(error)
