import unittest

from app import handle
from wasmill.event import Event, Reject


class Greeting(unittest.TestCase):
    def test_names_are_trimmed(self) -> None:
        self.assertEqual(handle(Event(data=b'{"name": " Ada "}')), {"greeting": "Hello, Ada!"})

    def test_nobody_is_refused(self) -> None:
        with self.assertRaises(Reject):
            handle(Event(data=b"{}"))


if __name__ == "__main__":
    unittest.main()
