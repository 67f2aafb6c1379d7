import std/[json, unittest]
import ../src/main

test "words are counted":
  check $count("one two\nthree\n") == """{"lines":2,"words":3}"""

test "nothing is an error":
  expect ValueError:
    discard count(" \n")
