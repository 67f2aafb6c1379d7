"""Functions of kind event: `Handler = handler(handle)`, where `handle` takes an `Event`."""

from __future__ import annotations

import inspect as _inspect
import json as _json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wasmill import _instance

try:
    from componentize_py_types import Err
    from wit_world.imports import context, types
    from wit_world.imports import log as logging
except ImportError:
    # Not in a component: the function's own tests run natively, and the log goes nowhere.
    context = types = logging = None


@dataclass(frozen=True)
class Event:
    """An event as CloudEvents 1.0 has it."""

    type: str = ""
    data: bytes | None = None
    id: str = ""
    source: str = ""
    subject: str | None = None
    time: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    datacontenttype: str | None = None

    def text(self) -> str:
        return (self.data or b"").decode()

    def json(self) -> Any:
        try:
            return _json.loads(self.data or b"")
        except ValueError as error:
            raise Reject(f"the data is not JSON: {error}") from error


@dataclass(frozen=True)
class Emitted:
    """An event to publish if the result commits. Bytes are published as they are, all other data as JSON."""

    type: str
    data: Any = None
    source: str | None = None
    subject: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    datacontenttype: str | None = None


@dataclass(frozen=True)
class Output:
    """A result that is more than a JSON value. Bytes are the result as they are, all other data as JSON."""

    data: Any
    content_type: str | None = None
    emit: Sequence[Emitted] = ()


class Reject(Exception):
    """The event will never work."""


class Retry(Exception):
    """It may work later, after `delay` seconds if that is given. Any other exception is tried again too."""

    def __init__(self, reason: str, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


def log(level: str, message: str, **fields: Any) -> None:
    """Adds a line to the log; the level is trace, debug, info, warn or error."""
    if logging is not None:
        # Not escaped, as an escaped lone surrogate is one for whoever reads it.
        texts = [(_valid(name), _valid(_json.dumps(value, ensure_ascii=False))) for name, value in fields.items()]
        logging.log(logging.Level[level.upper()], _valid(message), texts)


def execution() -> Any:
    """What is known about the execution at hand: id, tenant, function, version, attempt, deadline_ms, traceparent, …"""
    return context.current()


def handler(handle: Callable[[Event], Any]) -> type:
    """Makes what the component exports of a function from an event to a result: a JSON value or an `Output`."""

    class Handler:
        def handle(self, raw: Any) -> Any:
            _instance.begin()
            attributes = {**vars(raw), "extensions": dict(raw.extensions)}
            try:
                return _output(_awaited(handle(Event(**attributes))))
            except Reject as error:
                raise Err(types.Failure_Reject(_valid(str(error)))) from error
            except Retry as error:
                delay = None if error.delay is None else int(error.delay * 1000)
                raise Err(types.Failure_Retry(types.RetryAdvice(_valid(str(error)), delay))) from error
            except Exception as error:
                # The error itself before the way to it: what is long is cut.
                what = "".join(traceback.format_exception_only(error)) + traceback.format_exc()
                raise Err(types.Failure_Retry(types.RetryAdvice(_valid(what), None))) from error
            finally:
                _instance.end()

    return Handler


def _awaited(result: Any) -> Any:
    """What a coroutine returns. There is no event loop: one that waits for something else than coroutines never goes on."""
    if not _inspect.iscoroutine(result):
        return result
    try:
        awaited = result.send(None)
    except StopIteration as end:
        return end.value
    result.close()
    raise RuntimeError(f"the handler awaits {awaited!r}, which can never be ready: there is no event loop")


def _valid(text: Any) -> str:
    """A text as the host takes it: a lone surrogate becomes U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in str(text))


def _bytes(data: Any) -> tuple[bytes, str]:
    if isinstance(data, bytes):
        return data, "application/octet-stream"
    # JSON has no NaN and no infinity.
    return _json.dumps(data, allow_nan=False).encode(), "application/json"


def _output(result: Any) -> Any:
    output = result if isinstance(result, Output) else Output(result)
    data, media_type = _bytes(output.data)
    return types.Output(output.content_type or media_type, data, [_emitted(event) for event in output.emit])


def _emitted(event: Emitted) -> Any:
    data, media_type = (None, None) if event.data is None else _bytes(event.data)
    return types.EmittedEvent(
        event.type, event.source, event.subject, list(event.extensions.items()), event.datacontenttype or media_type, data
    )
