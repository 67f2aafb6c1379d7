// Greets whoever the event names.
package main

import (
	"encoding/json"
	"strings"

	"{{name}}/wasmill"
)

func init() { wasmill.Handle(handle) }

// The host calls the handler, not main.
func main() {}

type request struct {
	Name *string `json:"name"`
}

func handle(event wasmill.Event) (wasmill.Output, error) {
	var asked request
	if err := json.Unmarshal(event.Data, &asked); err != nil || asked.Name == nil {
		return wasmill.Output{}, wasmill.Rejection("the data must be an object with a name")
	}
	wasmill.Log(wasmill.Info, "greeted", wasmill.Fields{"name": *asked.Name})
	return wasmill.JSON(map[string]string{"greeting": greet(*asked.Name)})
}

func greet(name string) string {
	name = strings.TrimSpace(name)
	if name == "" {
		return "Hello!"
	}
	return "Hello, " + name + "!"
}
