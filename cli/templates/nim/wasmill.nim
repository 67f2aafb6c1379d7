## The contract of wasmill:function for Nim: a handler takes an `Event` and returns an `Output`; `serve` names it.
## Natively, where the project's own tests run, there is no host: the log goes nowhere.
import std/[json, options]

type
  Event* = object
    ## An event as CloudEvents 1.0 has it.
    id*, source*, `type`*: string
    subject*, time*, dataschema*, datacontenttype*: Option[string]
    extensions*: seq[(string, string)]
    data*: Option[string]

  Emitted* = object
    ## An event to publish if the result commits. Everything but the type may be left out.
    `type`*: string
    source*, subject*: Option[string]
    extensions*: seq[(string, string)]
    datacontenttype*: Option[string] ## Default: `application/json`.
    data*: Option[string]

  Output* = object
    ## What a handler made of its event.
    data*: string
    contentType*: Option[string] ## Default: `application/json`.
    emit*: seq[Emitted]

  Reject* = object of CatchableError
    ## The event will never work; the message is for the operator.

  Retry* = object of CatchableError
    ## It may work later. Any other `CatchableError` is tried again too; a `Defect` is a trap.
    delayMs*: uint64 ## The pause that is asked for; 0 leaves it to the manifest.

  Execution* = object
    ## What is known about the execution at hand.
    id*, tenant*, function*, version*: string
    attempt*, maxAttempts*: uint32
    deadlineMs*: uint64 ## Since 1970.
    traceparent*: string
    tracestate*: Option[string]

  Level* {.pure.} = enum
    trace, debug, info, warn, error

  Handler* = proc (event: Event): Output {.nimcall.}

proc text*(event: Event): string =
  ## The data as they are; nothing where there are none.
  event.data.get("")

proc json*(event: Event): JsonNode =
  ## The data as JSON; what is none is rejected.
  try:
    parseJson(event.text)
  except ValueError as error:
    raise newException(Reject, "the data are not JSON: " & error.msg)

proc success*(value: JsonNode, emit: seq[Emitted] = @[]): Output =
  ## A result in JSON.
  Output(data: $value, emit: emit)

proc success*(data: string, contentType: string, emit: seq[Emitted] = @[]): Output =
  ## A result of this media type.
  Output(data: data, contentType: some(contentType), emit: emit)

proc newRetry*(reason: string, delayMs: uint64 = 0): ref Retry =
  ## To be raised: it may work later.
  (ref Retry)(msg: reason, delayMs: delayMs)

when defined(wasm32):
  {.pragma: contract, header: "wasmill.h", bycopy.}

  type
    # Laid out as `wasmill.h` has them.
    RawBytes {.importc: "wasmill_bytes", contract.} = object
      data: ptr UncheckedArray[char]
      length: csize_t
    RawOption {.importc: "wasmill_option", contract.} = object
      is_some: bool
      value: RawBytes
    RawField {.importc: "wasmill_field", contract.} = object
      name, value: RawBytes
    RawFields {.importc: "wasmill_fields", contract.} = object
      items: ptr UncheckedArray[RawField]
      count: csize_t
    RawEvent {.importc: "wasmill_event", contract.} = object
      id, source, `type`: RawBytes
      subject, time, dataschema: RawOption
      extensions: RawFields
      datacontenttype, data: RawOption
    RawEmitted {.importc: "wasmill_emitted", contract.} = object
      `type`: RawBytes
      source, subject: RawOption
      extensions: RawFields
      datacontenttype, data: RawOption
    RawExecution {.importc: "wasmill_execution", contract.} = object
      id, tenant, function, version: RawBytes
      attempt, max_attempts: uint32
      deadline_ms: uint64
      traceparent: RawBytes
      tracestate: RawOption
    RawOutput {.importc: "wasmill_output", contract.} = object
      content_type: RawOption
      data: RawBytes
      emit: ptr UncheckedArray[RawEmitted]
      emit_count: csize_t

  proc allocate(size: csize_t): pointer {.importc: "wasmill_allocate", header: "wasmill.h".}
  proc rawLog(level: cint, message: cstring, fields: ptr RawField, count: csize_t) {.importc: "wasmill_log", header: "wasmill.h".}

  proc many[T](count: int): ptr UncheckedArray[T] =
    ## Until the end of the call.
    result = cast[ptr UncheckedArray[T]](allocate(csize_t(count * sizeof(T))))
    zeroMem(result, count * sizeof(T))

  proc view(bytes: RawBytes): string =
    result = newString(bytes.length.int)
    if result.len > 0: copyMem(addr result[0], bytes.data, result.len)

  proc view(option: RawOption): Option[string] =
    if option.is_some: some(view(option.value)) else: none(string)

  proc keep(text: string): RawBytes =
    result = RawBytes(data: many[char](text.len), length: csize_t(text.len))
    if text.len > 0: copyMem(result.data, unsafeAddr text[0], text.len)

  proc keep(text: Option[string]): RawOption =
    if text.isSome: RawOption(is_some: true, value: keep(text.get)) else: RawOption()

  proc keep(pairs: openArray[(string, string)]): RawFields =
    let items = many[RawField](pairs.len)
    for at, (name, value) in pairs: items[at] = RawField(name: keep(name), value: keep(value))
    RawFields(items: items, count: csize_t(pairs.len))

  proc log*(level: Level, message: string, fields: openArray[(string, JsonNode)] = []) =
    ## Adds a line to the log.
    var texts: seq[(string, string)]
    for (name, value) in fields: texts.add (name, $value)
    let kept = keep(texts)
    rawLog(cint(ord(level)), message, addr kept.items[0], kept.count)

  # Structs that are returned are C's affair.
  {.emit: """/*INCLUDESECTION*/
    #include "wasmill.h"
    static inline void wasmill_nim_current(wasmill_execution *into) { *into = wasmill_current(); }
  """.}

  proc currentInto(raw: ptr RawExecution) {.importc: "wasmill_nim_current", nodecl.}

  proc execution*(): Execution =
    ## What is known about the execution at hand.
    var raw: RawExecution
    currentInto(addr raw)
    Execution(
      id: view(raw.id), tenant: view(raw.tenant), function: view(raw.function), version: view(raw.version),
      attempt: raw.attempt, maxAttempts: raw.max_attempts, deadlineMs: raw.deadline_ms,
      traceparent: view(raw.traceparent), tracestate: view(raw.tracestate))

  var serving: Handler

  proc serve*(handler: Handler) =
    ## Makes `handler` what is called with each event.
    serving = handler

  proc read(raw: ptr RawEvent): Event =
    result = Event(
      id: view(raw.id), source: view(raw.source), `type`: view(raw.`type`), subject: view(raw.subject), time: view(raw.time),
      dataschema: view(raw.dataschema), datacontenttype: view(raw.datacontenttype), data: view(raw.data))
    for at in 0 ..< raw.extensions.count.int:
      result.extensions.add (view(raw.extensions.items[at].name), view(raw.extensions.items[at].value))

  proc write(output: Output, into: ptr RawOutput) =
    into.content_type = keep(output.contentType)
    into.data = keep(output.data)
    let emit = many[RawEmitted](output.emit.len)
    into.emit = emit
    into.emit_count = csize_t(output.emit.len)
    for at, event in output.emit:
      emit[at] = RawEmitted(
        `type`: keep(event.`type`), source: keep(event.source), subject: keep(event.subject), extensions: keep(event.extensions),
        datacontenttype: keep(event.datacontenttype), data: keep(event.data))

  proc answered(
      event: ptr RawEvent, output: ptr RawOutput, isRejection: ptr bool, reason: ptr RawBytes, delayMs: ptr uint64
  ): bool {.exportc: "wasmill_nim_answered".} =
    ## Whether there is an output; a failure, where there is none.
    try:
      serving(read(event)).write(output)
      return true
    except Reject as error:
      isRejection[] = true
      reason[] = keep(error.msg)
    except Retry as error:
      reason[] = keep(error.msg)
      delayMs[] = error.delayMs
    except CatchableError as error:
      reason[] = keep(error.msg & " [" & $error.name & "]")
    except Defect as error:
      stderr.writeLine error.msg & " [" & $error.name & "]"
      {.emit: "__builtin_trap();".}

  # The program's modules are run when an instance is made.
  {.emit: """
    void NimMain(void);
    __attribute__((constructor)) static void wasmill_nim_start(void) { NimMain(); }

    wasmill_result handle(const wasmill_event *event) {
      wasmill_output output = {0};
      bool is_rejection = false;
      wasmill_bytes reason = {0};
      uint64_t delay_ms = 0;
      wasmill_result result = {0};
      result.is_failure = !wasmill_nim_answered((wasmill_event *)event, &output, &is_rejection, &reason, &delay_ms);
      if (!result.is_failure) {
        result.value.output = output;
        return result;
      }
      result.value.failure.is_rejection = is_rejection;
      result.value.failure.advice.reason = reason;
      result.value.failure.advice.has_delay = delay_ms != 0;
      result.value.failure.advice.delay_ms = delay_ms;
      return result;
    }
  """.}
else:
  proc log*(level: Level, message: string, fields: openArray[(string, JsonNode)] = []) =
    discard

  proc serve*(handler: Handler) =
    discard
