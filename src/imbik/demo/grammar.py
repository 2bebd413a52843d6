"""Messages made of a grammar: templates of the 16 intents in English and Turkish, with wordings to choose from and phrases to fill in."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from imbik.jobs.seeds import mixed

_WORDINGS = re.compile(r"\[([^\]]*)\]")
_PHRASE = re.compile(r"\{(\w+)\}")
_SLOTS = "slots"
_OPENED = _CLOSED = _CASUAL = 0.3
_TYPED_BADLY = _WITHOUT_MARKS = 0.12
"""Shares of messages with a greeting, with a closing, in lower case, with typos, and of Turkish ones without ç, ğ, ı, ö, ş, ü."""
_TYPO = 0.12
"""Share of the words of five and more letters that are mistyped where a message is typed badly."""
_MARKS = str.maketrans("çÇğĞıİöÖşŞüÜ", "cCgGiIoOsSuU")

Both = tuple[str, str]
"""The same in English and in Turkish."""


@dataclass(frozen=True)
class Template:
    """A sentence of one intent.

    Attributes:
        intent: the label of its messages.
        texts: in both languages; ``[a|b]`` is one of several wordings, ``{name}`` a phrase of that name.
    """

    intent: str
    texts: Both


@dataclass(frozen=True)
class Grammar:
    """Templates, and the phrases that they share.

    Attributes:
        templates: of all intents.
        phrases: name -> what may stand there; a Turkish phrase has the case that its place needs.
    """

    templates: tuple[Template, ...]
    phrases: Mapping[str, tuple[Both, ...]]

    def messages(self, template: int, count: int, seed: int = 0) -> list[Both]:
        """Make up to ``count`` different messages of one template, the first of them whatever ``count`` is.

        Both languages say the same phrases, each in a wording of its own.

        >>> grammar = Grammar((Template("greeting", ("[hi|hello]", "[selam|merhaba]")),), {"opener": (("So:", "Yani:"),), "closer": ()})
        >>> len(grammar.messages(0, 5)), len(grammar.messages(0, 1))
        (5, 1)
        """
        # a stream of its own for each template: one that is added changes no other's messages
        draw = random.Random(mixed(seed, template))
        made: dict[str, Both] = {}
        for _ in range(4 * count):  # a template with few wordings repeats itself
            if len(made) == count:
                break
            message = self._message(self.templates[template].texts, draw)
            # told apart without case: "Hi" and "hi" are one message to an uncased teacher
            made.setdefault(message[0].casefold(), message)
        return list(made.values())

    def _message(self, texts: Both, draw: random.Random) -> Both:
        # sorted: sets have another order in every process, and the draws follow it
        names = sorted(set(_PHRASE.findall(texts[0] + texts[1])))
        phrases = {name: draw.choice(self.phrases[name]) for name in names}
        opener, closer = (self._sometimes(name, draw, share) for name, share in (("opener", _OPENED), ("closer", _CLOSED)))
        # drawn whether or not they are used: one share that changes leaves the other draws as they are
        casual, badly, bare = (draw.random() < share for share in (_CASUAL, _TYPED_BADLY, _WITHOUT_MARKS))
        # drawn once for both languages: a hurried writer is hurried in either
        finished = []
        for side, text in enumerate(texts):
            worded = _WORDINGS.sub(lambda found: draw.choice(found[1].split("|")), text)
            filled = _PHRASE.sub(lambda found, side=side: phrases[found[1]][side], worded)  # type: ignore[misc]
            whole = _joined(opener and opener[side], filled, closer and closer[side], turkish=side == 1)
            if casual:
                whole = _lower(whole, turkish=side == 1).rstrip(".")
            if badly:
                whole = " ".join(_mistyped(word, draw) for word in whole.split(" "))
            finished.append(whole.translate(_MARKS) if bare and side == 1 else whole)
        return finished[0], finished[1]

    def _sometimes(self, name: str, draw: random.Random, share: float) -> Both | None:
        wanted = draw.random() < share
        return draw.choice(self.phrases[name]) if wanted and self.phrases[name] else None


def read_grammar(folder: Path | None = None) -> Grammar:
    """Read ``slots.txt`` and a file of templates for each intent, a template a line: ``English || Turkish``.

    Args:
        folder: of the files; None: the bundled ones.
    """
    place = folder or Path(str(resources.files("imbik.data") / "bank_messages" / "grammar"))
    templates = []
    # sorted: the number of a template seeds its messages
    for file in sorted(place.glob("*.txt")):
        if file.stem != _SLOTS:
            pairs = (_both(line, "||") for line in _lines(file))
            templates += [Template(file.stem, pair) for pair in pairs]
    phrases: dict[str, list[Both]] = {}
    for line in _lines(place / f"{_SLOTS}.txt"):
        if line.startswith("@"):
            current = phrases.setdefault(line[1:], [])
        else:
            current.append(_both(line, " = "))
    return Grammar(tuple(templates), {name: tuple(pairs) for name, pairs in phrases.items()})


def _lines(file: Path) -> Iterator[str]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return (line for line in lines if line and not line.startswith("#"))


def _both(line: str, between: str) -> Both:
    english, turkish = line.split(between)
    return english.strip(), turkish.strip()


def _joined(opener: str | None, text: str, closer: str | None, *, turkish: bool) -> str:
    """Return one message with capital and full stop; behind a comma it goes on in lower case."""
    text = text if opener and opener[-1] not in ".!" else _capital(text, turkish=turkish)
    text = text if text[-1] in ".?!" else f"{text}."
    return " ".join(part for part in (opener, text, closer) if part)


def _capital(text: str, *, turkish: bool) -> str:
    return ("İ" if turkish and text[0] == "i" else text[0].upper()) + text[1:]


def _lower(text: str, *, turkish: bool) -> str:
    # in Turkish I and ı are one letter, İ and i another
    return (text.replace("I", "ı").replace("İ", "i") if turkish else text).lower()


def _mistyped(word: str, draw: random.Random) -> str:
    """Return a long word, now and then with two letters exchanged, one left out or one doubled."""
    if len(word) < 5 or draw.random() >= _TYPO:
        return word
    # inside of the word: first and last letters are rarely mistyped
    place = draw.randrange(1, len(word) - 2)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    return draw.choice((before + after[0] + letter + after[1:], before + after, before + letter + letter + after))
