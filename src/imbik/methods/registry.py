"""The base class of methods, their registry, and the order in which they may follow one another."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from imbik.errors import UserError
from imbik.jobs.steps import name_and_settings, settings_class, with_settings
from imbik.jobs.validated import field_names
from imbik.tasks.outputs import IMAGES
from imbik.tasks.registry import task_of
from imbik.types import Checkpoint, Step

if TYPE_CHECKING:
    from imbik.models.teacher import Teacher
    from imbik.training.context import Context


class Method:
    """One step of a recipe: a frozen dataclass whose fields are its settings.

    ``apply`` does the work. The rest has defaults, and says what other steps must know: a method never names another one, it
    compares what the other declares.

    Attributes:
        name: what a recipe calls it.
        keeps_shape: every module of the model stays where it is and as large as it is; only weights change.
        ties_layers: layers use one another's weights afterwards.
        rewrites_matrices: the entries of weight matrices are computed anew, whatever they were.
        narrows: vectors lose their last numbers, and nothing else changes.
        quantizes: the artefact computes in integers, as its settings say.
        images: it may be taken by networks that read images.
        later: settings that joined after the method was in use, each with the value that means what came before: at that value a record
            does not name them, so that work which an earlier version finished keeps its key.
    """

    name: ClassVar[str] = ""
    keeps_shape: ClassVar[bool] = False
    ties_layers: ClassVar[bool] = False
    rewrites_matrices: ClassVar[bool] = False
    narrows: ClassVar[bool] = False
    quantizes: ClassVar[bool] = False
    images: ClassVar[bool] = False
    later: ClassVar[Mapping[str, object]] = {}
    _given: Mapping[str, object] | None = None

    @classmethod
    def of(cls, settings: object, where: str) -> Self:
        """Make the method from the settings of a recipe.

        Args:
            settings: a mapping; None stands for an empty one.
            where: names the step in messages.

        Raises:
            UserError: an unknown or ill-typed setting.
        """
        made = with_settings(cls, cls.name, settings, where)
        # the dataclass is frozen; kept beside its fields so that a printed recipe repeats its
        # author and does not list every default
        object.__setattr__(made, "_given", {} if settings is None else dict(cast(Mapping[str, object], settings)))
        return made

    def apply(self, checkpoint: Checkpoint, context: Context) -> Checkpoint:
        """Return the changed checkpoint.

        May change ``checkpoint.model`` in place (compress hands over a copy), never the teacher.
        """
        raise NotImplementedError(f"the method {self.name} has no apply()")

    def reads(self, teacher: Teacher) -> list[str]:
        """Return the files, folders and hub names whose content the result depends on, beside teacher and data."""
        return []

    def refuse_task(self, task: str) -> str | None:
        """Return why this step cannot be taken by a model of this task, or None when it can."""
        return None

    def why_not(self, task: str) -> str | None:
        """Return why no model of this task can take the step, or None when it can: :meth:`refuse_task`, and that it is not for images."""
        if task_of(task).reads == IMAGES and not self.images:
            return "a step that networks of images can take"
        return self.refuse_task(task)

    def refuse_before(self, later: Method) -> str | None:
        """Return why ``later`` cannot stand behind this step, or None when it can."""
        return None

    def refuse_after(self, earlier: Method) -> str | None:
        """Return why this step cannot stand behind ``earlier``, or None when it can."""
        return None

    @property
    def lowered(self) -> bool:
        """Whether the model itself stays as it is, so that there is nothing to keep on disk."""
        return False

    @property
    def matrices_alone(self) -> bool:
        """Whether convolutions stay as they are, so that it does next to nothing to a network that is made of them."""
        return False

    @property
    def trains_every_weight(self) -> bool:
        """Whether each entry of a matrix must be free to learn for itself."""
        return False

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, defaults included: first those that the class itself declares.

        >>> make_method({"quantize": {}}, "recipe").settings["scheme"]
        'dynamic'
        """
        return {name: getattr(self, name) for name in field_names(type(self))}

    def record(self) -> Step:
        """Return what a checkpoint records of the step: every setting, so that a changed default is a changed key (but see ``later``)."""
        return {self.name: {name: value for name, value in self.settings.items() if name not in self.later or value != self.later[name]}}

    def written(self) -> Step:
        """Return the step as its author wrote it; of one that was made in a program, every setting.

        >>> make_method({"quantize": {"scheme": "static"}}, "recipe").written()
        {'quantize': {'scheme': 'static'}}
        """
        return self.record() if self._given is None else {self.name: dict(self._given)}


_METHODS: dict[str, type[Method]] = {}
_Class = TypeVar("_Class", bound=type)


def method(name: str) -> Callable[[_Class], _Class]:
    """Register a class under ``name`` and make it a frozen, validated dataclass: unknown or ill-typed settings are refused.

    A class that is no :class:`Method` becomes one, and so gets the members that it does not have.
    """

    def register(cls: _Class) -> _Class:
        made = settings_class(cls)
        if not issubclass(made, Method):
            made = settings_class(type(cls.__name__, (made, Method), {"__module__": cls.__module__, "__doc__": cls.__doc__}))
        made.name = name
        _METHODS[name] = made
        return made  # type: ignore[no-any-return]

    return register


def registered() -> dict[str, type[Method]]:
    """Return all methods by name: every module of this package is imported once, so that its methods register themselves."""
    package = importlib.import_module("imbik.methods")
    for module in pkgutil.iter_modules(package.__path__, "imbik.methods."):
        importlib.import_module(module.name)
    return dict(_METHODS)


def make_method(step: object, where: str) -> Method:
    """Make the method object that one step of a recipe describes.

    Args:
        step: a mapping of one method's name to its settings.
        where: names the step in messages.

    Raises:
        UserError: unknown method, unknown or ill-typed setting.
    """
    name, settings = name_and_settings(step, where, "method: {setting: value, …}")
    methods = registered()
    if name not in methods:
        close = difflib.get_close_matches(str(name), methods, n=1)
        expected, fix = "one of " + ", ".join(sorted(methods)), f"did you mean {close[0]}?" if close else None
        raise UserError("unknown method", where=where, found=name, expected=expected, fix=fix)
    return methods[name].of(settings, where)


def make_methods(steps: Sequence[object], where: str) -> tuple[Method, ...]:
    """Make the method objects of a recipe's steps, in an order that has a meaning.

    Raises:
        UserError: as :func:`make_method` and :func:`check_order`.
    """
    methods = tuple(make_method(step, f"{where}, step {number}") for number, step in enumerate(steps, 1))
    check_order(methods, where)
    return methods


def check_order(methods: Sequence[Method], where: str) -> None:
    """Refuse an order of methods that has no meaning, see :meth:`Method.refuse_before` and :meth:`Method.refuse_after`.

    Raises:
        UserError: with the declared reason.
    """
    # every pair and not neighbors alone: what quantize forbids stays forbidden two steps later
    for number, later in enumerate(methods):
        for earlier in methods[:number]:
            reason = earlier.refuse_before(later) or later.refuse_after(earlier)
            if reason:
                raise UserError(
                    "these steps cannot follow one another",
                    where=f"{where}, step {number + 1}",
                    found=f"{later.name} after {earlier.name}",
                    expected=reason,
                )
