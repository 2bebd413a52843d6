"""New texts made from the task's own by exchanging words, for the teacher to label: TinyBERT's data augmentation.

Algorithm 1 of arXiv 1909.10351: of every text N copies are made; in each, every word is exchanged with probability p for one of K
candidates. A word that is one piece of the tokenizer gets the candidates that a masked language model puts in its place, a word of
several pieces its nearest neighbors among word vectors. Words without a letter stay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from imbik.data.text_store import TextStore, TextWriter
from imbik.distillation.word_candidates import MaskedWords, VectorWords, masked_words, vector_words
from imbik.jobs.files import replacing
from imbik.jobs.fingerprints import key_of
from imbik.jobs.progress import Progress
from imbik.jobs.seeds import mixed
from imbik.models.teacher import Teacher
from imbik.training.context import Context
from imbik.types import Examples

_FEWEST = 3
"""Copies of a row below which other rows have none."""

WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Augmentation:
    """How texts are made.

    Attributes:
        masked_model: folder of a masked language model (``imbik finetune --task mlm`` makes one), or ``none``: words of one piece get
            their neighbors among the word vectors too. It has no default: the two make different texts.
        vectors: ``teacher`` (the mean of a word's rows in the teacher's embedding table) or a file in GloVe's text format, ``word
            number number …`` a line.
        copies: N, texts made of each.
        probability: p, of a word to be exchanged.
        candidates: K, words that it may be exchanged for.
        seed: of the draws.
        most: texts made in all. Where all rows would make more, fewer copies are made of each; below three, only of the rows with the
            most words: a fragment of two words has little to exchange. None: N of every row.
    """

    masked_model: str
    vectors: str = "teacher"
    copies: int = 20
    probability: float = 0.4
    candidates: int = 15
    seed: int = 0
    most: int | None = None

    def written(self) -> dict[str, Any]:
        """Return the settings as keys are made of; one that came later is named only where it is given, so that older keys stay."""
        return {name: value for name, value in asdict(self).items() if name != "most" or value is not None}


def _settings(value: bool | Mapping[str, Any]) -> bool | dict[str, Any]:
    """What a recipe says under ``augment``, every setting written out, so that a changed default is a changed recipe."""
    if value is False:
        return False
    given = {} if value is True else dict(value)
    unknown = set(given) - set(Augmentation.__dataclass_fields__)
    if unknown:
        raise ValueError(f"one of {', '.join(Augmentation.__dataclass_fields__)}; not {', '.join(sorted(unknown))}")
    if not isinstance(given.get("masked_model"), str):
        raise ValueError(
            "a mapping with masked_model: the folder of a masked language model (imbik finetune --task mlm makes one), or none, where "
            "words of one piece shall get their neighbors among the word vectors too"
        )
    _check_ranges(given)
    return Augmentation(**given).written()


def _check_ranges(given: Mapping[str, Any]) -> None:
    """Refuse a setting of the wrong kind or out of its range."""
    whole = {"copies": 1, "candidates": 1, "seed": 0, "most": 1}
    for name, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in whole and not (number and isinstance(value, int) and value >= whole[name]):
            raise ValueError(f"{name}: a whole number, {whole[name]} at least; not {value!r}")
        if name == "probability" and not (number and 0 < value <= 1):
            raise ValueError(f"probability: above 0 and up to 1; not {value!r}")
        if name == "vectors" and not isinstance(value, str):
            raise ValueError(f"vectors: teacher, or a file of word vectors; not {value!r}")


Augment = Annotated[bool | dict[str, Any], AfterValidator(_settings)]
"""The field of a method: ``false``, or a mapping of :class:`Augmentation`'s settings."""


def files_of(augment: bool | dict[str, Any]) -> list[str]:
    """The files and folders that a field of the kind :data:`Augment` names."""
    if not isinstance(augment, dict):
        return []
    return [name for name in (augment["masked_model"], augment["vectors"]) if name not in ("none", "teacher")]


def with_augmented(rows: Examples, augment: bool | dict[str, Any], context: Context) -> Examples:
    """The rows, and behind them the texts made of them, without labels.

    Args:
        rows: the task's texts.
        augment: a field of the kind :data:`Augment`.
        context: its teacher gives vocabulary and word vectors; made texts are kept in ``context.shared``.

    Raises:
        UserError: as :func:`augmented`.
    """
    if not isinstance(augment, dict):
        return rows
    made = augmented(rows, Augmentation(**augment), context.teacher, context.shared / "augmented", context.progress)
    pairs = None if rows.pairs is None or made.pairs is None else TextStore.of(chain(rows.pairs, made.pairs))
    return replace(rows, texts=TextStore.of(chain(rows.texts, made.texts)), pairs=pairs, fingerprint=rows.fingerprint + made.fingerprint)


def augmented(rows: Examples, settings: Augmentation, teacher: Teacher, directory: Path, progress: Progress) -> Examples:
    """Up to N new texts of each row, found on disk where the same were made before; a text that equals its source is dropped.

    Raises:
        UserError: no masked language model or no word vectors where the settings say.
    """
    masked = None if settings.masked_model == "none" else masked_words(settings.masked_model, settings.candidates)
    vectors = vector_words(settings.vectors, teacher, chain(rows.texts, rows.pairs or ()), settings.candidates, WORD)
    parts = {"rows": rows.fingerprint, "settings": settings.written(), "teacher": teacher.fingerprint, "key": vectors.key}
    key = key_of({**parts, "masked": masked.key if masked else None})
    file = directory / f"{key}.jsonl"
    if not file.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as out:
            fewer = replace(settings, copies=copies_of(len(rows.texts), settings))
            for made in _all(rows, _Maker(fewer, masked, vectors), fewer, progress):
                out.write(json.dumps(made, ensure_ascii=False) + "\n")
    return _read(file, rows.pairs is not None, key)


def _all(rows: Examples, maker: _Maker, settings: Augmentation, progress: Progress) -> Iterator[list[str]]:
    chosen = _copied(rows, settings)
    with progress.track("making texts", len(chosen)) as bar:
        for start in range(0, len(chosen), 256):
            batch = chosen[start : start + 256]
            columns = [[column[row] for row in batch] for column in (rows.texts, rows.pairs) if column is not None]
            versions = [maker.copies(column) for column in columns]
            for row, copies in enumerate(zip(*versions, strict=True)):
                sources = tuple(str(column[row]) for column in columns)
                # dict.fromkeys: equal copies once, in the order in which they were drawn
                yield from map(list, dict.fromkeys(made for made in zip(*copies, strict=True) if made != sources))
            bar.advance(len(columns[0]))


def copies_of(rows: int, settings: Augmentation) -> int:
    """Return how many copies are made of a row: N, or fewer so that no more than ``most`` are made of all, but three.

    >>> [copies_of(rows, Augmentation("none", copies=8, most=40_000)) for rows in (5_000, 8_000, 100_000)]
    [8, 5, 3]
    """
    if settings.most is None:
        return settings.copies
    return max(min(settings.copies, _FEWEST), min(settings.copies, settings.most // max(1, rows)))


def _copied(rows: Examples, settings: Augmentation) -> list[int]:
    """Return the rows that copies are made of, in their order: all, or those with the most words."""
    every = list(range(len(rows.texts)))
    if settings.most is None or len(every) * settings.copies <= settings.most:
        return every
    # a pair counts both; of equally long ones the first
    lengths = [sum(len(WORD.findall(column[row])) for column in (rows.texts, rows.pairs) if column is not None) for row in every]
    return sorted(sorted(every, key=lambda row: -lengths[row])[: max(1, settings.most // settings.copies)])


def _read(file: Path, paired: bool, key: str) -> Examples:
    writers = [TextWriter() for _ in range(2 if paired else 1)]
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            for writer, text in zip(writers, json.loads(line), strict=True):
                writer.add([text])
    stores = [writer.close() for writer in writers]
    return Examples(stores[0], stores[1] if paired else None, None, key)


class _Maker:
    """Copies of texts with words exchanged."""

    def __init__(self, settings: Augmentation, masked: MaskedWords | None, vectors: VectorWords) -> None:
        self.settings, self.masked, self.vectors = settings, masked, vectors

    def copies(self, texts: list[str]) -> list[list[str]]:
        """N versions of each text; what is drawn follows from the text and the seed alone."""
        spans = [[m.span() for m in WORD.finditer(text) if any(c.isalpha() for c in m[0])] for text in texts]
        nothing: list[list[list[str] | None]] = [[None] * len(here) for here in spans]
        found = self.masked.candidates(texts, spans) if self.masked else nothing
        out = []
        for text, here, candidates in zip(texts, spans, found, strict=True):
            # algorithm 1: a word of one piece asks the language model, any other the word vectors
            options = [c if c is not None else self.vectors.candidates(text[a:b]) for (a, b), c in zip(here, candidates, strict=True)]
            # of the text and not of its place: one more row in the data leaves all other copies as
            # they are; hash() would differ from process to process
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            generator = np.random.default_rng(mixed(self.settings.seed, int.from_bytes(digest, "little")))
            out.append([_exchanged(text, here, options, self.settings.probability, generator) for _ in range(self.settings.copies)])
        return out


def _exchanged(
    text: str, spans: list[tuple[int, int]], options: list[list[str]], probability: float, generator: np.random.Generator
) -> str:
    pieces, last = [], 0
    # one draw per word, used or not: whether a word has candidates does not move the draws behind
    # it
    draws = generator.random(len(spans))
    for (start, stop), words, draw in zip(spans, options, draws, strict=True):
        if words and draw < probability:
            pieces += [text[last:start], words[int(generator.integers(len(words)))]]
            last = stop
    return "".join([*pieces, text[last:]])


def made_of(texts: Iterable[str]) -> set[str]:
    """The distinct words of texts, as :data:`WORD` finds them.

    >>> sorted(made_of(["I can't pay", "pay now"]))
    ['I', "can't", 'now', 'pay']
    """
    return {match[0] for text in texts for match in WORD.finditer(text)}
