import std/[json, monotimes, options, os, random, strutils, sysrand, times]
import wasmill

randomize()
let drawn = rand(int64)

var calls = 0

proc recurse(depth: int): int {.noinline.} =
  if depth < 0: 0 else: 1 + recurse(depth + 1) + calls

proc written(value: JsonNode): string =
  try: $value
  except CatchableError: "an error"

proc facts(): JsonNode =
  let numbers = parseJson("""[9007199254740993, 123456789012345678901234567890, 1e999]""")
  let before = getMonoTime()
  sleep(20)
  let slept = (getMonoTime() - before).inMilliseconds
  %*{
    "numbers": $numbers, "nan": written(%NaN), "slept": slept in 15 .. 5000, "zone": now().utcOffset,
    "stdin": stdin.readAll.len, "file": fileExists("/etc/passwd"), "cut": 1 div 2,
  }

proc handle(event: Event): Output =
  case event.text
  of "random":
    return success(%($drawn & " " & $rand(int64) & " " & urandom(8).join("-")))
  of "print":
    inc calls
    stdout.write "call ", calls
  of "text":
    log(Level.info, "\xff in a log", {"field": %"\xff"})
    raise newException(Reject, "\xff in a reason")
  of "fail":
    raise newException(ValueError, "the reason of a failure")
  of "retry":
    raise newRetry("later", 1)
  of "emit":
    let known = execution()
    let events = @[Emitted(`type`: "probe.emitted", subject: some(known.function), data: some($(%known.attempt)))]
    return success(%*[known.attempt, known.maxAttempts, known.id.len], events)
  of "check":
    return success(%[1, 2, 3][event.text.len])
  of "recurse":
    return success(%recurse(calls))
  of "facts":
    return success(facts())
  else:
    discard
  success(newJNull())

serve(handle)
