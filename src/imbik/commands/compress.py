"""``imbik compress``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from imbik.commands.common import (
    CpuOption,
    DataOption,
    EncodingOption,
    LabelOption,
    OutOption,
    PairOption,
    TaskOption,
    TextOption,
    check_positive,
    check_share,
    consoles,
)
from imbik.environment import preset_for
from imbik.progress import progress_for


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("compress")
    def compress(
        teacher: Annotated[str, typer.Option("--teacher", help="A fine-tuned classifier or regressor: folder or hub name.")],
        data: DataOption,
        out: OutOption,
        recipe: Annotated[list[str] | None, typer.Option("--recipe", help="Name or YAML file; repeat for several.")] = None,
        engine: Annotated[
            list[str] | None, typer.Option("--engine", help="onnx, openvino, executorch, or auto: all installed; repeat.")
        ] = None,
        unlabelled: Annotated[Path | None, typer.Option("--unlabelled", help="Further texts; the teacher labels them.")] = None,
        text: TextOption = None,
        text_pair: PairOption = None,
        label: LabelOption = None,
        task: TaskOption = None,
        encoding: EncodingOption = None,
        metric: Annotated[str | None, typer.Option("--metric", help="What quality is stated in.")] = None,
        min_retention: Annotated[float, typer.Option(help="Share of the teacher's dev quality to keep.")] = 0.97,
        max_latency_ms: Annotated[float | None, typer.Option(help="p95 of a single request.")] = None,
        max_mb: Annotated[float | None, typer.Option(help="Million bytes shipped, tokenizer included.")] = None,
        minutes: Annotated[float | None, typer.Option(help="No new recipe starts after this time.")] = None,
        cpu: CpuOption = "native",
        threads: Annotated[int | None, typer.Option(help="Of every engine while measuring.", min=1)] = None,
        seed: Annotated[int, typer.Option(help="Of the splits that are carved.", min=0)] = 0,
        save_every: Annotated[float, typer.Option(help="Seconds between training states on disk.", min=0)] = 30.0,
        lang: Annotated[str, typer.Option(help="Language of report.html: en or tr.")] = "en",
        as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
    ) -> None:
        """Make small models of a teacher, measure them all the same way, choose one; run again to continue."""
        for name, value in (("--max-latency-ms", max_latency_ms), ("--max-mb", max_mb), ("--minutes", minutes)):
            check_positive(name, value)
        check_share("--min-retention", min_retention)
        preset = preset_for(cpu)
        from imbik.checkpoint import labels_of, load_checkpoint
        from imbik.compress import Limits
        from imbik.compress import compress as run
        from imbik.data import load_data
        from imbik.engines import buildable

        console, say = consoles()
        loaded = load_checkpoint(teacher)
        splits = load_data(
            data,
            text=text,
            text_pair=text_pair,
            label=label,
            task=task or loaded.task,
            metric=metric,
            labels=labels_of(loaded),
            unlabelled=unlabelled,
            encoding=encoding,
            seed=seed,
            say=say,
        )
        results = run(
            loaded,
            splits,
            Path(out),
            source=teacher,
            recipes=recipe or (),
            engines=buildable() if engine and "auto" in engine else engine or ("onnx",),
            limits=Limits(min_retention, max_latency_ms, max_mb),
            minutes=minutes,
            threads=threads,
            lang=lang,
            save_every=save_every,
            preset=preset,
            progress=progress_for(console),
            say=say,
        )
        if as_json:
            typer.echo((Path(out) / "results.json").read_text(encoding="utf-8"))
            return
        show(results, Path(out))


def show(results: object, out: Path) -> None:
    """Table, choice, failures and where everything lies, on stdout."""
    from imbik.results import Results
    from imbik.terminal import choice_line, results_table

    assert isinstance(results, Results)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    console.print(results_table(results))
    console.print(choice_line(results), markup=False)
    for failure in results.failures:
        console.print(f"{failure['name']}: {failure['error']}", markup=False)
    console.print(f"{out / 'results.json'}  {out / 'report.html'}", markup=False, soft_wrap=True)
