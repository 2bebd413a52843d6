"""The base class of methods: what an author need not write, how a step is read and recorded, in which order steps may stand."""

from __future__ import annotations

import itertools

import pytest
import yaml

from imbik.errors import UserError
from imbik.methods import registry
from imbik.methods.registry import Method, check_order, make_method, make_methods, method, registered
from imbik.testing.contract import EXAMPLES


@pytest.fixture
def register():
    names = set(registered())
    yield method
    for name in set(registry._METHODS) - names:
        del registry._METHODS[name]


def test_a_class_of_settings_becomes_a_method_with_every_member(register):
    @register("mine")
    class Mine:
        strength: float = 1.0

        def apply(self, checkpoint, context):
            return checkpoint

    made = make_method({"mine": {"strength": "0.5"}}, "recipe")
    assert isinstance(made, Method) and made.strength == 0.5 and made == Mine(strength=0.5)
    assert made.reads(None) == [] and not made.lowered and not made.quantizes and made.refuse_before(made) is None
    with pytest.raises(UserError, match=r"recipe, mine.strenght: unknown setting. Expected: strength. Do: did you mean strength"):
        make_method({"mine": {"strenght": 1}}, "recipe")


def test_a_step_is_recorded_whole_and_printed_as_it_was_written():
    step = yaml.safe_load("distill: {hard: 1, augment: {masked_model: none, copies: 8}}")
    made = make_method(step, "recipe")
    assert made.written() == step
    assert made.record()["distill"]["hard"] == 1.0 and made.record()["distill"]["augment"]["candidates"] == 15
    assert list(made.settings)[:3] == ["temperature", "hard", "augment"]
    # a setting of a later version is recorded where it does something
    assert "piece_dropout" not in made.record()["distill"]
    later = make_method({"distill": {"piece_dropout": 0.5}}, "recipe")
    assert later.record()["distill"]["piece_dropout"] == 0.5 and make_method(later.record(), "again") == later
    assert make_method(made.record(), "again") == made
    assert type(made)(hard=1.0, augment=made.augment).written() == made.record()


def test_a_step_without_settings_may_leave_them_out():
    assert make_method({"distill": None}, "r") == make_method({"distill": {}}, "r")
    with pytest.raises(UserError, match="must be a mapping"):
        make_method({"distill": [1]}, "r")
    with pytest.raises(UserError, match="must name one method"):
        make_method({"distill": {}, "quantize": {}}, "r")
    with pytest.raises(UserError, match=r"unknown method. Found: distil\..*did you mean distill\?"):
        make_method({"distil": {}}, "r")


def test_methods_are_refused_by_what_others_declare(register):
    """An outsider's method that ties layers is refused behind those that share is refused behind, and so on."""

    def declared(**members):
        namespace = {"__annotations__": {}, "apply": lambda self, checkpoint, context: checkpoint}
        return register("other")(type("Other", (Method,), namespace | members))()

    methods = {name: make_method({name: settings}, "r") for name, settings in SETTINGS.items()}
    for name, refused in {
        "ties_layers": {"low_rank", "share", "quantize", "dimensions"},
        "rewrites_matrices": {"cluster", "quantize", "dimensions"},
        "keeps_shape": {"quantize", "dimensions"},
    }.items():
        other = declared(**{name: True})
        assert {first for first, made in methods.items() if made.refuse_before(other)} == refused, name
    assert methods["mobilebert"].refuse_after(declared(keeps_shape=False)) and not methods["mobilebert"].refuse_after(
        declared(keeps_shape=True)
    )


SETTINGS = EXAMPLES
"""A step of every method: whoever adds a method adds it there."""


FORBIDDEN = {
    ("cluster", "cluster"), ("cluster", "low_rank"), ("cluster", "share"), ("low_rank", "share"), ("share", "share"),
    ("cluster", "prune"), ("low_rank", "prune"),  # what is cut must be plain matrices
    *(("quantize", name) for name in SETTINGS),  # it is the last step
    *(("dimensions", name) for name in SETTINGS if name != "quantize"),  # the teacher's vectors have more of them
    *((name, "mobilebert") for name in ("cluster", "embedding", "low_rank", "prune", "quantize", "share", "vocabulary")),
}  # fmt: skip
"""Pairs that have no meaning, in the order in which they stand."""


def test_the_order_of_all_pairs():
    assert set(SETTINGS) == set(registered())
    refused = set()
    for pair in itertools.product(SETTINGS, repeat=2):
        try:
            make_methods([{name: SETTINGS[name]} for name in pair], "pair")
        except UserError:
            refused.add(pair)
    assert refused == FORBIDDEN
    with pytest.raises(UserError, match=r"pair, step 3: .*quantization-aware training changes every weight"):
        make_methods([{"cluster": {}}, {"distill": {}}, {"quantize": {"scheme": "qat"}}], "pair")
    check_order((), "empty")
