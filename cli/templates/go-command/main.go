// Counts the words of the text on standard input, which is the event's data; standard output is the result.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = count(string(text), os.Stdout)
	}
	if err != nil {
		// Standard error becomes log lines, and any status but 0 a failure.
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func count(text string, to io.Writer) error {
	words := strings.Fields(text)
	if len(words) == 0 {
		return fmt.Errorf("there are no words to count")
	}
	return json.NewEncoder(to).Encode(map[string]int{"lines": strings.Count(text, "\n"), "words": len(words)})
}
