"""The application: addresses, who may ask, and what each answer looks like."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imbik.serve.batcher import Batcher
from imbik.serve.metrics import Metrics
from imbik.serve.models import Loaded, Model
from imbik.serve.openapi import document
from imbik.serve.page import page
from imbik.serve.parent import end_with_parent
from imbik.serve.pictures import read_rows
from imbik.serve.refusals import Refusal, stopping
from imbik.serve.requests import Asked, check_kind, check_reads, timeout_of
from imbik.serve.settings import Limits, Settings
from imbik.serve.vectors import as_openai, normalized, read_embed, read_embeddings, vectors_of
from imbik.tasks.task import Answer

_Wanted = TypeVar("_Wanted")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Factory:
    """Makes the application in a worker process; it can be sent there, an application cannot.

    Attributes:
        settings: of the server.
        loaded: see :func:`build_app`.
    """

    settings: Settings
    loaded: Mapping[str, Loaded] = field(default_factory=dict)

    def __call__(self) -> ASGIApp:
        """Return the application; one of several workers ends with the process that started it."""
        if self.settings.workers > 1:
            end_with_parent()
        return build_app(self.settings, self.loaded)


def build_app(settings: Settings, loaded: Mapping[str, Loaded] | None = None) -> ASGIApp:
    """Return the ASGI application that serves some artefacts; they are loaded when it starts.

    Args:
        settings: artefacts and limits.
        loaded: those that this process has loaded already, by name.
    """
    house = _House(settings, loaded or {})
    predict = [Route(path, house.predict, methods=["POST"]) for path in ("/predict", "/", "/models/{name}/predict")]
    embed = [Route(path, house.embed, methods=["POST"]) for path in ("/embed", "/models/{name}/embed")]
    embed.append(Route("/v1/embeddings", house.embeddings, methods=["POST"]))
    look = [
        Route("/", house.page),
        Route("/models", house.list_models),
        Route("/models/{name}", house.show_model),
        Route("/health", house.ready),
        Route("/health/live", house.live),
        Route("/health/ready", house.ready),
        Route("/metrics", house.numbers),
        Route("/openapi.json", house.openapi),
    ]
    handlers: dict[Any, Callable[[Request, Any], Response]] = {Refusal: _refused, HTTPException: _unknown}
    app = Starlette(routes=[*predict, *embed, *look], lifespan=house.lifespan, exception_handlers=handlers)
    return _Watched(app, house.metrics)


class _House:
    """The models of a worker, and the handlers that ask them."""

    def __init__(self, settings: Settings, loaded: Mapping[str, Loaded]) -> None:
        self.settings, self.metrics, self._loaded = settings, Metrics(), loaded
        self.models: dict[str, Model] = {}
        self.is_ready = False
        self._tokens = [token.encode() for token in settings.tokens]
        self._page = page(settings.lang).encode()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Load the models, watch their folders, and at the end answer what waits."""
        for one in self.settings.models:
            known = self._loaded.get(one.name)
            self.models[one.name] = Model(one, self.settings.compute_threads, self.settings.limits, self.metrics, known)
        watching = asyncio.create_task(self._watch())
        self.is_ready = True
        _log.info("ready", extra={"models": {name: model.version.short for name, model in self.models.items()}})
        yield
        self.is_ready = False
        watching.cancel()
        await asyncio.gather(*(model.close() for model in self.models.values()))

    async def _watch(self) -> None:
        while self.settings.reload_s:
            await asyncio.sleep(self.settings.reload_s)
            for model in self.models.values():
                await model.refresh()

    # --- questions

    async def predict(self, request: Request) -> Response:
        """Answer texts, or images where the model reads those."""
        model, kind = self._model(request), _header(request, "content-type")
        asked, _ = await self._read(request, lambda body, limits: (read_rows(body, kind, limits, images=model.reads_images), None))
        batcher, answers = await self._answered(request, model, asked)
        shown = [_as_predictions(answer, batcher.predictor.labels) for answer in answers]
        return _json(shown if asked.batch else shown[0])

    async def embed(self, request: Request) -> Response:
        """Answer texts with their vectors."""
        asked, wanted = await self._read(request, read_embed)
        _, answers = await self._answered(request, self._model(request), asked)
        vectors = vectors_of(answers)
        return _json(normalized(vectors) if wanted.normalize else vectors)

    async def embeddings(self, request: Request) -> Response:
        """Answer texts with their vectors, as OpenAI's clients ask."""
        asked, wanted = await self._read(request, read_embeddings)
        model = self._named(wanted.model or self.settings.models[0].name)
        batcher, answers = await self._answered(request, model, asked)
        vectors = vectors_of(answers)
        # a thread of its own: to tokenize long texts again must not stop other requests
        encodings = await asyncio.to_thread(batcher.predictor.encode, asked.texts)
        return _json(as_openai(vectors, wanted, wanted.model or self.settings.models[0].name, sum(len(one.ids) for one in encodings)))

    async def _read(self, request: Request, read: Callable[[bytes, Limits], tuple[Asked, _Wanted]]) -> tuple[Asked, _Wanted]:
        """Return what a request asks, if it may."""
        self._check_token(request)
        if not self.is_ready:
            raise stopping()
        # read once before the body: a client that names no number is told before it sends more
        timeout_of(_header(request, "x-timeout-ms"), self.settings.limits)
        request.state.begun = time.monotonic()
        return read(await self._body(request), self.settings.limits)

    async def _answered(self, request: Request, model: Model, asked: Asked) -> tuple[Batcher, list[Answer]]:
        """Return a model's answers, and the version that gave them: another may come while the body is read."""
        seconds = timeout_of(_header(request, "x-timeout-ms"), self.settings.limits)
        batcher = model.batcher
        check_reads(model.reads_images, asked)
        check_kind(batcher.predictor.pairs, asked)
        return batcher, await batcher.answers(asked, seconds - (time.monotonic() - request.state.begun))

    async def _body(self, request: Request) -> bytes:
        """Return the body, as far as the limits of size and time allow."""
        limits = self.settings.limits
        too_large = Refusal(413, "validation", f"the body is larger than {limits.body_bytes:,} bytes", {"Connection": "close"})
        length = _header(request, "content-length") or ""
        if length.isdecimal() and int(length) > limits.body_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(limits.body_s):
                async for part in request.stream():
                    body += part
                    if len(body) > limits.body_bytes:
                        raise too_large
        except TimeoutError:
            raise Refusal(408, "timeout", f"the body did not come within {limits.body_s:g} s", {"Connection": "close"}) from None
        return bytes(body)

    def _check_token(self, request: Request) -> None:
        if not self._tokens:
            return
        kind, _, given = (_header(request, "authorization") or "").partition(" ")
        sent = given.strip().encode("utf-8", "replace")
        # every token is compared, in constant time: the answer's time tells nothing
        matches = [hmac.compare_digest(sent, token) for token in self._tokens]
        if kind.lower() != "bearer" or not any(matches):
            raise Refusal(401, "unauthorized", "send Authorization: Bearer and a valid token", {"WWW-Authenticate": "Bearer"})

    def _model(self, request: Request) -> Model:
        return self._named(request.path_params["name"] if "name" in request.path_params else self.settings.models[0].name)

    def _named(self, name: str) -> Model:
        if name not in self.models:
            raise Refusal(404, "not_found", f"no such model; there are: {', '.join(self.models)}")
        return self.models[name]

    # --- what is here, and how it is

    async def page(self, request: Request) -> Response:
        """Show the page to try the models."""
        return HTMLResponse(self._page, headers={"Content-Security-Policy": _ONLY_OURS})

    async def list_models(self, request: Request) -> Response:
        """List the models."""
        self._check_token(request)
        return _json([model.about() for model in self.models.values()])

    async def show_model(self, request: Request) -> Response:
        """Describe a model."""
        self._check_token(request)
        return _json(self._model(request).about())

    async def live(self, request: Request) -> Response:
        """Say that the process answers."""
        return _json({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """Say whether the models are loaded and the server is not stopping."""
        if not self.is_ready:
            raise stopping()
        return _json({"status": "ready"})

    async def numbers(self, request: Request) -> Response:
        """Show the counters to Prometheus."""
        text, kind = self.metrics.page()
        return Response(text, media_type=kind)

    async def openapi(self, request: Request) -> Response:
        """Describe all of this to machines."""
        return _json(document(self.settings, {name for name, model in self.models.items() if model.reads_images}))


_ONLY_OURS = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def _as_predictions(answer: Answer, labels: tuple[str, ...]) -> Any:
    """Return an answer in the form of text-embeddings-inference where it has labels or one value, else as the task gives it."""
    if "labels" in answer:
        return [{"score": one["probability"], "label": one["label"]} for one in answer["labels"]]
    if "value" in answer:
        return [{"score": answer["value"], "label": labels[0]}]
    return answer


def _header(request: Request, name: str) -> str | None:
    return request.headers.get(name)


def _json(content: Any) -> Response:
    return Response(
        json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"), media_type="application/json"
    )


def _refused(request: Request, refusal: Refusal) -> Response:
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


def _unknown(request: Request, error: HTTPException) -> Response:
    """Answer an address or a method that is not here."""
    kind = "not_found" if error.status_code == 404 else "validation"
    return JSONResponse({"error": str(error.detail), "error_type": kind}, error.status_code, error.headers)


class _Watched:
    """Counts and logs every request, and turns a defect of ours into one JSON line for the client and a traceback for the log."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            _log.exception("a request failed")
            if not status:
                body = {"error": "the server failed; its log says why", "error_type": "backend"}
                await JSONResponse(body, 500)(scope, receive, watched)
        finally:
            self._note(scope, status, time.perf_counter() - begun)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        # the address as it is written in the code: a stranger's addresses would be counters without end
        path = route.path if isinstance(route, Route) else "other"
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        if status >= 400:
            self.metrics.refused.labels(str(status)).inc()
        _log.info("request", extra={"method": scope["method"], "path": path, "status": status, "ms": round(1000 * seconds, 3)})
