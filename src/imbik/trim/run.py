"""Trim a model's vocabulary to what a corpus uses (``imbik trim``)."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from imbik import __version__
from imbik.data.documents import Documents
from imbik.errors import UserError
from imbik.jobs.files import read_json, write_json
from imbik.jobs.fingerprints import content, key_of
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress
from imbik.jobs.workspace import Workspace
from imbik.models.checkpoint import CARD_HEAD, save_files
from imbik.models.facts import parameters
from imbik.models.pretrained import load_whole
from imbik.models.sentences.folder import local_folder, side_files
from imbik.models.tokenizers import keep_pieces, wrap_spec
from imbik.models.vocabulary.choice import Rule, kept_pieces
from imbik.models.vocabulary.rows import check_same, fixed_rows, prune_rows
from imbik.trim.checks import covered, held_back_share, numbers, whole
from imbik.trim.result import HeldBack, Trimmed
from imbik.trim.usage import Usage, count_pieces

_DONE = "trim.json"
_SHIPPED = ("model.safetensors", "structured.safetensors", "tokenizer.json")


def trim(
    source: str | Path,
    texts: Sequence[Documents],
    directory: Path,
    *,
    rule: Rule | None = None,
    held_back: float = 0.02,
    progress: Progress,
    say: Callable[[str], None],
) -> Trimmed:
    """Write a model without the word pieces that a corpus never uses; a text that needs none of these is answered as before.

    Continues after a kill; a finished call is not repeated.

    Args:
        source: folder or hub name of an encoder, with any head or none.
        texts: the corpus, see :func:`imbik.data.documents.open_documents`.
        directory: gets the model as a plain transformers folder; what says how its states are pooled is copied too.
        rule: which pieces stay; default: those that occur, and the characters of the scripts that the texts are written in.
        held_back: share of the documents that is not counted, and tells how texts to come will be cut.
        progress: where progress is shown.
        say: takes one line for the user.

    Raises:
        UserError: the model cannot be opened or writes text, its tokenizer is of another kind, no text, or the directory holds something
            else.
    """
    began = time.perf_counter()
    rule, directory = rule or Rule(characters="scripts"), with_home(directory)
    if not 0 <= held_back <= 0.5:
        raise UserError("not a share of the documents", where="--held-back", found=held_back, expected="0 to 0.5")
    arguments = {"model": [str(source), content(source)], "texts": [one.key for one in texts], "rule": asdict(rule), "held": held_back}
    key = key_of({"trim": arguments})
    if read_json(directory / _DONE).get("key") == key:
        say(f"{directory}: finished earlier")
        return _finished(directory)
    with Workspace(directory, {"trim": key}) as workspace:
        model, tokenizer = load_whole(source)
        usage = count_pieces(
            texts, whole(tokenizer), model.get_input_embeddings().num_embeddings, held_back, workspace.path("count.npz"), progress
        )
        # what a killed call left half-written is made again from the count, which is kept
        made = workspace.path("made")
        shutil.rmtree(made, ignore_errors=True)
        result = _cut(model, tokenizer, usage, rule, str(source), made)
        result = replace(result, directory=directory, seconds=time.perf_counter() - began)
        # the card and the record are part of what is published: a folder is whole or not there
        _describe(result, str(source), made)
        facts = {name: value for name, value in asdict(result).items() if name != "directory"}
        write_json(made / _DONE, {"key": key} | facts)
        workspace.publish(made)
    return result


def _cut(model: Any, tokenizer: Any, usage: Usage, rule: Rule, source: str, made: Path) -> Trimmed:
    """Prune model and tokenizer, hold the new ones against the old, and write them."""
    old_backend = whole(tokenizer)
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    small, old = keep_pieces(spec, kept_pieces(spec, usage.counts, old_backend, rule, fixed_rows(model)))
    pruned = wrap_spec(tokenizer, small)
    probe = covered(usage.sample, old_backend, set(old))
    size, weights = int(model.get_input_embeddings().num_embeddings), parameters(model)
    # asked before anything is cut: the model is pruned in place
    before = numbers(model, tokenizer, probe, old)
    prune_rows(model, old, pruned)
    difference = check_same(before, numbers(model, pruned, probe, None), type(model).__name__)
    new_backend, unknown = whole(pruned), [tokenizer.unk_token_id, pruned.unk_token_id]
    held: HeldBack | None = None
    if len(usage.held_back):
        held = held_back_share(usage.held_back, old_backend, new_backend, old, unknown)
    save_files(model, pruned, made)
    folder = local_folder(source)
    for name in side_files(folder):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / name, made / name)
    # as if the old one were written by the same program: a folder of the hub may hold the weights several times over
    gone = 4 * (weights - parameters(model)) + len(json.dumps(spec)) - len(json.dumps(small))
    after = _bytes(made)
    return Trimmed(
        directory=made,
        pieces_before=size,
        pieces_after=len(old),
        bytes_before=_bytes(folder) or after + gone,
        bytes_after=after,
        parameters_before=weights,
        parameters_after=parameters(model),
        documents=usage.documents,
        characters=usage.characters,
        held_back=held,
        compared=len(probe),
        difference=difference,
        seconds=0.0,
    )


def _bytes(folder: Path) -> int:
    """Return the bytes of weights and tokenizer in a folder; 0 where it has not both."""
    sizes = [(folder / name).stat().st_size for name in _SHIPPED if (folder / name).is_file()]
    return sum(sizes) if len(sizes) > 1 else 0


def _finished(directory: Path) -> Trimmed:
    """Return what an earlier call made in this folder."""
    facts = {name: value for name, value in read_json(directory / _DONE).items() if name != "key"}
    held = facts.pop("held_back")
    return Trimmed(directory=directory, held_back=None if held is None else HeldBack(**held), **facts)


def _describe(result: Trimmed, source: str, made: Path) -> None:
    """Write the model card."""
    held = result.held_back
    unseen = (
        ""
        if held is None
        else f"On {held.texts:,} texts that were held back, {held.gone:.2%} of the tokens need a piece that is gone and are cut into "
        f"smaller ones; these texts become {held.longer - 1:.2%} longer.\n"
    )
    card = (
        CARD_HEAD.format(tags="")
        + f"# {source}, trimmed\n\n"
        + f"Made by imbik {__version__} from `{source}`: {result.pieces_after:,} of {result.pieces_before:,} word pieces, "
        + f"{result.bytes_after / 1e6:.1f} of {result.bytes_before / 1e6:.1f} MB.\n\n"
        + f"A text whose pieces are all there is answered as before (largest difference on {result.compared} texts: "
        + f"{result.difference:.2g}). {unseen}"
    )
    (made / "README.md").write_text(card, encoding="utf-8")
