//go:build !wasip1

package wasmill

import (
	"fmt"
	"os"
)

// In native tests the log is standard error.
func log(level Level, message string, fields [][2]string) {
	fmt.Fprintln(os.Stderr, level, message, fields)
}

// Current tells about the execution at hand; in native tests there is none.
func Current() Execution { return Execution{} }
