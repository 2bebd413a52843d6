"""The rooms whose formulas decide what a user is told, and the tests that guard them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """Modules below ``src/imbik`` that are changed, and the test files below ``tests`` that should notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "losses": Room(("training/losses.py", "training/heads.py"), ("training/test_heads.py",)),
    "feature-losses": Room(
        ("distillation/feature_losses.py", "distillation/attention_losses.py"),
        ("distillation/test_feature_losses.py",),
    ),
    "projection": Room(("students/projection.py",), ("students/test_projection.py",)),
    "choice": Room(
        ("advise/choice.py", "advise/shortfall.py", "advise/verdict.py", "advise/advice.py"),
        ("advise/test_choice.py", "advise/test_verdict.py", "advise/test_advice.py"),
    ),
    "limits": Room(("export/accuracy.py", "export/parity.py"), ("export/test_parity.py", "export/test_accuracy.py")),
    "measure": Room(
        ("measure/timing.py", "measure/worker.py", "measure/quantities.py", "measure/results.py", "measure/run.py"),
        (
            "measure/test_quantities.py",
            "measure/test_timing.py",
            "measure/test_worker_clock.py",
            "measure/test_results.py",
            "measure/test_run_made.py",
        ),
    ),
    "stats": Room(
        ("tasks/formulas.py", "tasks/metrics.py", "tasks/intervals.py", "tasks/retention.py"),
        ("tasks/test_metrics.py", "tasks/test_intervals.py", "tasks/test_retention.py"),
    ),
    "splitting": Room(("data/splitting.py",), ("data/test_splitting.py", "data/test_near.py")),
    "columns-labels-targets": Room(
        (
            "data/columns.py",
            "data/label_column.py",
            "tasks/labels/matching.py",
            "tasks/label_cells.py",
            "tasks/labels/lists.py",
            "tasks/labels/names.py",
            "tasks/labels/numbers.py",
        ),
        (
            "data/test_columns.py",
            "data/test_label_column.py",
            "tasks/labels/test_matching.py",
            "tasks/labels/test_lists.py",
            "tasks/labels/test_names.py",
            "tasks/labels/test_numbers.py",
        ),
    ),
    "roi-queueing": Room(("roi/cost.py", "roi/queueing.py"), ("roi/test_cost.py",)),
    "recommend-evaluation": Room(
        ("recommend/evaluation/measures.py", "recommend/evaluation/comparison.py", "recommend/data/splits.py"),
        ("recommend/test_splits.py", "recommend/test_tables.py", "recommend/test_evaluation.py"),
    ),
    "kernels": Room(
        ("recommend/kernels/sgd.py", "recommend/kernels/implicit.py"),
        ("recommend/test_descent.py", "recommend/test_kernels.py"),
    ),
    "training": Room(("training/loop.py", "training/learning.py"), ("training/test_loop_formulas.py", "training/test_loop.py")),
    "factorization": Room(("factorization/decomposition.py", "factorization/ranks.py"), ("factorization/test_decomposition.py",)),
    "runtime": Room(("runtime/text_predictor.py",), ("runtime/test_predictor.py",)),
}
"""By name. A room's own tests come first: the first failure ends a try."""
