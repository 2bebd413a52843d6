"""The job: rows in, answers out, in parts that are answered side by side and put down in order."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from imbik.data.columns import ColumnNames
from imbik.data.kinds.reading import refuse_skipping
from imbik.errors import UserError
from imbik.images.settings import PROCESSOR_FILE
from imbik.jobs.files import refuse_foreign_file, replacing
from imbik.jobs.fingerprints import content, key_of
from imbik.jobs.progress import Progress
from imbik.machine import physical_cores
from imbik.predict.answering import Model
from imbik.predict.cluster import on_ray
from imbik.predict.formats import FORMATS
from imbik.predict.parts import Part, cut, rows_of_part
from imbik.predict.pictures import stream_images
from imbik.predict.processes import Here, Pool, Process, Workers, fitting
from imbik.predict.sources import Rows, count_rows, find_inputs, stream_rows
from imbik.predict.store import Store
from imbik.predict.work import Work
from imbik.runtime.manifest import MANIFEST_FILE, read_manifest
from imbik.tasks.classification import IMAGE_CLASSIFICATION
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.tasks.task import Task as TaskOfModel
from imbik.types import Say


@dataclass(frozen=True)
class Asked:
    """What is to be made of the rows.

    Attributes:
        names: which columns hold texts, or images.
        keep: further columns that are handed on.
        top: labels of each row at most.
        workers: processes; None: one a core, or this one alone where there are few rows.
        part_rows: rows of a part; None: by the size of the model.
        ray: address of a Ray cluster that answers, or ``local``; None: this machine does, without Ray.
    """

    names: ColumnNames = field(default_factory=ColumnNames)
    keep: tuple[str, ...] = ()
    top: int = 3
    workers: int | None = None
    part_rows: int | None = None
    ray: str | None = None


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        rows: that are answered.
        earlier: of them, by an earlier run.
        workers: processes.
        seconds: of this run.
        broken: images that could not be read and were left out.
    """

    rows: int
    earlier: int
    workers: int
    seconds: float
    broken: int = 0


def predict_files(
    model: Model,
    sources: Sequence[str | Path],
    out: Path | BinaryIO,
    *,
    asked: Asked | None = None,
    form: str | None = None,
    progress: Progress,
    say: Say,
) -> Summary:
    """Answer the rows of files, in their order; a killed run continues where it stopped, with no row lost or doubled.

    Args:
        model: what answers.
        sources: files, folders and patterns; of images, or tables of them, where the model reads images.
        out: a file (``.csv``, ``.jsonl``, ``.parquet``), a folder of parts (a name without a suffix), or an open file, without continuing.
        asked: see :class:`Asked`.
        form: ``csv``, ``jsonl`` or ``parquet`` of a folder's parts and an open file; default ``csv``.
        progress: where progress is shown.
        say: takes one line for the user.

    Raises:
        UserError: a row or image that cannot be read (file, row, column): what was answered before is kept; the output holds
            something else.
    """
    began = time.perf_counter()
    asked = asked or Asked()
    task = image_task(model)
    if task is None:
        refuse_skipping(model.skip_broken)
    files = find_inputs(sources, out if isinstance(out, Path) else None, images=task is not None)
    asked = replace(asked, part_rows=asked.part_rows or rows_of_part(model.artefact, images=task is not None))
    rows = stream_rows(files, asked.names, asked.keep, say) if task is None else stream_images(files, asked.names, asked.keep, task, say)
    run = _Run(model, files, rows, asked, progress, say)
    done = run.to_file(out, form) if isinstance(out, Path) else run.to_stream(out, form or "csv")
    return replace(done, seconds=time.perf_counter() - began)


def image_task(model: Model) -> TaskOfModel | None:
    """Return the task of a model that reads images, without loading it; None where it reads texts.

    Raises:
        UserError: the folder is neither an artefact nor a checkpoint, or of a task that is not known.
    """
    if model.is_checkpoint:
        return task_of(IMAGE_CLASSIFICATION) if (model.artefact / PROCESSOR_FILE).is_file() else None
    task = task_of(read_manifest(model.artefact)["task"], where=model.artefact / MANIFEST_FILE)
    return task if task.reads == IMAGES else None


def format_of(out: Path, form: str | None) -> tuple[str, bool]:
    """Return the format that answers are written in, and whether into a folder of parts.

    Raises:
        UserError: a suffix that no format has, or that of another one than ``form``.

    >>> format_of(Path("a.parquet"), None), format_of(Path("answers"), "jsonl")
    (('parquet', False), ('jsonl', True))
    """
    by_suffix = {known.suffix: name for name, known in FORMATS.items()}
    suffix = out.suffix.lower()
    if not suffix or (out.is_dir() and suffix not in by_suffix):
        return form or "csv", True
    if suffix not in by_suffix or form not in (None, by_suffix[suffix]):
        expected = f"{', '.join(by_suffix)}, or a folder (a name without a suffix)" if form is None else FORMATS[form].suffix
        raise UserError("a file of answers of an unknown kind", where="--out", found=out.name, expected=expected)
    return by_suffix[suffix], False


class _Run:
    """One call of :func:`predict_files`."""

    def __init__(self, model: Model, files: Sequence[Path], rows: Iterable[Rows], asked: Asked, progress: Progress, say: Say) -> None:
        self.model, self.files, self.asked, self.progress, self.say = model, files, asked, progress, say
        assert asked.part_rows is not None
        self.parts: Iterator[Part] = cut(rows, asked.part_rows)
        self.workers = 1

    @contextlib.contextmanager
    def _pool(self, form: str) -> Iterator[Pool]:
        """Yield what answers: processes only where there is more than one part, actors where Ray is asked for."""
        # read ahead: a single part is not worth another process
        head = list(islice(self.parts, 2))
        self.parts = chain(head, self.parts)
        if not head:
            raise UserError("no rows", where=self.files[0], found="only a header", expected="a header and rows")
        model, top, wanted = self.model, self.asked.top, self.asked.workers
        if self.asked.ray is not None:
            with on_ray(self.asked.ray, model, form, top, wanted) as (pool, self.workers):
                yield pool
            return
        self.workers = (wanted or fitting(model)) if len(head) > 1 else 1
        if self.workers == 1:
            yield Here(model, form, top)
            return
        model = replace(model, threads=model.threads or max(1, physical_cores() // self.workers))
        with Workers(partial(Process, model, form, top), self.workers) as pool:
            yield pool

    def key(self, form: str) -> dict[str, object]:
        """Return all that answers depend on but the rows."""
        asked = self.asked
        return {
            # threads and sizes of batches are left out: they change the last digits alone
            "model": content(self.model.artefact),
            "engine": self.model.engine,
            "format": form,
            "top": asked.top,
            "keep": asked.keep,
            "part_rows": asked.part_rows,
        }

    def to_file(self, out: Path, form: str | None) -> Summary:
        """Answer into a file, or a folder of parts."""
        form, folder = format_of(out, form)
        known = FORMATS[form]
        if not folder:
            refuse_foreign_file(out, known.ours)
        key = self.key(form)
        place = out if folder else out.with_name(f".{out.name}.imbik")
        with Store(place, known.suffix, key_of(key), private=not folder) as store:
            if store.dropped:
                self.say(f"{out}: begun earlier with another model or other settings; begins anew")
            done = self._answer(store, form, None)
            if folder:
                store.summarize(key)
                return done
            refuse_foreign_file(out, known.ours)
            # asked before: hours lie between the first look at this place and now
            with replacing(out) as temporary:
                known.join(store.parts(), temporary)
            store.remove()
        return done

    def to_stream(self, out: BinaryIO, form: str) -> Summary:
        """Answer to an open file, part by part."""
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder), FORMATS[form].suffix, "", private=True) as store:
            return self._answer(store, form, out)

    def _answer(self, store: Store, form: str, out: BinaryIO | None) -> Summary:
        """Answer all parts that are not answered yet."""
        total = count_rows(self.files, self.asked.names.encoding)
        with self._pool(form) as pool, self.progress.track("answering", total) as bar:
            work = Work(store, pool, bar, out, skip_broken=self.model.skip_broken)
            try:
                for part in self.parts:
                    # one under way and one waiting for each process: what is read ahead stays small
                    work.take(part, most=2 * self.workers)
                work.settle(most=0)
            except UserError:
                if out is None:
                    work.keep_what_is_answered()
                    self.say(f"{store.rows} rows are answered and kept; the same command goes on behind them")
                raise
        store.close_at(work.count)
        broken, first = store.broken
        if broken:
            self.say(f"{broken:,} images could not be read and were left out; the first: {first}")
        if not store.rows:
            raise UserError("no image can be read", where=self.files[0], found=f"{broken:,} that cannot be", fix="check the files")
        return Summary(store.rows, work.earlier, self.workers, 0.0, broken)
