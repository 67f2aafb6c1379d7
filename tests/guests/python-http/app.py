import random
import uuid

from wasmill.http import Request, Response, handler


def answer(request: Request) -> Response:
    return Response(f"{random.random()} {uuid.uuid4()} {random.random()}")


IncomingHandler = handler(answer)
