"""A cascade as one artefact folder: its stages' folders whole, thresholds and temperatures, a manifest and a page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imbik.cascade.policy import Policy
from imbik.cascade.stages import Answered, Chain
from imbik.export.folder import finish
from imbik.jobs.files import replacing_folder
from imbik.machine import versions
from imbik.runtime.cascade import CASCADE_FILE, Abstention
from imbik.runtime.manifest import MANIFEST_FILE, artefact_files

ENGINE = "cascade"


def write_cascade(chain: Chain, policy: Policy, abstention: Abstention | None, directory: Path, asked: Mapping[str, Any]) -> None:
    """Write the artefact folder; it appears under its name only when it is complete, and replaces a former one.

    Args:
        chain: the stages and their weights.
        policy: their thresholds.
        abstention: when no answer is given.
        directory: the folder.
        asked: what the thresholds were chosen for, for the record.

    Raises:
        UserError: a folder that holds other files.
    """
    stages = chain.stages
    with replacing_folder(directory, artefact_files) as partial:
        folders = [f"stages/{number}-{stage.source.id.replace('/', '-')}" for number, stage in enumerate(stages, 1)]
        for stage, folder in zip(stages, folders, strict=True):
            for name in (*stage.manifest["files"], MANIFEST_FILE):
                target = partial / folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(stage.source.folder / name, target)
        plan = {
            "stages": [
                {"id": stage.source.id, "folder": folder, "weight": weight, "earlier": earlier, "threshold": threshold}
                for stage, folder, weight, earlier, threshold in zip(
                    stages, folders, chain.weights, chain.earlier, (*policy.thresholds, None), strict=True
                )
            ],
            "abstain": None if abstention is None else {"label": abstention.label, "threshold": abstention.threshold},
        }
        (partial / CASCADE_FILE).write_text(json.dumps(plan, indent=1), encoding="utf-8")
        (partial / "README.md").write_text(_page(stages, policy, abstention), encoding="utf-8")
        finish(partial, _manifest(stages, policy, abstention, folders, asked))


def _manifest(
    stages: Sequence[Answered], policy: Policy, abstention: Abstention | None, folders: Sequence[str], asked: Mapping[str, Any]
) -> dict[str, Any]:
    first = stages[0].manifest
    step = {"cascade": {"stages": [stage.source.id for stage in stages], **asked}}
    # a text is read by every stage up to the one that answers it
    reached = [sum(policy.shares[number:]) for number in range(len(stages))]
    flops = [sum(share * stage.manifest["flops"][power] for share, stage in zip(reached, stages, strict=True)) for power in range(3)]
    return {
        "schema": 1,
        "engine": ENGINE,
        "model": CASCADE_FILE,
        # of the stage that reads every text
        "tokenizer": f"{folders[0]}/{first['tokenizer']}",
        "task": first["task"],
        "labels": [*first["labels"], *([] if abstention is None else [abstention.label])],
        "pairs": first["pairs"],
        "max_length": first["max_length"],
        "padding": first["padding"],
        "truncation_side": first["truncation_side"],
        "batch_tokens": first["batch_tokens"],
        "inputs": ["input_ids"],
        "steps": [step],
        "notes": [],
        "versions": versions(),
        "architecture": {"family": "cascade", "layers": None},
        "params": sum(int(stage.manifest["params"]) for stage in stages),
        "flops": flops,
    }


def _page(stages: Sequence[Answered], policy: Policy, abstention: Abstention | None) -> str:
    lines = [
        "# A cascade",
        "",
        "A text is answered by the first model that is sure enough; what none is sure of, the last one answers.",
        "",
    ]
    lines += ["| model | answers where its confidence is at least | texts of dev that it answers |", "|---|---:|---:|"]
    for stage, threshold, share in zip(stages, (*policy.thresholds, None), policy.shares, strict=True):
        lines.append(f"| {stage.source.id} | {'all that are left' if threshold is None else f'{threshold:.4f}'} | {share:.1%} |")
    if abstention is not None:
        lines += ["", f"Answers below a confidence of {abstention.threshold:.4f} are not given: the label is `{abstention.label}`."]
    lines += ["", 'With imbik: `imbik predict . "a text"`, or `imbik.load_artefact(".").predict(["a text"])`.']
    lines += ["Each folder of `stages` is an artefact of its own; its README shows how it runs without imbik.", ""]
    return "\n".join(lines)
