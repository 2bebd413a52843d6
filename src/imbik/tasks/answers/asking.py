"""Whether what a model is asked is of the kind that it was trained on."""

from __future__ import annotations

from imbik.errors import UserError


def check_pairs(trained: bool | None, given: bool, who: str = "model") -> None:
    """Refuse single texts for a model of pairs, and pairs for a model of single texts: it would answer both, and one of them wrongly.

    Args:
        trained: whether the model was trained on pairs; None, where that is not known, lets both through.
        given: whether it is given pairs.
        who: what the message calls it.

    Raises:
        UserError: saying which.

    >>> check_pairs(True, False)
    Traceback (most recent call last):
    ...
    imbik.errors.UserError: the model was trained on pairs of texts. Found: single texts. Do: name the second texts (--pair, --text-pair).
    """
    if trained is None or trained == given:
        return
    kinds = ("single texts", "pairs of texts")
    fix = "name the second texts (--pair, --text-pair)" if trained else "leave the second texts out: name one column with --text"
    raise UserError(f"the {who} was trained on {kinds[trained]}", found=kinds[given], fix=fix)
