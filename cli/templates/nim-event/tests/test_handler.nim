import std/[options, unittest]
import ../src/[handler, wasmill]

test "names are trimmed":
  check handle(Event(data: some("""{"name": " Ada "}"""))).data == """{"greeting":"Hello, Ada!"}"""

test "nobody is refused":
  expect Reject:
    discard handle(Event(data: some("{}")))
