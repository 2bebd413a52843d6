"""Changes to a module's code: every one that the operators of cosmic-ray make, and those of formulas that no operator makes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

OPERATORS = (
    *(f"ReplaceBinaryOperator_{was}" for was in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul")),
    *("ReplaceBinaryOperator_BitAnd_BitOr", "ReplaceBinaryOperator_BitOr_BitAnd"),
    *(f"ReplaceComparisonOperator_{was}" for was in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_Gt", "Gt_Lt", "LtE_GtE", "GtE_LtE")),
    *(f"ReplaceComparisonOperator_{was}" for was in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_Invert"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "AddNot"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop"),
)
"""Operators of cosmic-ray that change what a formula says; the others (``a + b`` to ``a << b``) mostly end in an error at once."""

BY_HAND = Path(__file__).with_name("by_hand.yaml")


@dataclass(frozen=True)
class Change:
    """One change of one module.

    Attributes:
        module: below ``src/imbik``.
        line: first line that differs, from 1.
        was, became: that line before and after.
        code: the whole module after it.
    """

    module: str
    line: int
    was: str
    became: str
    code: str

    @classmethod
    def of(cls, module: str, before: str, after: str) -> Change:
        """Return the change between two texts of a module."""
        old, new = before.splitlines(), after.splitlines()
        first = next(i for i, line in enumerate(old) if i >= len(new) or line != new[i])
        return cls(module, first + 1, old[first].strip(), new[first].strip() if first < len(new) else "", after)


def by_operators(module: str, before: str) -> Iterator[Change]:
    """Yield every change that the operators make, without those that alter nothing but annotations."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    meaning, seen = _meaning(before), set()
    for name in OPERATORS:
        number = 0
        while (after := mutate_code(before, get_operator(f"core/{name}")(), number)) is not None:
            number += 1
            if after not in seen and _meaning(after) not in (meaning, ""):
                seen.add(after)
                yield Change.of(module, before, after)


def by_hand(module: str, before: str) -> Iterator[Change]:
    """Yield the changes of ``by_hand.yaml``."""
    for was, became in _written(module).items():
        yield Change.of(module, before, before.replace(was, became))


def stale(module: str, before: str) -> list[str]:
    """Return the texts of ``by_hand.yaml`` that do not stand in the module exactly once."""
    return [was for was in _written(module) if before.count(was) != 1]


def _written(module: str) -> dict[str, str]:
    return yaml.safe_load(BY_HAND.read_text("utf-8")).get(module) or {}


def _meaning(code: str) -> str:
    """Return the code's tree without annotations and the marks of arguments that must be named; nothing of what is no code."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # ** of a call or a dictionary is a power to the operators
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.arguments):
            # whether an argument must be named is no formula: to the operators the lone * is a product
            node.args = node.posonlyargs + node.args + node.kwonlyargs
            node.posonlyargs, node.kwonlyargs = [], []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip":
            node.keywords = []  # strict tells a slip of the author's, which no input reaches
    return ast.dump(tree)
