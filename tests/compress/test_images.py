"""Image classifiers made small: students, steps, and what has no meaning for images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from picture_data import LABELS, split_folder

from imbik.advise.choice import pareto
from imbik.compress.options import Options
from imbik.compress.plan import plan_all
from imbik.compress.run import apply_recipe, compress
from imbik.data.load import load_data
from imbik.distillation.image_labels import ViewedLabels
from imbik.errors import UserError
from imbik.jobs.progress import Silent
from imbik.jobs.workspace import MODEL_FILES
from imbik.measure.rows import heard, said
from imbik.methods.registry import make_method
from imbik.models.checkpoint import save_checkpoint
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import load_recipe, parse_recipe
from imbik.report.render import write_report
from imbik.students.catalogue import make_student
from imbik.testing.tiny import tiny_context
from imbik.testing.tiny_images import config_folder, tiny_image_model
from imbik.training.encoding import encode_for
from imbik.training.heads import softened_kl
from imbik.training.images.views import Views
from imbik.training.prediction import predict_logits, to_batch
from imbik.training.teacher_cache import TeacherLogits

TASK = "image-classification"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_data(split_folder(tmp_path_factory.mktemp("data"), train=12, test=6), task=TASK, labels=LABELS, say=lambda line: None)


def outputs(checkpoint, data):
    return predict_logits(checkpoint.model, encode_for(TASK, data.test, checkpoint.tokenizer))


def recipe(*steps: str, student: str = "null"):
    return parse_recipe(f"name: r\nstudent: {student}\nsteps: [{', '.join(steps)}]", "r.yaml")


def planned(teacher, data, *recipes):
    return plan_all(Teacher.of(teacher), data, Options(recipes=recipes, engines=("onnx",)).changed({}))


def test_a_transformer_keeps_layers_and_at_full_depth_is_its_teacher(data):
    teacher = tiny_image_model("vit", LABELS, num_hidden_layers=4)
    same = make_student("layers-4", teacher, data.train, 0)
    np.testing.assert_allclose(outputs(same, data), outputs(teacher, data), atol=1e-6)
    student = make_student("layers-2", teacher, data.train, 0)
    assert student.model.config.num_hidden_layers == 2
    for new, old in ((0, 1), (1, 3)):
        for name, value in student.model.vit.layers[new].state_dict().items() if hasattr(student.model.vit, "layers") else ():
            assert torch.equal(value, teacher.model.vit.layers[old].state_dict()[name])


@pytest.mark.parametrize("family", ["resnet", "convnext"])
def test_stages_keep_their_first_block_and_at_full_depth_are_the_teacher(family, data):
    teacher = tiny_image_model(family, LABELS, depths=[3, 2])
    same = make_student("blocks-3", teacher, data.train, 0)
    np.testing.assert_allclose(outputs(same, data), outputs(teacher, data), atol=1e-6)
    student = make_student("blocks-2", teacher, data.train, 0)
    assert student.model.config.depths == [2, 2]
    theirs, ours = teacher.model.state_dict(), student.model.state_dict()
    first = [name for name in ours if ".stages.0.layers.1." in name]
    assert first and all(torch.equal(ours[name], theirs[name.replace(".layers.1.", ".layers.2.")]) for name in first)


def test_half_of_the_width_starts_at_random_and_says_so(data):
    teacher = tiny_image_model("resnet", LABELS, hidden_sizes=[16, 32], embedding_size=16)
    student = make_student({"family": "stages", "width": 0.5}, teacher, data.train, 0)
    assert student.model.config.hidden_sizes == [8, 16] and student.notes[0].kind == "random_start"
    with pytest.raises(UserError, match="above 0"):
        make_student({"family": "stages", "width": 0}, teacher, data.train, 0)


@pytest.mark.parametrize(
    ("family", "asked", "problem"),
    [
        ("resnet", "layers-1", "no stack of like layers"),
        ("vit", "blocks-1", "no stages of blocks"),
        ("vit", "mini-2x128", "not to another width"),
        ("vit", "bag", "reads texts"),
        ("vit", "vocabulary", "networks of images"),
        ("vit", "tinybert", "."),
        ("vit", "albert", "networks of images"),
        ("vit", "int8-qat", "static"),
        ("vit", "int4", "static"),
        ("resnet", "int8", "convolutions"),
        ("resnet", "svd-50", "convolutions"),
    ],
)
def test_what_has_no_meaning_is_refused_before_anything_is_made(family, asked, problem, data):
    with pytest.raises(UserError, match=problem):
        planned(tiny_image_model(family, LABELS), data, asked)


@pytest.mark.parametrize(
    "step",
    ["{distill: {augment: {masked_model: none}}}", "{distill: {piece_dropout: 0.1}}", "{distill: {hard: 0.5, views: {mix: 0.5}}}"],
)
def test_changes_of_texts_are_refused_for_images(step, data):
    with pytest.raises(UserError, match="views"):
        planned(tiny_image_model("vit", LABELS), data, recipe(step))


def test_views_of_texts_are_refused():
    assert "augment" in make_method({"distill": {"views": True}}, "r").refuse_task("classification")
    assert make_method({"distill": {}}, "r").refuse_task("classification") is None


@pytest.mark.parametrize("family", ["vit", "deit", "resnet", "convnext", "mobilenet_v2", "efficientnet"])
def test_the_recipes_that_are_tried_by_default_can_all_be_planned(family, data):
    plans = planned(tiny_image_model(family, LABELS), data)
    assert plans.candidates and all(plan.refusal is None for plan in plans.candidates)


def test_the_teacher_reads_the_views_that_the_student_is_shown(data):
    teacher, student = Teacher.of(tiny_image_model("resnet", LABELS)), tiny_image_model("resnet", LABELS, seed=1)
    stored = TeacherLogits(outputs(teacher, data), np.arange(len(data.test), dtype=np.int32))
    loss = ViewedLabels(teacher, Views(), TASK, stored, None, 2.0, 0.0).train()
    batch = to_batch(encode_for(TASK, data.test, teacher.tokenizer), np.arange(8))
    torch.manual_seed(3)
    shown, wanted = loss.see(batch)
    with torch.no_grad():
        assert torch.allclose(wanted, teacher.model.eval()(pixel_values=shown["pixel_values"]).logits, atol=1e-6)
    assert not torch.equal(shown["pixel_values"], batch["pixel_values"])
    torch.manual_seed(3)
    student.model.eval()
    expected = softened_kl(student.model(pixel_values=shown["pixel_values"]).logits, wanted, 2.0)
    assert float(loss(student.model, batch).detach()) == pytest.approx(float(expected), rel=1e-4)
    assert not any(parameter is mine for mine in teacher.model.parameters() for parameter in loss.parameters())
    assert loss.eval().see(batch)[1] is None


@pytest.mark.parametrize(("family", "name"), [("vit", "layers-1"), ("resnet", "{family: stages, width: 0.5}")])
def test_distilling_brings_a_student_nearer_to_its_teacher_and_leaves_that_alone(family, name, data, tmp_path):
    teacher = tiny_image_model(family, LABELS, **({"num_hidden_layers": 3} if family == "vit" else {}))
    before = {key: value.clone() for key, value in teacher.model.state_dict().items()}
    made = apply_recipe(teacher, data, recipe("{distill: {epochs: 6, learning_rate: 3.0e-3, views: {mix: 0}}}", student=name), tmp_path)
    start, wanted = outputs(make_student(yaml.safe_load(name), teacher, data.train, 0), data), outputs(teacher, data)
    gap = [float(softened_kl(torch.from_numpy(one), torch.from_numpy(wanted), 1.0)) for one in (start, outputs(made, data))]
    assert gap[1] < gap[0]
    assert all(torch.equal(value, before[key]) for key, value in teacher.model.state_dict().items())


def test_a_student_of_another_size_learns_without_views_and_says_so(data, tmp_path):
    teacher = tiny_image_model("vit", LABELS)
    folder = config_folder(tmp_path / "small", "vit", LABELS, side=8)
    context = tiny_context(teacher, data, tmp_path / "work")
    student = make_student({"from": str(folder)}, teacher, data.train, 0)
    assert [note.kind for note in student.notes] == ["random_weights"]
    made = make_method({"distill": {"epochs": 1}}, "r").apply(student, context)
    assert "views_differ" in [note.kind for note in made.notes]
    with pytest.raises(UserError, match="same views"):
        make_method({"distill": {"epochs": 1, "views": True}}, "r").apply(student, context)


@pytest.mark.parametrize("method", ["svd", "asvd", "fwsvd"])
def test_matrices_of_a_transformer_are_factorized_and_reload(method, data, tmp_path):
    from imbik.models.pretrained import load_checkpoint

    teacher = tiny_image_model("vit", LABELS, hidden_size=64, intermediate_size=128)
    made = apply_recipe(teacher, data, recipe(f"{{low_rank: {{method: {method}, budget: 0.5}}}}"), tmp_path / "work")
    assert sum(p.numel() for p in made.model.parameters()) < 0.8 * sum(p.numel() for p in teacher.model.parameters())
    save_checkpoint(made, tmp_path / "model")
    assert np.array_equal(outputs(load_checkpoint(tmp_path / "model"), data), outputs(made, data))


def test_rows_survive_the_way_to_a_worker():
    assert heard(said(b"\x89PNG\x00")) == b"\x89PNG\x00" and heard(said("text")) == "text"


def test_every_file_of_a_model_is_known_as_made_here(tmp_path):
    save_checkpoint(tiny_image_model("resnet", LABELS), tmp_path / "a")
    # a run that goes on refuses a candidate's folder with any other file
    assert {path.name for path in (tmp_path / "a").iterdir()} <= MODEL_FILES


@pytest.mark.slow
def test_compress_measures_chooses_and_reports(data, tmp_path):
    from imbik.finetune.classifier import finetune
    from imbik.training.settings import Training

    base = config_folder(tmp_path / "base", "resnet", LABELS)
    quick = Training(epochs=8, learning_rate=3e-3, batch_tokens=128)
    teacher = finetune(base, data, tmp_path / "teacher", settings=quick, progress=Silent(), say=lambda line: None).checkpoint
    lines: list[str] = []
    recipes = (recipe("{distill: {epochs: 2, learning_rate: 3.0e-3}}", student="blocks-1"), load_recipe("int8-static"))
    options = {"recipes": recipes, "engines": ("onnx", "numpy"), "threads": 1, "rivals": True, "source": str(tmp_path / "teacher")}
    results = compress(teacher, data, tmp_path / "run", progress=Silent(), say=lines.append, **options)
    ids = {one.id for one in results.measurements}
    assert ids == {"teacher/pytorch", "teacher/onnx", "r/onnx", "int8-static/onnx", "linear-pixels/onnx"}
    assert not results.failures and results.choice is not None and pareto(results.measurements)
    by_id = {one.id: one for one in results.measurements}
    assert by_id["int8-static/onnx"].bytes < by_id["teacher/onnx"].bytes and by_id["int8-static/onnx"].parity.int8_ops > 0
    assert by_id["teacher/onnx"].flops_per_item > 1e4 and by_id["linear-pixels/onnx"].rival
    shown = [one.text for several in results.disagreements.values() for one in several]
    assert all(name.split("/")[0] in LABELS and name.endswith(".png") for name in shown)
    for lang in ("en", "tr"):
        write_report([results], tmp_path / f"{lang}.html", lang=lang)
        assert "int8-static" in (tmp_path / f"{lang}.html").read_text("utf-8")
    again = compress(teacher, data, tmp_path / "run", progress=Silent(), say=lines.append, **options)
    assert "r: finished earlier" in lines and again.choice == results.choice
