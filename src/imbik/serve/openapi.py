"""The description of the addresses for machines (OpenAPI 3.1)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from imbik import __version__
from imbik.serve.pictures import OCTETS, ImagesRequest
from imbik.serve.requests import ErrorAnswer, Prediction, PredictRequest
from imbik.serve.settings import Settings
from imbik.serve.vectors import EmbeddingsRequest, EmbedRequest

_ASKED: tuple[type[BaseModel], ...] = (PredictRequest, ImagesRequest, EmbedRequest, EmbeddingsRequest)
_VECTORS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}

_REFUSALS = {
    "400": "The body is not valid JSON.",
    "401": "The token is missing or wrong.",
    "404": "There is no such model.",
    "408": "The body did not come in time.",
    "413": "The body is too large, or an image has too many pixels.",
    "415": "The body is of a type that the model does not read.",
    "422": "The request has another shape, or is over a limit.",
    "429": "Too many texts wait; Retry-After says when to come back.",
    "500": "The model failed.",
    "503": "The time is over, or the server is stopping.",
}


def document(settings: Settings, images: Collection[str] = ()) -> dict[str, Any]:
    """Return the OpenAPI document of a server.

    Args:
        settings: whose limits and tokens it states.
        images: names of the models that read images.
    """
    _, schemas = models_json_schema(
        [*((asked, "validation") for asked in _ASKED), (Prediction, "serialization"), (ErrorAnswer, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    components: dict[str, Any] = {"schemas": schemas["$defs"]}
    secured: dict[str, Any] = {}
    if settings.tokens:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        secured = {"security": [{"token": []}]}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": [one.name for one in settings.models]}}
    names = [one.name for one in settings.models]
    first, any_of = (_predict(settings, {one in images for one in asked}) | secured for asked in (names[:1], names))
    embed = _asks(settings, "Give texts their vectors.", EmbedRequest, _VECTORS) | secured
    openai = _asks(settings, "Give texts their vectors, in the form of OpenAI.", EmbeddingsRequest, {"type": "object"}) | secured
    return {
        "openapi": "3.1.0",
        "info": {"title": "imbik serve", "version": __version__},
        "paths": {
            "/predict": {"post": first | {"operationId": "predict"}},
            "/models/{name}/predict": {"post": any_of | {"operationId": "predictBy", "parameters": [*any_of["parameters"], name]}},
            "/embed": {"post": embed | {"operationId": "embed"}},
            "/models/{name}/embed": {"post": embed | {"operationId": "embedBy", "parameters": [*embed["parameters"], name]}},
            "/v1/embeddings": {"post": openai | {"operationId": "embeddings"}},
            "/models": {"get": _look("List the models.", "401") | secured},
            "/models/{name}": {"get": _look("Describe a model.", "401", "404") | secured | {"parameters": [name]}},
            "/health/live": {"get": _look("Say that the process answers.")},
            "/health/ready": {"get": _look("Say whether the models are loaded.", "503")},
            "/health": {"get": _look("As /health/ready.", "503")},
            "/metrics": {"get": _look("Counters for Prometheus.", kind="text/plain")},
            "/openapi.json": {"get": _look("This document.")},
        },
        "components": components,
    }


def _predict(settings: Settings, images: Collection[bool]) -> dict[str, Any]:
    """Return the description of an address that answers, of models that read images or texts."""
    one = {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
    # a task whose answers are no labels gives objects of its own
    answer = {"anyOf": [one, {"type": "array", "items": one}, {"type": "object"}, {"type": "array", "items": {"type": "object"}}]}
    asked = [kind for reads, kind in ((False, PredictRequest), (True, ImagesRequest)) if reads in images]
    rows = " or ".join(name for reads, name in ((False, "texts"), (True, "images")) if reads in images)
    found = _asks(settings, f"Answer {rows}: the labels with their scores, the highest first.", asked[0], answer)
    content = found["requestBody"]["content"]
    if len(asked) > 1:
        content["application/json"]["schema"] = {"anyOf": [_named(kind) for kind in asked]}
    if True in images:
        # OpenAPI 3.1: a body that is a file has an empty schema
        content |= {"image/*": {"schema": {}}, OCTETS: {"schema": {}}}
    return found


def _asks(settings: Settings, summary: str, asked: type[BaseModel], answer: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an address that asks a model."""
    timeout = {
        "name": "X-Timeout-Ms",
        "in": "header",
        "description": f"Milliseconds that the answer may take, at most {settings.limits.timeout_s * 1000:g}.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    }
    return {
        "summary": summary,
        "parameters": [timeout],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _named(asked)}},
        },
        "responses": {"200": _body("The answers.", answer)} | {status: _error(text) for status, text in _REFUSALS.items()},
    }


def _named(kind: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _look(summary: str, *refusals: str, kind: str = "application/json") -> dict[str, Any]:
    found = {"200": {"description": summary, "content": {kind: {"schema": {}}}}}
    return {"summary": summary, "responses": found | {status: _error(_REFUSALS[status]) for status in refusals}}


def _body(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error(description: str) -> dict[str, Any]:
    return _body(description, {"$ref": "#/components/schemas/ErrorAnswer"})
