"""The data of the demo: the bundled messages, with made ones beside those that are learned from."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from imbik.data.bundled import bundled_data
from imbik.demo.grammar import Both, read_grammar
from imbik.jobs.files import replacing

COLUMNS = ("text", "text_tr")
LABELLED, UNLABELLED = 1, 3
"""Messages made of each template: so many are added to train, and so many more are texts without labels that the teacher answers."""

UNLABELLED_FILE = "unlabelled.csv"
_ALIKE = 0.5

Row = tuple[str, ...]


def write_messages(directory: Path, *, labelled: int = LABELLED, unlabelled: int = UNLABELLED, seed: int = 0) -> None:
    """Write ``labelled/train.csv``, ``dev.csv`` and ``test.csv``, and ``unlabelled.csv``.

    Dev and test are the bundled ones, written by hand; made messages are only added to train. None of those shares half of its distinct
    words or more with a message of dev or test, in either language.

    Args:
        directory: gets the files.
        labelled: messages of each template that train gets.
        unlabelled: further ones, written without their intents.
        seed: of what is drawn.
    """
    labelled_folder = directory / "labelled"
    labelled_folder.mkdir(parents=True, exist_ok=True)
    written = {split: _read(bundled_data() / f"{split}.csv") for split in ("train", "dev", "test")}
    apart = [Apart(row[side] for split in ("dev", "test") for row in written[split]) for side in range(len(COLUMNS))]
    grammar = read_grammar()
    known = {row[0].casefold() for row in written["train"]}
    further: list[Row] = []
    for number, template in enumerate(grammar.templates):
        messages = [
            message
            for message in grammar.messages(number, labelled + unlabelled, seed)
            if message[0].casefold() not in known and not _near(message, apart)
        ]
        # two templates may give the same message, which would stand in train and among the texts without labels
        known |= {message[0].casefold() for message in messages}
        written["train"] += [(*message, template.intent) for message in messages[:labelled]]
        further += messages[labelled:]
    for split, rows in written.items():
        _save_rows(labelled_folder / f"{split}.csv", (*COLUMNS, "intent"), rows)
    _save_rows(directory / UNLABELLED_FILE, COLUMNS, further)


class Apart:
    """Texts that others must stay away from.

    Args:
        texts: such as those of dev and test.

    >>> Apart(["where is my new card"]).near("So where is my card?"), Apart(["where is my new card"]).near("close my account")
    (True, False)
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.sizes: list[int] = []
        self.holders: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            words = _words(text)
            self.sizes.append(len(words))
            for word in words:
                self.holders[word].append(number)

    def near(self, text: str) -> bool:
        """Return whether a text shares half of the distinct words of both, or more, with one of them."""
        words = _words(text)
        # only texts that share a word are looked at: of some 450, a handful
        both = Counter(number for word in words for number in self.holders.get(word, ()))
        return any(count >= _ALIKE * (len(words) + self.sizes[number] - count) for number, count in both.items())


def _near(message: Both, apart: Sequence[Apart]) -> bool:
    return any(texts.near(text) for texts, text in zip(apart, message, strict=True))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _read(file: Path) -> list[Row]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [tuple(row[column] for column in (*COLUMNS, "intent")) for row in csv.DictReader(lines)]


def _save_rows(file: Path, columns: Row, rows: Sequence[Row]) -> None:
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(rows)
