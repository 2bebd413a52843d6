"""The checkpoint: which parts of a run are answered, in the folder that holds them, so that a killed run continues."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imbik.errors import UserError
from imbik.jobs.files import foreign_files, read_json, refuse_foreign, remove_folder, replacing, write_json
from imbik.jobs.workspace import WORK_FOLDER, locked
from imbik.predict.formats import Header
from imbik.predict.parts import Part, Written

SUMMARY = "_answers.json"
"""Written last into a folder of parts: it is finished, and this is all that belongs to it."""

_WHOLE = {"broken": 0, "first": ""}
"""Of a part that nothing was left out of; journals of before images say nothing of it."""
_RUN, _PARTS, _LOCK = f"{WORK_FOLDER}/run.json", f"{WORK_FOLDER}/parts.jsonl", f"{WORK_FOLDER}/lock"
_TORN = re.compile(rf"({WORK_FOLDER}/\.(run\.json|parts\.jsonl)|\.{SUMMARY})\.\d+\.tmp")
# six digits and more: names sort as numbers do up to 20 billion rows
_NUMBER = re.compile(r"\.?part-(\d{6,})\.\w+(\.\d+\.tmp)?")


class Store:
    """Answered parts in a folder, each written whole; entered, it holds the folder's lock.

    What is there counts only where the journal says what it answers: a part whose rows have changed since is answered again.

    Args:
        folder: of the parts; made if it is missing.
        suffix: of the parts.
        key: of all that answers depend on but the rows, see :func:`imbik.jobs.fingerprints.key_of`.
        private: the folder is ours alone: work under another key is dropped. False: it is a user's, and refused.

    Attributes:
        dropped: whether work under another key was dropped.

    Raises:
        UserError: the folder holds something that imbik did not make, or answers of another run; another run works in it (when entered).
    """

    def __init__(self, folder: Path, suffix: str, key: str, *, private: bool) -> None:
        self.folder, self.key, self.dropped = folder, key, False
        self._suffix, self._private = suffix, private
        self._done: dict[int, dict[str, Any]] = {}
        self._begun: set[int] = set()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Store:
        if not (self.folder / _RUN).is_file():  # before anything is made in it
            refuse_foreign(self.folder, self._listed())
        self._open.enter_context(locked(self.folder))
        try:
            known = {"imbik": None, "key": None} | read_json(self.folder / _RUN)
            self._read_journal(known)
            refuse_foreign(self.folder, self._listed())
            self._take_over(known)
            write_json(self.folder / _RUN, {"imbik": "answers", "key": self.key})
            self._journal = self._open.enter_context(self._rewritten())
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _take_over(self, known: dict[str, Any]) -> None:
        """Drop what an earlier run left and does not fit."""
        # None: the run was killed before it wrote down what it was
        if known["key"] not in (None, self.key):
            if not self._private:
                raise UserError(
                    "the folder holds answers of another model, or with other settings",
                    where=self.folder,
                    fix="choose another folder with --out",
                )
            self._remove(self._begun)
            self.dropped = True
            self._done.clear()
            self._begun.clear()
        self._remove(self._begun - self._done.keys())
        for name in self._torn():
            (self.folder / name).unlink()

    def _read_journal(self, known: dict[str, Any]) -> None:
        if known["imbik"] != "answers":
            return
        with contextlib.suppress(OSError):
            for line in (self.folder / _PARTS).read_text(encoding="utf-8", errors="replace").splitlines():
                # the last line may be torn by a kill, and a damaged one is a part that is answered again
                with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                    entry = json.loads(line)
                    number = int(entry["part"])
                    self._begun.add(number)
                    if {"digest", "bytes", "header", "rows"} <= entry.keys():
                        self._done[number] = _WHOLE | entry

    def _rewritten(self) -> Any:
        """Write what is known of the journal, and open it to go on."""
        path = self.folder / _PARTS
        with replacing(path) as temporary:
            lines = [{"part": number} for number in sorted(self._begun)] + list(self._done.values())
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path.open("a", encoding="utf-8")

    def _listed(self) -> set[str]:
        """Return what is ours in the folder."""
        ours = {_RUN, _PARTS, SUMMARY} if (self.folder / _RUN).is_file() else set()
        return {_LOCK} | ours | self._torn() | self._named(self._begun)

    def _torn(self) -> set[str]:
        """Return files that a kill left unfinished, parts aside."""
        return {name for name in foreign_files(self.folder, frozenset()) if _TORN.fullmatch(name)}

    def _named(self, numbers: Iterable[int]) -> set[str]:
        """Return the files, finished or not, of some parts."""
        wanted = set(numbers)
        names = foreign_files(self.folder, frozenset())
        return {name for name in names if (match := _NUMBER.fullmatch(name)) and int(match[1]) in wanted}

    def _remove(self, numbers: Iterable[int]) -> None:
        for name in self._named(numbers):
            (self.folder / name).unlink(missing_ok=True)

    def path(self, number: int) -> Path:
        """Return where a part is written."""
        return self.folder / f"part-{number:06d}{self._suffix}"

    def has(self, part: Part, digest: str, *, skip_broken: bool = False) -> bool:
        """Return whether a part is answered; one without its broken images only where ``skip_broken`` says that they may be left out."""
        # by its size too: a disk that lost the end of a file lost answers
        entry, path = self._done.get(part.number), self.path(part.number)
        if entry is None or (entry["broken"] and not skip_broken):
            return False
        return entry["digest"] == digest and path.is_file() and path.stat().st_size == entry["bytes"]

    def begin(self, part: Part) -> None:
        """Say that a part is going to be written.

        Raises:
            UserError: somebody put a file there meanwhile.
        """
        if part.number not in self._begun and self.path(part.number).exists():
            raise UserError("a file was put into the folder meanwhile; writing answers would delete it", where=self.path(part.number))
        # from here on the folder is not finished
        (self.folder / SUMMARY).unlink(missing_ok=True)
        self._done.pop(part.number, None)
        self._begun.add(part.number)
        # noted before the file is there: only so a half-written one is known to be ours
        self._note({"part": part.number})

    def add(self, number: int, digest: str, written: Written) -> None:
        """Say that a part is answered."""
        size = self.path(number).stat().st_size
        self._done[number] = {"part": number, "digest": digest, "bytes": size, **asdict(written)}
        self._note(self._done[number])

    def _note(self, entry: dict[str, Any]) -> None:
        # handed to the system, not to the disk: what a power cut takes is answered again
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()

    @property
    def rows(self) -> int:
        """Rows that are answered."""
        return sum(entry["rows"] for entry in self._done.values())

    def rows_of(self, number: int) -> int:
        """Return the rows of a part that are answered."""
        return int(self._done[number]["rows"])

    @property
    def broken(self) -> tuple[int, str]:
        """Images that were left out, and the first of them."""
        found = [self._done[number] for number in sorted(self._done) if self._done[number]["broken"]]
        return sum(entry["broken"] for entry in found), found[0]["first"] if found else ""

    def parts(self) -> list[tuple[Path, Header]]:
        """Return the files of all parts in their order, and the bytes of their headers."""
        return [(self.path(number), self._done[number]["header"]) for number in sorted(self._done)]

    def close_at(self, count: int) -> None:
        """Remove parts behind the last one: the input has become shorter."""
        behind = {number for number in self._begun if number >= count}
        self._remove(behind)
        self._begun -= behind
        for number in behind:
            self._done.pop(number, None)

    def summarize(self, facts: dict[str, Any]) -> None:
        """Say in the folder that it is finished."""
        parts = [
            {"file": path.name, "rows": self._done[number]["rows"]} for number, path in ((n, self.path(n)) for n in sorted(self._done))
        ]
        write_json(self.folder / SUMMARY, {"schema": 1, **facts, "rows": self.rows, "parts": parts})

    def remove(self) -> None:
        """Remove the folder, which is ours alone, when it has served; something that is not ours in it stays."""
        # the lock lies in the folder, so it is let go before that is removed
        listed = self._listed()
        self._open.close()
        with contextlib.suppress(UserError):
            remove_folder(self.folder, listed)
