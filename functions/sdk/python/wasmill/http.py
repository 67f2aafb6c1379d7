"""Functions of kind http: `IncomingHandler = handler(answer)`, where `answer` takes a `Request` and gives a `Response`."""

from __future__ import annotations

import json as _json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wasmill import _instance

try:
    from componentize_py_types import Err, Ok
    from wit_world.imports import streams, types
except ImportError:
    # Not in a component: the function's own tests run natively.
    streams = types = None

# What one write may hold, by WASI.
_CHUNK = 4096


@dataclass(frozen=True)
class Request:
    """A request, read to its end. The names of headers are in lower case."""

    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for other, value in self.headers if other == name.lower()), None)

    def json(self) -> Any:
        return _json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """A response. Texts and bytes are sent as they are, everything else as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def handler(answer: Callable[[Request], Any]) -> type:
    """Makes what the component exports of a function from a request to a response or a JSON value."""

    class IncomingHandler:
        def handle(self, request: Any, response_out: Any) -> None:
            _instance.begin()
            try:
                result = answer(_read(request))
                _send(result if isinstance(result, Response) else Response(result), response_out)
            finally:
                _instance.end()

    return IncomingHandler


def _read(incoming: Any) -> Request:
    method = incoming.method()
    name = getattr(method, "value", None) or type(method).__name__.removeprefix("Method_").upper()
    path, _, query = (incoming.path_with_query() or "/").partition("?")
    headers = tuple((name, value.decode("latin-1")) for name, value in incoming.headers().entries())
    body = bytearray()
    with incoming.consume() as content, content.stream() as stream:
        while True:
            try:
                body += stream.blocking_read(65536)
            except Err as error:
                if isinstance(error.value, streams.StreamError_Closed):
                    break
                raise
    return Request(name, path, query, headers, bytes(body))


def _send(response: Response, response_out: Any) -> None:
    body, media_type = _bytes(response.body)
    headers = {"content-type": media_type, **{name.lower(): value for name, value in response.headers.items()}}
    outgoing = types.OutgoingResponse(types.Fields.from_list([(name, value.encode()) for name, value in headers.items()]))
    outgoing.set_status_code(response.status)
    content = outgoing.body()
    types.ResponseOutparam.set(response_out, Ok(outgoing))
    with content.write() as stream:
        for at in range(0, len(body), _CHUNK):
            stream.blocking_write_and_flush(body[at : at + _CHUNK])
    types.OutgoingBody.finish(content, None)


def _bytes(body: Any) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    # JSON has no NaN and no infinity.
    return _json.dumps(body, allow_nan=False).encode(), "application/json"
