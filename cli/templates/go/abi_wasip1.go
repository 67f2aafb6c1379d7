package wasmill

import (
	"errors"
	"strings"
	"time"
	"unsafe"
)

// The structs below are laid out as the canonical ABI has the types of wit/wasmill-function.wit.

type bytes struct {
	data   uint32
	length uint32
}

type option struct {
	isSome bool
	value  bytes
}

type field struct{ name, value bytes }

type rawEvent struct {
	id, source, eventType     bytes
	subject, time, dataschema option
	extensions                bytes
	datacontenttype, data     option
}

type rawEmitted struct {
	eventType             bytes
	source, subject       option
	extensions            bytes
	datacontenttype, data option
}

type rawOutput struct {
	isFailure   bool
	_           uint32
	contentType option
	data        bytes
	emit        bytes
	_           uint32
}

type rawFailure struct {
	isFailure   bool
	_           uint32
	isRejection bool
	_           uint32
	reason      bytes
	hasDelay    bool
	_           uint32
	delayMs     uint64
}

type rawExecution struct {
	id, tenant, function, version bytes
	attempt, maxAttempts          uint32
	deadlineMs                    uint64
	traceparent                   bytes
	tracestate                    option
}

// What the result at hand points to, so that the collector leaves it.
var (
	output  rawOutput
	failure rawFailure
	kept    []any
)

func view(b bytes) []byte { return unsafe.Slice((*byte)(pointer(b.data)), b.length) }

func text(b bytes) string { return string(view(b)) }

func optional(o option) string {
	if !o.isSome {
		return ""
	}
	return text(o.value)
}

func fieldsOf(b bytes) map[string]string {
	fields := make(map[string]string, b.length)
	for _, f := range unsafe.Slice((*field)(pointer(b.data)), b.length) {
		fields[text(f.name)] = text(f.value)
	}
	return fields
}

// pointer makes one of an address that the host wrote.
func pointer(address uint32) unsafe.Pointer {
	at := uintptr(address)
	return *(*unsafe.Pointer)(unsafe.Pointer(&at))
}

func keep[T any](items []T) bytes {
	kept = append(kept, items)
	return bytes{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(items)))), uint32(len(items))}
}

func keepOption(text string) option {
	if text == "" {
		return option{}
	}
	return option{true, keep([]byte(text))}
}

func keepFields(fields map[string]string) bytes {
	raw := make([]field, 0, len(fields))
	for name, value := range fields {
		raw = append(raw, field{keep([]byte(name)), keep([]byte(value))})
	}
	return keep(raw)
}

//go:wasmexport wasmill:function/handler@0.1.0#handle
func handle(at unsafe.Pointer) unsafe.Pointer {
	raw := (*rawEvent)(at)
	event := Event{
		ID: text(raw.id), Source: text(raw.source), Type: text(raw.eventType),
		Subject: optional(raw.subject), Time: optional(raw.time), DataSchema: optional(raw.dataschema),
		Extensions:      fieldsOf(raw.extensions),
		DataContentType: optional(raw.datacontenttype),
	}
	if raw.data.isSome {
		event.Data = append([]byte{}, view(raw.data.value)...)
	}
	// All of the event is copied: its room is free for what imports return.
	top = 0
	kept = kept[:0]
	result, err := handler(event)
	if err != nil {
		return failed(err)
	}
	emit := make([]rawEmitted, 0, len(result.Emit))
	for _, e := range result.Emit {
		emitted := rawEmitted{
			eventType: keep([]byte(e.Type)), source: keepOption(e.Source), subject: keepOption(e.Subject),
			extensions: keepFields(e.Extensions), datacontenttype: keepOption(e.DataContentType),
		}
		if e.Data != nil {
			emitted.data = option{true, keep(e.Data)}
		}
		emit = append(emit, emitted)
	}
	output = rawOutput{contentType: keepOption(result.ContentType), data: keep(result.Data), emit: keep(emit)}
	return unsafe.Pointer(&output)
}

func failed(err error) unsafe.Pointer {
	failure = rawFailure{isFailure: true, reason: keep(valid(err.Error()))}
	var rejection Rejection
	var advice RetryAfter
	if errors.As(err, &rejection) {
		failure.isRejection = true
	} else if errors.As(err, &advice) {
		failure.hasDelay, failure.delayMs = true, uint64(advice.Delay.Milliseconds())
	}
	return unsafe.Pointer(&failure)
}

//go:wasmimport wasmill:function/log@0.1.0 log
func importLog(level uint32, message unsafe.Pointer, length uint32, fields unsafe.Pointer, count uint32)

// valid is a text as the host takes it, which is UTF-8.
func valid(text string) []byte { return []byte(strings.ToValidUTF8(text, "\uFFFD")) }

func log(level Level, message string, fields [][2]string) {
	raw := make([]field, len(fields))
	for i, f := range fields {
		raw[i] = field{keep(valid(f[0])), keep(valid(f[1]))}
	}
	text := valid(message)
	importLog(uint32(level), unsafe.Pointer(unsafe.SliceData(text)), uint32(len(text)),
		unsafe.Pointer(unsafe.SliceData(raw)), uint32(len(raw)))
}

//go:wasmimport wasmill:function/context@0.1.0 current
func importCurrent(into unsafe.Pointer)

// Current tells about the execution at hand.
func Current() Execution {
	raw := new(rawExecution)
	importCurrent(unsafe.Pointer(raw))
	return Execution{
		ID: text(raw.id), Tenant: text(raw.tenant), Function: text(raw.function), Version: text(raw.version),
		Attempt: raw.attempt, MaxAttempts: raw.maxAttempts, Deadline: time.UnixMilli(int64(raw.deadlineMs)),
		TraceParent: text(raw.traceparent), TraceState: optional(raw.tracestate),
	}
}

// Where the host puts what it hands over. It cannot be the memory of Go's allocator: that reads the clock, which is a call of the
// host, and the host calls cabi_realloc when it must not be called itself.
var chunk, top, size uintptr

//go:linkname sbrk runtime.sbrk
func sbrk(n uintptr) unsafe.Pointer

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, n uintptr) unsafe.Pointer {
	if n == 0 {
		return pointer(uint32(align))
	}
	top = (top + align - 1) &^ (align - 1)
	if top+n > size {
		size = max(n+align, 2*size, 64<<10)
		chunk, top = uintptr(sbrk(size)), 0
	}
	made := pointer(uint32(chunk + top))
	top += n
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(made), n), unsafe.Slice((*byte)(old), oldSize))
	}
	return made
}

// The same for the WASI adapter, which keeps what it gets.
//
//go:wasmexport cabi_realloc_adapter
func reallocAdapter(_ unsafe.Pointer, _, align, n uintptr) unsafe.Pointer {
	at := uintptr(sbrk(n + align))
	return pointer(uint32((at + align - 1) &^ (align - 1)))
}
