package main

import (
	cryptorand "crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand"
	"net"
	"os"
	"time"

	"{{name}}/wasmill"
)

func init() { wasmill.Handle(handle) }

func main() {}

var calls int

func recurse(depth int) int { return 1 + recurse(depth+1) }

func facts() map[string]any {
	const text = "[9007199254740993]"
	var rounded any
	var exact []json.Number
	_ = json.Unmarshal([]byte(text), &rounded)
	_ = json.Unmarshal([]byte(text), &exact)
	again, _ := json.Marshal(rounded)
	before := time.Now()
	time.Sleep(20 * time.Millisecond)
	slept := time.Since(before)
	_, offset := time.Now().Zone()
	_, noZone := time.LoadLocation("Europe/Berlin")
	input, _ := io.ReadAll(os.Stdin)
	_, noFile := os.Open("/etc/passwd")
	said := make(chan string)
	go func() { said <- "of a goroutine" }()
	return map[string]any{
		"numbers": string(again), "exact": exact[0], "slept": slept > 15*time.Millisecond && slept < 5*time.Second,
		"zone": offset, "zones": noZone == nil, "stdin": len(input), "file": noFile == nil, "goroutine": <-said,
	}
}

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
	case "facts":
		return wasmill.JSON(facts())
	case "nan":
		return wasmill.JSON(math.NaN())
	case "get":
		_, err := net.Dial("tcp", "api.example.com:80")
		return wasmill.Output{}, err
	case "fail":
		panic("the reason of a failure")
	case "check":
		return wasmill.JSON([]int{1, 2, 3}[len(event.Data)])
	case "recurse":
		return wasmill.JSON(recurse(0))
	}
	return wasmill.JSON(nil)
}
