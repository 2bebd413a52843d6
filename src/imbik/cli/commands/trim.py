"""``imbik trim``: a multilingual model without the word pieces that a language never uses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from imbik.cli.checks import consoles, echo
from imbik.cli.options import JsonOption, OutOption, TextColumns, TrustOption, grouped
from imbik.errors import UserError
from imbik.jobs.progress import progress_for
from imbik.locale.language import translated
from imbik.types import Say

if TYPE_CHECKING:
    from imbik.models.vocabulary.choice import Rule
    from imbik.trim.result import Trimmed

_CHARACTERS = ("scripts", "seen", "all")


@dataclass(frozen=True)
class KeptPieces:
    """Which pieces stay."""

    min_count: Annotated[int, typer.Option(help="Pieces that occur less often go.", min=1)] = 1
    pieces: Annotated[int | None, typer.Option(help="At most so many stay, the most used first.", min=1)] = None
    margin: Annotated[int, typer.Option(help="Pieces beyond those that occur, the most frequent of the table first.", min=0)] = 0
    characters: Annotated[str, typer.Option(help="Single characters that stay: of the scripts of the texts, those seen, or all.")] = (
        _CHARACTERS[0]
    )
    held_back: Annotated[float, typer.Option(help="Share of the documents that is not counted, and tells of texts to come.")] = 0.02

    def rule(self) -> Rule:
        """What stays.

        Raises:
            UserError: an unknown word, or two options that contradict each other.
        """
        from imbik.models.vocabulary.choice import Rule

        if self.characters not in _CHARACTERS:
            raise UserError("unknown choice", where="--characters", found=self.characters, expected=", ".join(_CHARACTERS))
        if self.pieces is not None and self.margin:
            raise UserError("--pieces and --margin contradict each other", fix="leave one of them out")
        return Rule(self.min_count, self.margin, self.characters, self.pieces)  # type: ignore[arg-type]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trim")(trim)


@grouped
def trim(
    *,
    model: Annotated[str, typer.Argument(help="An encoder with any head or none: folder or hub name.")],
    out: OutOption,
    texts: Annotated[list[str] | None, typer.Option("--texts", help="Raw text: a file, a folder or a hub name; repeat.")] = None,
    language_of: Annotated[
        list[str] | None, typer.Option("--language-of", help="Labelled data, of which the texts of train are read; repeat.")
    ] = None,
    columns: TextColumns,
    kept: KeptPieces,
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Leave out the word pieces that a language never uses: of a multilingual model they are most of its bytes.

    Texts that need none of them are answered as before. The corpus is streamed, so it may be larger than memory.
    """
    del trust_remote_code  # its callback has done what it asks for
    rule = kept.rule()
    if not texts and not language_of:
        fix = "name files with --texts, or data with --language-of"
        raise UserError("no texts", where="--texts", expected="texts in the language that is to stay", fix=fix)
    from imbik.data.documents import open_documents, open_split
    from imbik.trim.run import trim as run

    console, say = consoles()
    sources = [open_documents(one, text=columns.text, encoding=columns.encoding, say=say) for one in texts or ()]
    named = {"text": columns.text, "pair": columns.text_pair, "encoding": columns.encoding}
    sources += [open_split(one, **named, joined=False, say=say) for one in language_of or ()]
    result = run(model, sources, out, rule=rule, held_back=kept.held_back, progress=progress_for(console, translated), say=say)
    _tell(result, say)
    facts = asdict(result) | {"directory": str(result.directory)}
    line = (
        f"{result.pieces_before:,} word pieces -> {result.pieces_after:,}, {result.bytes_before / 1e6:.1f} MB -> "
        f"{result.bytes_after / 1e6:.1f} MB; model in {out}"
    )
    echo(facts, line, as_json)


def _tell(result: Trimmed, say: Say) -> None:
    """Say what held-back texts and the model's answers tell."""
    held = result.held_back
    if held is None:
        say("no document was held back: nothing tells how texts to come will be cut")
    else:
        say(
            f"held back: {held.texts:,} texts; {held.gone:.2%} of their tokens need a piece that is gone, {held.touched:.1%} of the texts "
            f"have one; texts become {held.longer - 1:.2%} longer; unknown {held.unknown_before:.3%} before, {held.unknown_after:.3%} after"
        )
    say(f"{result.compared} texts whose pieces are all there: largest difference of the answers {result.difference:.2g}")
