import random
import secrets
import uuid
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


ways = {
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
