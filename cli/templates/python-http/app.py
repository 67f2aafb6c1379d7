"""Greets whoever the path names: GET …/Ada"""

from urllib.parse import unquote

from wasmill.http import Request, Response, handler


def answer(request: Request) -> Response | dict[str, str]:
    if request.method != "GET":
        return Response("only GET is answered\n", status=405, headers={"allow": "GET"})
    return {"greeting": greet(unquote(request.path.rpartition("/")[2]))}


def greet(name: str) -> str:
    name = name.strip()
    return f"Hello, {name}!" if name else "Hello!"


IncomingHandler = handler(answer)
