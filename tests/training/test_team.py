"""Two processes train what one trains: gloo on this machine's processors, started as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from imbik.training.team import led, team

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

PROGRAM = """
import contextlib, faulthandler, json, logging, os, socket, sys, traceback
from pathlib import Path
import numpy as np
import torch
from safetensors.torch import save_file
from imbik.distillation.soft_labels import SoftLabels, without_dropout
from imbik.finetune.classifier import LabelLoss
from imbik.jobs.progress import Silent
from imbik.testing.tiny import tiny_bert, tiny_context, tiny_splits
from imbik.training import prediction
from imbik.training.encoding import encode_for
from imbik.training.learning import Learner
from imbik.training.loop import fit
from imbik.training.precision import full_precision
from imbik.training.prediction import RowTargets, dev_score, predict
from imbik.training.settings import RunSettings, Training
from imbik.training.team import led

TIMEOUT = 600
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
prediction.WORTH_SENDING = 0.0  # the teacher's outputs and dev are shared too


class Whole(torch.nn.Module):  # a loss that cannot be divided
    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, model, batch):
        return self.loss(model, batch)


class Stopping(LabelLoss):  # an interruption of the leader, in the middle of an epoch
    calls = 0

    def parts(self, model, batch):
        self.calls += 1
        if self.calls > self.stop and LEADS:
            raise KeyboardInterrupt
        return super().parts(model, batch)


def loss_of(kind, task, splits, data, out, stop):
    targets = RowTargets.of(splits, splits.train, data)
    if kind == "soft":
        teacher = tiny_bert(splits.labels, task, seed=5, layers=3)
        context = tiny_context(teacher, splits, out / "teacher")
        # rows without a label stand behind those that have one
        some = RowTargets(targets.values[: len(data) // 3])
        return SoftLabels(task, context.cache.logits(splits.train, Silent()), some, 2.0, 0.3)
    if stop:
        loss = Stopping(task, targets)
        loss.stop = stop
        return loss
    return Whole(LabelLoss(task, targets)) if kind == "whole" else LabelLoss(task, targets)


def learn(out, kind="labels", task="classification", stop=0, **settings):
    out.mkdir(parents=True, exist_ok=True)
    splits = tiny_splits(task)
    checkpoint = tiny_bert(splits.labels, task, seed=3)
    without_dropout(checkpoint.model)
    data, dev = (encode_for(task, part, checkpoint.tokenizer) for part in (splits.train, splits.dev))
    loss = loss_of(kind, task, splits, data, out, stop)
    values = Training(**{"epochs": 3, "learning_rate": 1e-3, "batch_tokens": 96, **settings})
    run = RunSettings(1, out / "state", Silent(), 0.0)
    pieces = np.union1d(data.pieces(), dev.pieces())
    with contextlib.suppress(KeyboardInterrupt):
        state = fit(checkpoint.model, loss, data, values, run, what=out.name, evaluate=dev_score(splits, dev), pieces=pieces)
        save_file({n: t.contiguous().clone() for n, t in checkpoint.model.state_dict().items()}, out / "model.safetensors")
        (out / "state.json").write_text(json.dumps({"dev": [h["dev"] for h in state.history], "steps": state.steps_done}))


def together(cases, said):
    global LEADS
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    torch.set_num_threads(1)
    with led() as leading, full_precision():
        LEADS = leading
        if leading:
            print("one leads")
            for out, case in cases.items():
                learn(Path(out), **case)
    sys.stdout.flush()


for processes, cases, said in json.loads(sys.argv[1]):
    # forked and not started anew: PyTorch is imported once, and nothing was computed yet
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            if processes > 1:
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            faulthandler.dump_traceback_later(TIMEOUT, exit=True)
            try:
                together(cases, said)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        sys.exit(f"{said}: {codes}")
"""

CASES: Mapping[str, Mapping[str, Any]] = {
    "labels": {},
    "two batches a step": {"accumulate": 2},
    "soft": {"kind": "soft"},
    "tags": {"task": "token-classification"},
    "soft tags": {"task": "token-classification", "kind": "soft"},
    "whole": {"kind": "whole"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders 1 and 2, trained by so many processes, and what they said."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "program.py").write_text(PROGRAM)
    stopped = {**CASES, "stopped": {"stop": 7}}
    phases: list[tuple[int, dict[str, Any], str]] = []
    for processes in (1, 2):
        cases = {str(folder / str(processes) / name): case for name, case in stopped.items()}
        phases.append((processes, cases, str(folder / f"said-{processes}")))
    for processes in (1, 2):  # each goes on with what the other one began
        phases.append((processes, {str(folder / str(3 - processes) / "stopped"): {}}, str(folder / "said-again")))
    command = [sys.executable, str(folder / "program.py"), json.dumps(phases)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    # the gradient of a key's bias is zero but for rounding, of which Adam makes whole steps; no answer depends on it
    return {name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "key.bias" not in name}


def difference(one: Path, other: Path) -> float:
    mine, theirs = weights(one), weights(other)
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine)


@pytest.mark.parametrize("case", [*CASES, "stopped"])
def test_two_processes_train_the_model_of_one(case: str, trained: Path) -> None:
    one, two = (json.loads((trained / str(n) / case / "state.json").read_text()) for n in (1, 2))
    assert one["steps"] == two["steps"] > 8
    np.testing.assert_allclose(one["dev"], two["dev"], atol=1e-6)
    moved = difference(trained / "1" / case, trained / "1" / "labels") if "tags" not in case else 1.0
    assert difference(trained / "1" / case, trained / "2" / case) < (0.0 if case == "whole" else 2e-5) + 1e-12
    assert case in ("labels", "stopped", "whole") or moved > 1e-3  # the cases are different ones


def test_a_training_goes_on_with_another_number_of_processes(trained: Path) -> None:
    assert difference(trained / "1" / "stopped", trained / "1" / "labels") < 2e-5


def test_the_teacher_says_the_same_to_the_last_bit(trained: Path) -> None:
    for case in ("soft", "soft tags"):
        files = [sorted((trained / str(n) / case / "teacher").rglob("*.bin")) for n in (1, 2)]
        assert files[0] and [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_one_process_speaks_and_says_where_the_others_cannot_help(trained: Path) -> None:
    said = (trained / "said-2").read_text()
    assert said.count("one leads") == 1
    assert "whole: 1 of 2 processes trains, the others wait: Whole is no mean over rows or tokens" in said
    assert said.count("others wait") == 1
    assert "others wait" not in (trained / "said-1").read_text()


def test_a_program_that_was_not_launched_leads_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # some schedulers set it for every job
    with led() as leading:
        assert leading
        assert team() is None


@pytest.mark.slow
def test_the_command_is_run_by_one_process(tmp_path: Path) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "imbik", "recipes", "int8"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    alone = subprocess.run([sys.executable, "-m", "imbik", "recipes", "int8"], capture_output=True, text=True, timeout=600)
    assert done.stdout == alone.stdout
