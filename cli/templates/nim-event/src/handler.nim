## Greets whoever the event names.
import std/[json, strutils]
import wasmill

proc greet*(name: string): string =
  let trimmed = name.strip
  if trimmed.len == 0: "Hello!" else: "Hello, " & trimmed & "!"

proc handle*(event: Event): Output =
  let name = event.json{"name"}
  if name.isNil or name.kind != JString:
    raise newException(Reject, "the data must be an object with a name")
  log(Level.info, "greeted", {"name": name})
  success(%*{"greeting": greet(name.getStr)})

serve(handle)
