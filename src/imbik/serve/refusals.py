"""What a client is told when it gets no answer: a status, a kind and one sentence, in the form of text-embeddings-inference."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        kind: the ``error_type`` of the body: ``validation``, ``overloaded``, ``timeout``, ``unauthorized``, ``not_found``, ``backend``.
        message: what is wrong and what to do.
        headers: of the response.
    """

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, str]:
        """The response as JSON."""
        return {"error": self.message, "error_type": self.kind}


def invalid(message: str) -> Refusal:
    """Return the refusal of a request that can be read and not be answered: 422."""
    return Refusal(422, "validation", message)


def overloaded(seconds: float) -> Refusal:
    """Return the refusal of a full queue: 429, and after how many whole seconds to come back."""
    wait = max(1, round(seconds + 0.5))
    return Refusal(429, "overloaded", f"too many texts wait; try again in {wait} s", {"Retry-After": str(wait)})


def too_late() -> Refusal:
    """Return the refusal of a request whose time is over: 503."""
    return Refusal(503, "timeout", "the answer was not ready in time; ask for fewer texts, or allow more time (X-Timeout-Ms)")


def stopping() -> Refusal:
    """Return the refusal of a server that is about to stop: 503."""
    return Refusal(503, "unhealthy", "the server is stopping", {"Retry-After": "1"})
