"""Greets whoever the event names."""

from wasmill.event import Event, Reject, handler, log


def handle(event: Event) -> dict[str, str]:
    data = event.json()
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str):
        raise Reject("the data must be an object with a name")
    log("info", "greeted", name=name)
    return {"greeting": greet(name)}


def greet(name: str) -> str:
    name = name.strip()
    return f"Hello, {name}!" if name else "Hello!"


Handler = handler(handle)
