"""``imbik demo``: the whole story on bundled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imbik.cli.checks import consoles, overridden
from imbik.cli.options import LabelOption, LangOption, PairOption, TextOption
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated
from imbik.locale.phrases import Phrases


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("demo")
    def demo(
        out: Annotated[Path, typer.Option("--out", help="Output folder.")] = Path("imbik-demo"),
        lang: LangOption = "en",
        base: Annotated[str | None, typer.Option("--base", help="Another pretrained encoder: folder or hub name.")] = None,
        data: Annotated[str | None, typer.Option("--data", help="Other data: file, folder or hub name.")] = None,
        text: TextOption = None,
        text_pair: PairOption = None,
        label: LabelOption = None,
    ) -> None:
        """Fine-tune, compress by two recipes, measure, choose, report and answer: minutes on two cores."""
        from imbik.cli.commands.compress import show
        from imbik.demo.story import run_demo

        console, say = consoles()
        columns = overridden(text=text, text_pair=text_pair, label=label)
        story = run_demo(out, base=base, data=data, columns=columns, lang=lang, progress=progress_for(console, translated), say=say)
        show(story.results, story.run, lang)
        if story.answers is None:
            return
        phrases = Phrases(lang)
        for message, answer, probability in story.answers.lines:
            typer.echo(f"  {message!r} -> {answer} ({phrases.percent(probability, 0)})")
        before, behind = (phrases.percent(share, 1) for share in story.answers.wrong_by)
        say(f"probabilities are calibrated on dev (T = {story.answers.temperature:.2f}): off by {behind} on test, uncalibrated by {before}")
