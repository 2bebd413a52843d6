"""Several teachers as one folder, which answers with the mean of their logits (:mod:`imbik.runtime.engines.average`)."""

from __future__ import annotations

import json
from pathlib import Path

from imbik.export.folder import finish
from imbik.jobs.files import read_json, replacing_folder
from imbik.models.checkpoint import save_checkpoint
from imbik.models.facts import facts, manifest_of
from imbik.models.teacher import Teacher
from imbik.runtime.engines.average import AVERAGE_FILE, Averages
from imbik.runtime.manifest import TOKENIZER_FILE, artefact_files


def write_average(teacher: Teacher, directory: Path) -> None:
    """Write the folder, unless it is there already: each member as a plain checkpoint folder, a manifest, and their names.

    Args:
        teacher: with others.
        directory: the folder; it appears under its name only when it is complete.

    Raises:
        UserError: a folder that holds other files.
    """
    members = tuple(teacher.members.values())
    if {"fingerprint": None, **read_json(directory / AVERAGE_FILE)}["fingerprint"] == teacher.fingerprint:
        return
    # copies and no links: the folder must hold what was measured, whatever becomes of the teachers
    with replacing_folder(directory, artefact_files) as partial:
        folders = [f"members/{number}" for number in range(1, len(members) + 1)]
        for member, folder in zip(members, folders, strict=True):
            save_checkpoint(member, partial / folder)
        record = {"fingerprint": teacher.fingerprint, "sources": [member.source for member in members], "members": folders}
        (partial / AVERAGE_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
        # every member reads every text: costs add up
        known = [facts(member.model) for member in members]
        manifest = manifest_of(members[0]) | {
            "engine": Averages.name,
            "model": AVERAGE_FILE,
            "tokenizer": f"{folders[0]}/{TOKENIZER_FILE}",
            "architecture": {"family": Averages.name, "layers": None},
            "params": sum(one["params"] for one in known),
            "flops": [sum(one["flops"][power] for one in known) for power in range(3)],
        }
        finish(partial, manifest)
