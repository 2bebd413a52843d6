"""Messages in the reader's language: the English sentence that the code makes is matched with its template and said by the translated one.

The code says everything in English, where it happens: ``UserError(f"no column {name}")``. That English template, with its values as
numbered places, ``no column {0}``, is the key of ``locale/messages.yaml``, as it is in gettext. Only at the place where a command prints
is a sentence matched back to its template, so that workers, stored results and library users have one language, and a reader has theirs.
The test ``tests/locale/test_messages.py`` finds the templates in the source and holds the catalogue to them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

import yaml

from imbik.errors import UserError
from imbik.locale.catalogue import read_locale_file, texts, with_marks
from imbik.locale.notes import read, sentence
from imbik.types import Note

_NUMBER = r"[-+−]?(?:[\d.,]+(?:e[-+]?\d+)?|inf|nan)%?"
_DEEPEST = 6  # values in values: an error in the failure of a candidate, and no more than that
_LETTERS = 6  # of a template's own: with fewer, it would find itself in names and texts of users
_LISTS = ("; ", " or ")
_PLACE = re.compile(r"{(\d+)}")
_OR = re.compile(r"(?<!than) or (?!more\b)")
_NAME = re.compile(r"\S+(?:, \S+)*")  # or several: onnx, openvino
_TOLD = re.compile(r"[.?!] (?:Found|Expected|Do): ")
_ERROR = re.compile(
    r"(?P<head>.+?)[.?!]?(?:(?<=[.?!]) Found: (?P<found>.+?)[.?!]?)?(?:(?<=[.?!]) Expected: (?P<expected>.+?)[.?!]?)?"
    r"(?:(?<=[.?!]) Do: (?P<fix>.+?)[.?!]?)?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Template:
    """One sentence in English and in another language.

    Attributes:
        english: with places, ``{0} of {1:,} rows``.
        other: the same places, in the order of the other language.
    """

    english: str
    other: str

    @functools.cached_property
    def fields(self) -> tuple[tuple[str, str, str], ...]:
        """Return (text before, place, format) of every place, then the text behind them with an empty place."""
        return tuple((fixed, name or "", spec or "") for fixed, name, spec, _ in Formatter().parse(self.english))

    @functools.cached_property
    def fixed(self) -> str:
        """Return the longest text between places."""
        return max((fixed for fixed, _, _ in self.fields), key=len, default="")

    @functools.cached_property
    def letters(self) -> int:
        """Return how many letters are the template's own."""
        return sum(letter.isalpha() for fixed, _, _ in self.fields for letter in fixed)

    def distinct(self, depth: int) -> bool:
        """Return whether few letters of its own are enough: a number that we formatted stands in it, or a line begins with them."""
        return any(spec for _, _, spec in self.fields) or not (depth or self.english.startswith("{"))

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Return the expression that reads the values back."""
        parts = [re.escape(fixed) + (f"({_NUMBER if spec else '.+?'})" if name else "") for fixed, name, spec in self.fields]
        return re.compile("".join(parts), re.DOTALL)

    def values(self, text: str) -> Sequence[str] | None:
        """Return the values with which this template says ``text``, or None."""
        if self.fixed not in text:
            return None
        match = self.pattern.fullmatch(text)
        return None if match is None else match.groups()


class Messages:
    """The messages of one language.

    >>> turkish = messages("tr")
    >>> turkish.said("train.csv: no rows. Expected: a header and rows.")
    'train.csv: satır yok. Beklenen: bir başlık ve satırlar.'
    >>> turkish.said("12 of 1003 training texts are cut to 64 tokens (--max-length changes it)")
    '1003 eğitim metninin 12 tanesi 64 belirtece kısaltıldı (--max-length ile değişir)'
    """

    def __init__(self, templates: Mapping[str, str], words: Mapping[str, str], heads: Iterable[str], lang: str) -> None:
        self.whole = {unbraced(english.strip()): unbraced(other.strip()) for english, other in templates.items() if "{0" not in english}
        placed = [Template(english.strip(), other.strip()) for english, other in templates.items() if "{0" in english]
        self.placed = sorted(placed, key=lambda template: (-template.letters, -len(template.english)))
        self.words, self.heads, self.lang = words, frozenset(heads), lang

    def said(self, text: str, depth: int = 0) -> str:
        """Return a sentence in the language; one that is none of ours as it is."""
        found = self._said(text, depth)
        return text if found is None else found

    def error(self, error: UserError) -> str:
        """Return an error as one line, its parts in the language."""
        parts = {name: getattr(error, name) for name in ("where", "what", "found", "expected", "fix")}
        return self._joined({name: self._field(name, str(value)) for name, value in parts.items() if value is not None})

    def templates_of(self, text: str) -> Iterator[Template]:
        """Yield the templates with places that could have said ``text``, the one with most words of its own first."""
        return (template for template in self.placed if template.values(text) is not None)

    def _field(self, name: str, text: str) -> str:
        """Say a part of an error. What was found and where may be a user's own word, so single words stay there."""
        mine = name in ("expected", "fix", "what")
        if text in self.heads and not mine:
            return text
        said = self.whole.get(text) or (self._choice(text) if mine else None)
        return said or self._said(text, 0, fewest=0) or text

    def _choice(self, text: str) -> str | None:
        """Say things of which one is expected: names as they are, sentences of ours in the language."""
        parts = _OR.split(text)
        said = [self.whole.get(part) or self._well_known(part) or (part if _NAME.fullmatch(part) else None) for part in parts]
        return None if len(parts) == 1 or None in said else self.words["or"].join(map(str, said))

    def _said(self, text: str, depth: int, fewest: int = _LETTERS) -> str | None:
        core = text.strip()
        if depth > _DEEPEST or not core:
            return None
        if core != text:
            said = self._said(core, depth, fewest)
            return None if said is None else text.replace(core, said)
        if text in self.whole and (not depth or " " in text):
            return self.whole[text]
        first, second = (self._as_error, self._placed) if _TOLD.search(text) else (self._placed, self._as_error)
        return first(text, depth, fewest) or second(text, depth, fewest) or self._note(text, depth) or self._list(text, depth)

    def _note(self, text: str, depth: int) -> str | None:
        """Say a note, which the catalogue has by its kind."""
        note = read(text)
        if note.kind == "text":
            return None
        values = {name: self.said(value, depth + 1) if isinstance(value, str) else value for name, value in note.values.items()}
        return sentence(Note(note.kind, values), self.lang)

    def _placed(self, text: str, depth: int, fewest: int = _LETTERS) -> str | None:
        for template in self.templates_of(text):
            if template.letters < fewest and not template.distinct(depth):
                return None
            values = template.values(text) or ()
            formats = [spec for _, name, spec in template.fields if name]
            shown = [with_marks(v, self.lang) if spec else self.said(v, depth + 1) for v, spec in zip(values, formats, strict=True)]
            return unbraced(_PLACE.sub(functools.partial(_put, shown), template.other))
        return None

    def _list(self, text: str, depth: int) -> str | None:
        """Say the parts of a list one by one."""
        for separator in _LISTS:
            parts = text.split(separator)
            said = [self._said(part, depth + 1) for part in parts]
            if len(parts) > 1 and any(part is not None for part in said):
                between = self.words["or"] if separator == " or " else separator
                return between.join(new or old for new, old in zip(said, parts, strict=True))
        return None

    def _as_error(self, text: str, depth: int, _: int = 0) -> str | None:
        """Say what a :class:`UserError` was told as, in a worker, a stored result or another message."""
        match = _ERROR.fullmatch(text)
        if match is None:
            return None
        told = {name: value for name, value in match.groupdict().items() if value is not None}
        head = told.pop("head")
        cuts = [found.end() for found in re.finditer(": ", head)] + ([0] if told else [])
        for known in (self.whole.get, self._well_known, self._barely_known)[: 3 if told or text.endswith((".", "?", "!")) else 1]:
            for cut in cuts:
                if (what := known(head[cut:])) is not None:
                    where = {"where": self.said(head[: cut - 2], depth + 1)} if cut else {}
                    return self._joined(where | {"what": what} | {name: self._field(name, value) for name, value in told.items()})
        return None

    def _well_known(self, text: str) -> str | None:
        return self._placed(text, 1)

    def _barely_known(self, text: str) -> str | None:
        return self._placed(text, 1, fewest=0)

    def _joined(self, parts: Mapping[str, str]) -> str:
        head = f"{parts['where']}: {parts['what']}" if "where" in parts else parts["what"]
        said = [head, *(f"{self.words[name]}: {parts[name]}" for name in ("found", "expected", "fix") if name in parts)]
        return " ".join(part if part.endswith(("?", "!", "...")) else part.rstrip(".") + "." for part in said)


def _put(values: Sequence[str], place: re.Match[str]) -> str:
    return values[int(place[1])]


def unbraced(template: str) -> str:
    """Return a template without places as the text that it says.

    >>> unbraced("{{name: mine}}")
    '{name: mine}'
    """
    return template.replace("{{", "{").replace("}}", "}")


@functools.cache
def sections() -> Mapping[str, Mapping[str, str]]:
    """Return the catalogue as it is written: where a message belongs -> English template -> other template.

    ``typer`` and ``pydantic`` hold what these libraries say; ``heads`` single words over columns and before bars.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, dict[str, str]] = yaml.load(read_locale_file("messages"), Loader=loader)
    return found


@functools.cache
def catalogue() -> Mapping[str, str]:
    """Return English template -> other template of ``locale/messages.yaml``.

    Raises:
        KeyError: a duplicate template.
    """
    flat: dict[str, str] = {}
    for known in sections().values():
        if again := flat.keys() & known.keys():
            raise KeyError(*again)
        flat |= known
    return flat


@functools.cache
def messages(lang: str) -> Messages:
    """Return the messages of a language other than English."""
    words = {name: texts(lang)[f"error.{name}"] for name in ("found", "expected", "fix", "or")}
    return Messages(catalogue(), words, sections()["heads"], lang)
