import unittest

from app import answer
from wasmill.http import Request


class Greeting(unittest.TestCase):
    def test_the_path_names_somebody(self) -> None:
        self.assertEqual(answer(Request(path="/greet/Ada")), {"greeting": "Hello, Ada!"})

    def test_only_get_is_answered(self) -> None:
        self.assertEqual(answer(Request(method="POST")).status, 405)


if __name__ == "__main__":
    unittest.main()
