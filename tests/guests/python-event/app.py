import asyncio
import encodings.idna  # Looking a name up needs it.
import importlib
import json
import locale
import os
import random
import secrets
import socket
import sys
import threading
import time
import urllib.request
import uuid
import zoneinfo
from typing import Any

from wasmill.event import Event, Reject, handler, log

calls = 0


def draw() -> str:
    return f"{random.random()} {uuid.uuid4()} {secrets.token_hex(8)} {random.random()}"


def show() -> None:
    global calls
    calls += 1
    print(f"call {calls}", end="")


def text() -> None:
    log("info", "\ud800 in a log", field="\ud800")
    raise Reject("\ud800 in a reason")


def fail() -> None:
    raise TypeError("the reason of a failure")


def recurse(depth: int = 0) -> int:
    return 1 + recurse(depth + 1)


async def inner() -> int:
    return 7


async def awaits() -> int:
    return await inner()


async def rejects() -> None:
    await inner()
    raise Reject("rejected after an await")


class Never:
    def __await__(self) -> Any:
        yield self


async def never() -> None:
    await Never()


def fails(function: Any, *arguments: Any) -> str:
    """The name of what a call raises."""
    try:
        function(*arguments)
    except Exception as error:
        return type(error).__name__
    return "nothing"


def there(names: list[str], look: Any) -> list[str]:
    return [name for name in names if fails(look, name) == "nothing"]


# While the component is built, as nothing is found later that was not imported then.
modules = there(["ssl", "ctypes", "bz2", "lzma", "decimal", "zoneinfo"], importlib.import_module)


def facts() -> Any:
    before = time.monotonic()
    time.sleep(0.02)
    return {
        "numbers": json.dumps(json.loads("[9007199254740993,123456789012345678901234567890]")),
        "infinity": repr(json.loads("1e400")),
        "slept": 0.015 < time.monotonic() - before < 5,
        "zone": time.timezone,
        "locale": locale.setlocale(locale.LC_ALL),
        "stdin": sys.stdin.read(),
        "file": os.path.exists("/etc/passwd"),
        "modules": modules,
        "later": fails(importlib.import_module, "calendar"),
        "codecs": there(["utf-8", "latin-1", "utf-16", "cp1252", "idna"], "a".encode),
        "thread": fails(threading.Thread(target=print).start),
        "asyncio": fails(asyncio.run, inner()),
        "zoneinfo": fails(zoneinfo.ZoneInfo, "Europe/Berlin"),
    }


def get() -> None:
    urllib.request.urlopen("http://api.example.com/")


def connect() -> None:
    socket.create_connection(("192.0.2.1", 80))


ways = {
    "facts": facts,
    "nan": lambda: float("nan"),
    "get": get,
    "connect": connect,
    "random": draw,
    "print": show,
    "text": text,
    "fail": fail,
    "recurse": recurse,
    "awaits": awaits,
    "rejects": rejects,
    "never": never,
}


def handle(event: Event) -> Any:
    return ways[event.text()]()


Handler = handler(handle)
