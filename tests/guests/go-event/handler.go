package main

import (
	cryptorand "crypto/rand"
	"fmt"
	"math/rand"

	"{{name}}/wasmill"
)

func init() { wasmill.Handle(handle) }

func main() {}

var calls int

func recurse(depth int) int { return 1 + recurse(depth+1) }

func handle(event wasmill.Event) (wasmill.Output, error) {
	switch string(event.Data) {
	case "random":
		return wasmill.JSON(fmt.Sprint(rand.Int63(), " ", cryptorand.Text(), " ", rand.Int63()))
	case "print":
		calls++
		fmt.Print("call ", calls)
	case "text":
		wasmill.Log(wasmill.Info, "\xff in a log", nil)
		return wasmill.Output{}, wasmill.Rejection("\xff in a reason")
	case "fail":
		panic("the reason of a failure")
	case "check":
		return wasmill.JSON([]int{1, 2, 3}[len(event.Data)])
	case "recurse":
		return wasmill.JSON(recurse(0))
	}
	return wasmill.JSON(nil)
}
