package main

import (
	"strings"
	"testing"
)

func TestWordsAreCounted(t *testing.T) {
	var result strings.Builder
	if err := count("one two\nthree\n", &result); err != nil || result.String() != "{\"lines\":2,\"words\":3}\n" {
		t.Fatal(result.String(), err)
	}
}

func TestNothingIsAnError(t *testing.T) {
	if count(" \n", new(strings.Builder)) == nil {
		t.Fatal("it was counted")
	}
}
