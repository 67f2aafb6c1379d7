## Counts the words of the text on standard input, which is the event's data; standard output is the result.
import std/[json, strutils]

proc count*(text: string): JsonNode =
  let words = text.splitWhitespace
  if words.len == 0: raise newException(ValueError, "there are no words to count")
  %*{"lines": text.count('\n'), "words": words.len}

when isMainModule:
  try:
    echo count(stdin.readAll)
  except ValueError as error:
    # Standard error becomes log lines, and any status but 0 a failure.
    quit(error.msg)
