"""The process that answers parts: ``python -m imbik.predict.worker`` reads them from its standard input until that is closed."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from imbik.errors import UserError
from imbik.jobs.files import replacing
from imbik.predict.answering import Answers, Model
from imbik.predict.formats import FORMATS
from imbik.predict.parts import Written
from imbik.predict.sources import Rows
from imbik.runtime.images import ImagePredictor


class Answerer:
    """A loaded model that writes the answers of parts.

    Args:
        model: what answers.
        form: the format's name.
        top: labels of each row at most.
    """

    def __init__(self, model: Model, form: str, top: int) -> None:
        self.predictor, self.top, self.format = model.load(), top, FORMATS[form]
        self.skip_broken = model.skip_broken

    def answers(self, rows: Rows) -> Answers:
        """Ask the model."""
        # a sequence of images says itself what messages call each
        asked = rows.texts if rows.images is None else cast(Sequence[str], rows.images)
        decoded = self.predictor.predict(asked, rows.pairs)
        return Answers(rows, decoded, self.predictor.task, self.predictor.labels, self.top)

    def of_readable(self, rows: Rows) -> tuple[Answers, list[int]]:
        """Ask the model of all rows but images that cannot be read; return the numbers of those too."""
        try:
            return self.answers(rows), []
        except UserError:
            if not (self.skip_broken and isinstance(self.predictor, ImagePredictor) and rows.images is not None):
                raise
        # looked for only now: to decode every image twice would take half of the speed
        readable = self.predictor.readable(rows.images)
        return self.answers(rows.images_at(readable)), sorted(set(range(len(rows))) - set(readable))

    def write(self, rows: Rows, path: Path, wanted: Callable[[], bool] = lambda: True) -> Written:
        """Write the answers of some rows, whole or not at all.

        Args:
            rows: what is answered.
            path: the file.
            wanted: asked before the file gets its name.
        """
        answers, broken = self.of_readable(rows)
        with replacing(path) as temporary:
            header = self.format.write(answers, temporary)
            if not wanted():
                raise SystemExit(1)
        first = rows.images.name(broken[0]) if broken and rows.images is not None else ""
        return Written(header, len(answers.rows), len(broken), first)


def main() -> None:
    """Answer until standard input is closed."""
    # Ctrl-C reaches every process of a terminal; the one that asks ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    answerer: Answerer | None = None
    parent = os.getppid()
    model, form, top = pickle.load(asked)
    while True:
        try:
            rows, path = pickle.load(asked)
        except EOFError:
            return
        answer: Written | UserError
        # where whoever asked is dead another run may hold the folder
        try:
            # loaded with the first part, so that a refusal is an answer to it
            answerer = answerer or Answerer(model, form, top)
            answer = answerer.write(rows, path, lambda: os.getppid() == parent)
        except UserError as error:
            answer = error
        pickle.dump(answer, told)
        told.flush()


if __name__ == "__main__":
    main()
