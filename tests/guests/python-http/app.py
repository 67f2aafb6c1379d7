import random
import uuid

from wasmill.http import Request, Response, handler


def answer(request: Request) -> Response:
    if request.path.endswith("/fail"):
        raise TypeError("the reason of a failure")
    return Response(f"{random.random()} {uuid.uuid4()} {random.random()}")


IncomingHandler = handler(answer)
