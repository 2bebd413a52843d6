"""Bad teachers, recipes and folders: one message with place and remedy, exit code 2, no traceback, nothing left half done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imbik.models.checkpoint import save_checkpoint
from imbik.testing.tiny import tiny_bert

CSV = "text,label\n" + "".join(f"the {w} money {i},{w}\n" for i in range(12) for w in ("bad", "good", "other"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "teacher"
    save_checkpoint(tiny_bert(), folder)
    return folder


@pytest.fixture
def place(tmp_path, teacher) -> Path:
    shutil.copytree(teacher, tmp_path / "teacher")
    (tmp_path / "data.csv").write_text(CSV, encoding="utf-8")
    return tmp_path


def run(capsys, *arguments: object) -> str:
    from imbik.cli.app import main

    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert stopped.value.code == 2, captured.err
    assert "Traceback" not in captured.err
    return captured.err


def compress(place: Path, *more: object) -> list[object]:
    return ["compress", "--teacher", place / "teacher", "--data", place / "data.csv", "--out", place / "out", *more]


def no_folder(place):
    return ["compress", "--teacher", place / "nowhere", "--data", place / "data.csv", "--out", place / "out"]


def a_file(place):
    (place / "model.txt").write_text("x")
    return ["compress", "--teacher", place / "model.txt", "--data", place / "data.csv", "--out", place / "out"]


def empty_folder(place):
    (place / "empty").mkdir()
    return ["compress", "--teacher", place / "empty", "--data", place / "data.csv", "--out", place / "out"]


def broken_config(place):
    (place / "teacher" / "config.json").write_text("{not json")
    return compress(place)


def no_model_type(place):
    (place / "teacher" / "config.json").write_text("{}")
    return compress(place)


def unknown_model_type(place):
    (place / "teacher" / "config.json").write_text('{"model_type": "quantum"}')
    return compress(place)


def no_tokenizer(place):
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (place / "teacher" / name).unlink(missing_ok=True)
    return compress(place)


def broken_tokenizer(place):
    (place / "teacher" / "tokenizer.json").write_text("{}")
    return compress(place)


def pickle_only(place):
    (place / "teacher" / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, place / "teacher" / "pytorch_model.bin")
    return compress(place)


def no_weights(place):
    (place / "teacher" / "model.safetensors").unlink()
    return compress(place)


def torn_weights(place):
    path = place / "teacher" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    return compress(place)


def weights_not_finite(place):
    checkpoint = tiny_bert()
    with torch.no_grad():
        checkpoint.model.classifier.weight[0, 0] = float("nan")
    save_checkpoint(checkpoint, place / "teacher")
    return compress(place)


def head_of_another_name(place):
    path = place / "teacher" / "model.safetensors"
    weights = {name.replace("classifier.", "head.out."): tensor for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    return ["export", place / "teacher", "--out", place / "out"]


def classes_counted_from_one(place):
    config = json.loads((place / "teacher" / "config.json").read_text())
    config["id2label"] = {"1": "bad", "2": "good", "3": "other"}
    (place / "teacher" / "config.json").write_text(json.dumps(config))
    return compress(place)


def a_token_beyond_the_table(place):
    checkpoint = tiny_bert()
    checkpoint.tokenizer.add_tokens(["<name>"])
    save_checkpoint(checkpoint, place / "teacher")
    return compress(place)


def too_short(place):
    return ["finetune", "--base", place / "teacher", "--data", place / "data.csv", "--out", place / "out", "--max-length", "2"]


def pretrained_only(place):
    config = json.loads((place / "teacher" / "config.json").read_text())
    config["architectures"] = ["BertModel"]
    (place / "teacher" / "config.json").write_text(json.dumps(config))
    return compress(place)


def other_labels(place):
    (place / "data.csv").write_text(CSV.replace(",other", ",neutral"))
    return compress(place)


def missing_label(place):
    (place / "data.csv").write_text("\n".join(line for line in CSV.splitlines() if "other" not in line))
    return compress(place)


def other_task(place):
    return compress(place, "--task", "regression")


def unknown_task(place):
    return compress(place, "--task", "translation")


def unknown_metric(place):
    return compress(place, "--metric", "bleu")


def no_recipe(place):
    return compress(place, "--recipe", "layer-3")


def no_recipe_file(place):
    return compress(place, "--recipe", place / "my.yaml")


def recipe(text):
    def write(place):
        (place / "my.yaml").write_text(text)
        return compress(place, "--recipe", place / "my.yaml")

    return write


def two_students(place):
    return compress(place, "--recipe", "layers-1+mini-2x192")


def twice(place):
    return compress(place, "--recipe", "int8", "--recipe", "int8")


def out_is_a_file(place):
    (place / "out").write_text("x")
    return compress(place)


def out_in_a_file(place):
    (place / "file").write_text("x")
    return ["compress", "--teacher", place / "teacher", "--data", place / "data.csv", "--out", place / "file" / "out"]


def unknown_engine(place):
    return compress(place, "--engine", "abacus")


def negative_limit(place):
    return compress(place, "--max-mb", "-1")


def per_cent(place):
    return compress(place, "--min-retention", "97")


def endless_limit(place):
    return compress(place, "--max-latency-ms", "inf")


def unknown_language(place):
    return compress(place, "--lang", "de")


def broken_record(place):
    (place / "teacher" / "imbik.json").write_text("{")
    return compress(place)


def answers_into_nowhere(place):
    (place / "texts.txt").write_text("good\n")
    return ["predict", place / "teacher", "--file", place / "texts.txt", "--out", place / "none" / "answers.csv"]


def answers_onto_a_folder(place):
    (place / "texts.txt").write_text("good\n")
    return ["predict", place / "teacher", "--file", place / "texts.txt", "--out", place]


def base_one_folder_down(place):
    return ["finetune", "--base", place, "--data", place / "data.csv", "--out", place / "out"]


def zero_minutes(place):
    return compress(place, "--minutes", "0")


def missing_unlabelled(place):
    return compress(place, "--unlabelled", place / "more.txt")


def missing_data(place):
    return ["compress", "--teacher", place / "teacher", "--data", place / "none.csv", "--out", place / "out"]


def missing_base(place):
    return ["finetune", "--base", place / "nowhere", "--data", place / "data.csv", "--out", place / "out"]


def negative_rate(place):
    return ["finetune", "--base", place / "teacher", "--data", place / "data.csv", "--out", place / "out", "--learning-rate", "-1"]


def huge_rate(place):
    return ["finetune", "--base", place / "teacher", "--data", place / "data.csv", "--out", place / "out", "--learning-rate", "1e30"]


def unknown_shipped(place):
    return ["recipes", "layers-x"]


CASES = [
    (no_folder, "nowhere", "does not exist"),
    (a_file, "model.txt", "must be a folder"),
    (empty_folder, "empty", "config.json"),
    (broken_config, "teacher", "cannot be opened"),
    (no_model_type, "teacher", "cannot be opened"),
    (unknown_model_type, "teacher", "cannot be opened"),
    (no_tokenizer, "teacher", "tokenizer"),
    (broken_tokenizer, "teacher", "tokenizer"),
    (pickle_only, "pytorch_model.bin", "safetensors"),
    (no_weights, "teacher", "safetensors"),
    (torn_weights, "teacher", "cannot be loaded"),
    (weights_not_finite, "classifier.weight", "not finite"),
    (head_of_another_name, "classifier.weight", "not complete"),
    (classes_counted_from_one, "config.json", "not counted from 0"),
    (a_token_beyond_the_table, "<name>", "no vector for"),
    (too_short, "--max-length", "too few tokens"),
    (pretrained_only, "teacher", "imbik finetune"),
    (other_labels, "neutral", "other"),
    (missing_label, "other", "label"),
    (other_task, "data.csv", "label"),
    (unknown_task, "translation", "regression"),
    (unknown_metric, "bleu", "accuracy"),
    (no_recipe, "layer-3", "layers-3"),
    (no_recipe_file, "my.yaml", "recipe file"),
    (recipe("name: a\nsteps: [\n"), "my.yaml, line", "not valid YAML"),
    (recipe("- distill\n"), "my.yaml", "mapping"),
    (recipe("name: a\nstep: []\n"), "step", "unknown field"),
    (recipe("name: a\nsteps: distill\n"), "steps", "must be a list"),
    (recipe("name: a\n"), "steps", "must be a list"),
    (recipe("name: a\nsteps:\n  - distil: {}\n"), "distil", "unknown method"),
    (recipe("name: a\nsteps:\n  - distill: {temprature: 2}\n"), "temprature", "temperature"),
    (recipe("name: a\nsteps:\n  - distill: {temperature: warm}\n"), "distill.temperature", "warm"),
    (recipe("name: a\nsteps:\n  - distill: {temperature: 0}\n"), "distill.temperature", "greater than 0"),
    (recipe("name: a\nsteps:\n  - distill: {hard: 2}\n"), "distill.hard", "less than or equal to 1"),
    (recipe("name: a\nsteps:\n  - distill: 3\n"), "distill", "mapping"),
    (recipe("name: a\nsteps:\n  - {distill: {}, quantize: {}}\n"), "step 1", "one method"),
    (recipe("name: a\nsteps:\n  - quantize: {scheme: magic}\n"), "quantize.scheme", "magic"),
    (recipe("name: a\nsteps:\n  - quantize: {}\n  - distill: {}\n"), "distill after quantize", "last step"),
    (recipe("name: ../up\nsteps:\n  - quantize: {}\n"), "name", "../up"),
    (recipe("name: teacher\nsteps:\n  - quantize: {}\n"), "teacher", "output folder needs"),
    (recipe("name: a\nseed: -1\nsteps:\n  - quantize: {}\n"), "seed", "-1"),
    (recipe("name: a\nstudent: 4\nsteps:\n  - quantize: {}\n"), "student", "name or a mapping"),
    (two_students, "layers-1", "one student"),
    (twice, "int8", "same name"),
    (out_is_a_file, "out", "file"),
    (out_in_a_file, "out", "folder"),
    (unknown_engine, "abacus", "onnx"),
    (negative_limit, "--max-mb", "above zero"),
    (zero_minutes, "--minutes", "above zero"),
    (per_cent, "--min-retention", "0.97"),
    (endless_limit, "--max-latency-ms", "above zero"),
    (unknown_language, "--lang", "en or tr"),
    (broken_record, "imbik.json", "JSON"),
    (answers_into_nowhere, "none", "no such folder"),
    (answers_onto_a_folder, "--out", "folder"),
    (base_one_folder_down, "config.json", "teacher"),
    (recipe("name: results.json\nsteps:\n  - quantize: {}\n"), "results.json", "output folder needs"),
    (recipe(f"name: {'x' * 300}\nsteps:\n  - quantize: {{}}\n"), "xxx", "more than 100"),
    (recipe("name: a\nstudent: layers-1\nstudent: mini-2x192\nsteps:\n  - quantize: {}\n"), "student", "duplicate"),
    (missing_unlabelled, "more.txt", ""),
    (missing_data, "none.csv", ""),
    (missing_base, "nowhere", "does not exist"),
    (negative_rate, "--learning-rate", "above zero"),
    (huge_rate, "epoch", "lower learning_rate"),
    (unknown_shipped, "layers-x", "layers-3"),
]


@pytest.mark.parametrize(("make", "where", "what"), CASES, ids=[f"{i}-{c[0].__name__}" for i, c in enumerate(CASES)])
def test_one_message_and_exit_code_2(make, where, what, place, capsys):
    message = run(capsys, *make(place))
    errors = [line for line in message.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, message
    assert where in message and what in message


def test_an_unknown_student_in_a_recipe_is_refused_before_anything_is_trained(place, capsys):
    (place / "my.yaml").write_text("name: a\nstudent: layers-99\nsteps:\n  - distill: {}\n")
    message = run(capsys, *compress(place, "--recipe", place / "my.yaml"))
    assert "more layers" in message and not list((place / "out").glob("a/model"))


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root writes anywhere")
def test_a_read_only_output_folder(place, capsys):
    (place / "out").mkdir(mode=0o500)
    assert "out" in run(capsys, *compress(place))


@pytest.mark.parametrize("size", [20_000, 150_000], ids=["while exporting", "while training"])
def test_a_full_disk_stops_with_one_message(place, size):
    """A file-size limit of the process makes writes fail as a full disk does (EFBIG instead of ENOSPC)."""
    resource = pytest.importorskip("resource")

    def limit():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    command = [sys.executable, "-m", "imbik", *[str(a) for a in compress(place, "--recipe", "layers-1")]]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and "error: " in done.stderr
