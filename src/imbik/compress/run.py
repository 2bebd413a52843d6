"""The main job: teacher + recipes + data -> candidates, each made, exported and measured the same way, and the best one chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imbik.advise.choice import choose, pareto
from imbik.compress.candidate import apply_steps, make_all
from imbik.compress.linear import LinearStudents, asked_for, spelled
from imbik.compress.measuring import Comparison
from imbik.compress.options import Options, Run
from imbik.compress.ownership import check_output
from imbik.compress.plan import plan_all
from imbik.compress.rivals import Rivals, check_rivals, make_rivals
from imbik.data.carving.apart import learned_apart
from imbik.errors import UserError
from imbik.jobs.paths import with_home
from imbik.jobs.progress import Progress, Silent
from imbik.jobs.workspace import locked
from imbik.measure.results import Results
from imbik.measure.values import Limits
from imbik.models.teacher import Teacher
from imbik.recipes.recipe import Recipe
from imbik.tasks.answers.asking import check_pairs
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Splits


def compress(
    teacher: Checkpoint,
    splits: Splits,
    directory: Path,
    options: Options | None = None,
    *,
    progress: Progress,
    say: Callable[[str], None],
    **changes: object,
) -> Results:
    """Make, export and measure one candidate per recipe, and choose. Run again, it continues behind what is finished.

    Args:
        teacher: the model to compress, :func:`imbik.load_checkpoint`; several that answer together,
            :func:`imbik.models.averaged`: students learn from the mean of their logits, and that is what they are compared with.
        splits: the data, :func:`imbik.load_data`, its labels in the teacher's order.
        directory: gets ``results.json``, ``teacher/``, and a folder per candidate.
        options: what to make and how, see :class:`imbik.compress.Options`.
        progress: where progress is shown.
        say: takes one line for the user.
        changes: fields of the options, one by one: ``source=…, recipes=…, engines=…, limits=…``.

    Returns:
        What ``results.json`` holds.

    Raises:
        UserError: a teacher of pairs and data of single texts (or the other way round), a recipe that cannot be loaded, a folder that
            cannot be written. A recipe that fails while it runs is recorded in ``failures`` and the others go on.
    """
    chosen = (options or Options()).changed(changes)
    chosen = replace(chosen, recipes=spelled(chosen.recipes))
    model = as_teacher(teacher, splits, chosen.source)
    # from here on train holds what a student reads; dev and test stay what quality is stated of
    splits = learned_apart(splits)
    linear = asked_for(chosen, model)
    plans = plan_all(model, splits, chosen)  # refuses now, not after hours
    directory = with_home(directory)
    names = [*(plan.name for plan in plans.candidates), *linear]
    # a folder that is refused stays as it was, without even the lock's file
    check_output(directory, names, chosen.engines, tuple(model.members))
    check_rivals(directory)
    # two runs in one folder would each take the other's half-made candidates for their own
    with locked(directory):
        # and inside the lock: what stands there cannot change under this check
        check_output(directory, names, chosen.engines, tuple(model.members))
        check_rivals(directory)
        run = Run(model, splits, directory, chosen, progress, say)
        made = make_all(plans, run, len(linear))
        if linear:
            made = LinearStudents(linear, len(plans.candidates)).make(made, run)
        comparison = Comparison.of(made, make_rivals(run) if chosen.rivals else Rivals(), run)
        results = judge(comparison.measure(), run.limits, chosen.searched)
        comparison.publish(results)
    return results


def apply_recipe(
    teacher: Checkpoint,
    splits: Splits,
    recipe: str | Path | Recipe,
    directory: Path,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Checkpoint:
    """Return the model that a recipe makes of a teacher, without artefacts and without measuring it.

    Finished steps are kept in ``directory`` and not applied again, by :func:`compress` in the same folder neither.

    Args:
        teacher: the model to compress.
        splits: the data, its labels in the teacher's order.
        recipe: a name, a file, or a recipe.
        directory: where finished steps and the teacher's outputs are kept.
        progress: where progress is shown; None: nowhere.
        say: takes one line for the user.

    Raises:
        UserError: as :func:`compress`.
    """
    options = Options().changed({"recipes": (recipe,)})
    model = as_teacher(teacher, splits, None)
    splits = learned_apart(splits)
    plans = plan_all(model, splits, options).candidates
    if not plans:
        fix = "compress makes it, as an artefact: compress(…, recipes=[…])"
        raise UserError("a linear student is no network: there is no checkpoint of it", where=recipe, fix=fix)
    (plan,) = plans
    with locked(with_home(directory)):
        student, _seconds = apply_steps(plan, Run(model, splits, with_home(directory), options, progress or Silent(), say))
    return replace(student, model=student.model.eval())


def judge(results: Results, limits: Limits, searched: str | None = None) -> Results:
    """Return the same measurements with the Pareto front and the choice under ``limits``; ``searched`` as :func:`choose` takes it."""
    choice = choose(results.measurements, results.baseline, limits, searched)
    return replace(results, choice=choice, pareto=pareto(results.measurements))


def as_teacher(checkpoint: Checkpoint, splits: Splits, source: str | None) -> Teacher:
    """Return the checkpoint as the teacher of this data; what it learns of the data is whether texts come in pairs.

    Raises:
        UserError: it was trained on pairs and the data are single texts, or the other way round.
    """
    # a model that reads each text on its own is one of single texts, whatever the rows hold
    pairs = splits.train.pairs is not None and not task_of(splits.task).apart
    for member in Teacher.of(checkpoint).members.values():
        check_pairs(member.pairs, pairs, "teacher")
    return Teacher.of(replace(checkpoint, pairs=pairs), source)
