// Package wasmill is the contract of wasmill:function for Go. The program hands its handler to [Handle] in an init function.
package wasmill

import (
	"encoding/json"
	"time"
)

// Event is an event as CloudEvents 1.0 has it. What is absent is empty; absent data is nil.
type Event struct {
	ID, Source, Type, Subject, Time, DataSchema string
	Extensions                                  map[string]string
	DataContentType                             string
	Data                                        []byte
}

// Output is what a handler made of its event.
type Output struct {
	// ContentType is the media type of Data; empty means application/json.
	ContentType string
	Data        []byte
	// Emit are events to publish if the result commits.
	Emit []Emitted
}

// Emitted is an event to publish. Everything but the type may be left empty.
type Emitted struct {
	Type, Source, Subject string
	Extensions            map[string]string
	DataContentType       string
	Data                  []byte
}

// Rejection is an error that no further attempt would mend. Any other error is tried again.
type Rejection string

func (reason Rejection) Error() string { return string(reason) }

// RetryAfter is an error that may pass, and the pause that is asked for.
type RetryAfter struct {
	Reason string
	Delay  time.Duration
}

func (advice RetryAfter) Error() string { return advice.Reason }

// JSON is an output of a value as JSON.
func JSON(value any) (Output, error) {
	data, err := json.Marshal(value)
	return Output{Data: data}, err
}

// Execution is what is known about the execution at hand.
type Execution struct {
	ID, Tenant, Function, Version string
	Attempt, MaxAttempts          uint32
	Deadline                      time.Time
	TraceParent, TraceState       string
}

// Level says how much a log line matters.
type Level uint32

// The levels.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

var handler func(Event) (Output, error)

// Handle makes f what is called with each event.
func Handle(f func(Event) (Output, error)) { handler = f }

// Fields are the fields of a log line.
type Fields map[string]any

// Log adds a line to the log.
func Log(level Level, message string, fields Fields) {
	texts := make([][2]string, 0, len(fields))
	for name, value := range fields {
		text, err := json.Marshal(value)
		if err != nil {
			text = []byte(err.Error())
		}
		texts = append(texts, [2]string{name, string(text)})
	}
	log(level, message, texts)
}
