"""Options of the command line that several commands share: single ones as types, several at a time as dataclasses (:func:`grouped`)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imbik.jobs.trust import trust_remote_code
from imbik.locale.language import language, speaking
from imbik.runtime.engines.engine import ArtefactEngine
from imbik.runtime.engines.registry import engines
from imbik.runtime.processors import CPUS
from imbik.tasks.registry import registered

if TYPE_CHECKING:
    from imbik.data.columns import ColumnNames

TextOption = Annotated[str | None, typer.Option("--text", help="Column with the text or image (guessed and printed if not given).")]
PairOption = Annotated[str | None, typer.Option("--text-pair", help="Column with the second text of a pair.")]
LabelOption = Annotated[str | None, typer.Option("--label", help="Column with the label; several, comma-separated: multi-label.")]
TaskOption = Annotated[str | None, typer.Option("--task", help=f"{' or '.join(registered())} (guessed if not given); finetune: mlm too.")]
MetricOption = Annotated[str | None, typer.Option("--metric", help="What quality is stated in.")]
SkipOption = Annotated[bool, typer.Option("--skip-broken", help="Leave out images that cannot be read, and count them.")]
EncodingOption = Annotated[str | None, typer.Option("--encoding", help="Of the files, where it is neither UTF-8 nor marked UTF-16.")]
DataOption = Annotated[
    str, typer.Option("--data", help="A file, a folder with train/dev/test files (of images: a folder for each class), or a hub name.")
]
_BUILT = [name for name, known in engines().items() if isinstance(known, ArtefactEngine)]
EngineOption = Annotated[list[str] | None, typer.Option("--engine", help=f"{', '.join(_BUILT)}, or auto: all installed; repeat.")]
CpuOption = Annotated[str, typer.Option("--cpu", help=f"Processor that int8 artefacts are made for: {', '.join(CPUS)}.")]
MultipleOption = Annotated[
    int | None, typer.Option("--length-multiple", help="Pad lengths to a multiple of this (default: what the engine asks for).", min=1)
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Compute threads (default: the physical cores).", min=1)]


def _speak(context: typer.Context, lang: str) -> str:
    """Let a command speak the language that it was given, or else the one that was asked for before it."""
    source = context.get_parameter_source("lang")
    lang = language() if source is None or source.name == "DEFAULT" else lang
    context.with_resource(speaking(lang))
    return lang


LangOption = Annotated[
    str, typer.Option("--lang", help="Language: en or tr (default: IMBIK_LANG, or en).", callback=_speak, show_default=False)
]
TrackOption = Annotated[str | None, typer.Option("--track", help="Tell training to tensorboard, mlflow, wandb or trackio.")]
TeachersOption = Annotated[
    list[str],
    typer.Option("--teacher", help="A fine-tuned model of a task: folder or hub name; repeat, and students learn from the mean logits."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Output folder.")]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that a model's folder brings; read it first.", callback=trust_remote_code),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]


@dataclass(frozen=True)
class TextColumns:
    """Where texts stand in a file."""

    text: TextOption = None
    text_pair: PairOption = None
    encoding: EncodingOption = None

    def given(self) -> dict[str, Any]:
        """The fields as keyword arguments of :mod:`imbik.data.load`'s functions."""
        return asdict(self)

    def names(self) -> ColumnNames:
        """The fields as :mod:`imbik.data` takes them."""
        from imbik.data.columns import ColumnNames

        return ColumnNames(**self.given())


@dataclass(frozen=True)
class LabelledColumns(TextColumns):
    """Where texts and labels stand, and what quality is stated in."""

    label: LabelOption = None
    metric: MetricOption = None
    skip_broken: SkipOption = False


@dataclass(frozen=True)
class TaskColumns(LabelledColumns):
    """The same, and what the task is."""

    task: TaskOption = None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command in which each parameter whose type is a dataclass is replaced by that dataclass's fields, as options of their own.

    >>> @grouped
    ... def show(name: str, columns: TextColumns) -> None:
    ...     print(name, columns.text)
    >>> list(inspect.signature(show).parameters)
    ['name', 'text', 'text_pair', 'encoding']
    >>> show(name="a", text="b", text_pair=None, encoding=None)
    a b
    """
    own = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}
    options = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}
    parameters = [option for name, p in own.items() for option in (options[name].values() if name in options else (p,))]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        made = {name: group(**{field: arguments.pop(field) for field in options[name]}) for name, group in groups.items()}
        command(**arguments, **made)

    # typer reads signature and annotations; keyword-only, so that options without a default may
    # follow
    run.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
