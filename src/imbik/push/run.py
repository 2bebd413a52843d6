"""The job: a parcel and its card, written into a folder or sent to a hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from imbik.errors import UserError
from imbik.jobs.files import read_json, replacing_folder, write_json
from imbik.jobs.paths import with_home
from imbik.push.card import About, card
from imbik.push.parcel import Parcel, pack

_LISTED = ".imbik-push.json"
"""In a folder that this wrote: the names of its files, so that it may be written again."""


@dataclass(frozen=True)
class Pushed:
    """What was made.

    Attributes:
        files: name in the repository -> bytes.
        place: the folder, or the address of the commit; None: nothing was written or sent.
        license: that the card states.
    """

    files: dict[str, int]
    place: str | None
    license: str | None


def push(
    folder: str | Path,
    repository: str,
    *,
    about: About | None = None,
    out: str | Path | None = None,
    dry_run: bool = False,
    private: bool = False,
    token: str | None = None,
) -> Pushed:
    """Send a finished model to a hub, or write what would be sent into a folder.

    Args:
        folder: what ``compress``, ``finetune`` or ``export`` wrote, see :func:`imbik.push.parcel.pack`.
        repository: ``owner/name``.
        about: license, base model, data set, languages.
        out: a folder that gets the files in the place of the hub.
        dry_run: write and send nothing.
        private: a repository that is new is private.
        token: of the hub; None: the one that ``hf auth login`` or ``HF_TOKEN`` keeps.

    Raises:
        UserError: nothing to push, no name of a repository, what the hub refuses; ``out`` holds something else.
    """
    about = about or About()
    _check_name(repository)
    parcel = pack(with_home(folder))
    text = card(parcel, repository, about)
    sizes = {name: len(content) if isinstance(content, bytes) else content.stat().st_size for name, content in parcel.files.items()}
    done = Pushed({"README.md": len(text.encode()), **sizes}, None, about.license)
    if dry_run:
        return done
    if out is not None:
        with replacing_folder(with_home(out), _listing) as new:
            lay_out(parcel, text, new)
            write_json(new / _LISTED, {"files": sorted(done.files)})
        return Pushed(done.files, str(out), done.license)
    with tempfile.TemporaryDirectory() as temporary:
        # the same files as in a folder, sent as one commit
        lay_out(parcel, text, Path(temporary))
        return Pushed(done.files, _upload(Path(temporary), repository, private, token), done.license)


def lay_out(parcel: Parcel, text: str, folder: Path) -> None:
    """Write the files of a repository.

    Args:
        parcel: what is pushed.
        text: of the card.
        folder: an empty one.
    """
    (folder / "README.md").write_text(text, encoding="utf-8")
    for name, content in parcel.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)


def _listing(folder: Path) -> AbstractSet[str] | None:
    names = ({"files": None} | read_json(folder / _LISTED))["files"]
    # of a folder that we wrote only what is named there may go
    return {_LISTED, *(name for name in names if isinstance(name, str))} if isinstance(names, list) else None


def _check_name(repository: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        if repository.count("/") != 1:
            raise HFValidationError("no owner")
    except HFValidationError:
        raise UserError("not the name of a repository", where="REPO", found=repository, expected="owner/name") from None


def _upload(folder: Path, repository: str, private: bool, token: str | None) -> str:
    """Send a folder as one commit; returns its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Model made small by imbik")
    except LocalTokenNotFoundError:
        raise UserError("the hub does not know who you are", where=repository, fix="run `hf auth login`, or set HF_TOKEN") from None
    except (HfHubHTTPError, OSError) as error:
        found = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        fix = "check the name, your token and the network; --out FOLDER writes the files here"
        raise UserError("the hub did not take the model", where=repository, found=found[:200], fix=fix) from error
    return str(commit.commit_url)
