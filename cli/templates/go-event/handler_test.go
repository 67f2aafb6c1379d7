package main

import (
	"testing"

	"{{name}}/wasmill"
)

func TestNamesAreTrimmed(t *testing.T) {
	output, err := handle(wasmill.Event{Data: []byte(`{"name": " Ada "}`)})
	if err != nil || string(output.Data) != `{"greeting":"Hello, Ada!"}` {
		t.Fatal(string(output.Data), err)
	}
}

func TestNobodyIsRefused(t *testing.T) {
	if _, err := handle(wasmill.Event{Data: []byte("{}")}); err == nil {
		t.Fatal("it was greeted")
	}
}
