// An interpreter of small concurrent programs, in Go. interpreter.py beside it does the same with threadchat's channels.
//
// Reads programs from standard input, one JSON object a line, runs each as often as it asks for, and answers with one
// line of JSON: how often each outcome was seen. An outcome says what each goroutine observed, and how it ended:
//
//	sent; closed | got 1; ends | blocked
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

type Program struct {
	Channels   map[string]*int // the capacity of each channel; null is a nil channel
	Goroutines [][]Operation
	Runs       int
}

type Operation struct {
	Do       string
	Channel  string
	Item     int
	Capacity int
	Cases    []Operation // of a select: sends and receives
	Default  bool
}

// Shared holds what the goroutines of one run share.
type Shared struct {
	channels map[string]chan int
	x        int // the one variable
}

// A Goroutine belongs to one run. Its log says what it observed, operation by operation.
type Goroutine struct {
	*Shared
	log   []string
	ended atomic.Bool
}

// run performs the operations one after the other. A panic ends it, and is the last that it logs.
func (g *Goroutine) run(operations []Operation) {
	defer g.ended.Store(true)
	defer func() {
		if reason := recover(); reason != nil {
			g.observe(fmt.Sprint("panic: ", reason))
		}
	}()
	for _, operation := range operations {
		for rand.Intn(2) == 0 {
			runtime.Gosched() // so that each run has an order of its own
		}
		g.perform(operation)
	}
}

func (g *Goroutine) observe(observation string) {
	g.log = append(g.log, observation)
}

func (g *Goroutine) perform(operation Operation) {
	channel := g.channels[operation.Channel]
	switch operation.Do {
	case "send":
		channel <- operation.Item
		g.observe("sent")
	case "receive":
		item, ok := <-channel
		g.observe(received(item, ok))
	case "range":
		for item := range channel {
			g.observe(received(item, true))
		}
		g.observe("ends")
	case "select":
		g.observe(g.selectCase(operation))
	case "close":
		close(channel)
		g.observe("closed")
	case "len":
		g.observe(fmt.Sprintf("len %d", len(channel)))
	case "cap":
		g.observe(fmt.Sprintf("cap %d", cap(channel)))
	case "make":
		g.observe(fmt.Sprintf("cap %d", cap(make(chan int, operation.Capacity))))
	case "write":
		g.x = operation.Item
		g.observe("wrote")
	case "read":
		g.observe(fmt.Sprintf("x is %d", g.x))
	default:
		panic("there is no operation " + operation.Do)
	}
}

func received(item int, ok bool) string {
	if ok {
		return fmt.Sprintf("got %d", item)
	}
	return "zero"
}

// selectCase does a select. The cases are data here, which reflect.Select hands to the same code as a select statement.
func (g *Goroutine) selectCase(operation Operation) string {
	var cases []reflect.SelectCase
	for _, c := range operation.Cases {
		channel := reflect.ValueOf(g.channels[c.Channel])
		if c.Do == "send" {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectSend, Chan: channel, Send: reflect.ValueOf(c.Item)})
		} else {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: channel})
		}
	}
	if operation.Default {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectDefault})
	}
	number, item, ok := reflect.Select(cases)
	if number == len(operation.Cases) {
		return "default"
	}
	chosen := operation.Cases[number]
	if chosen.Do == "send" {
		return fmt.Sprintf("%s<-%d: sent", chosen.Channel, chosen.Item)
	}
	return fmt.Sprintf("<-%s: %s", chosen.Channel, received(int(item.Int()), ok))
}

// execute runs the program once, until each goroutine has ended or is blocked for ever, and returns the outcome.
func execute(program Program) string {
	shared := &Shared{channels: map[string]chan int{}}
	for name, capacity := range program.Channels {
		if capacity == nil {
			shared.channels[name] = nil
		} else {
			shared.channels[name] = make(chan int, *capacity)
		}
	}
	var goroutines []*Goroutine
	for range program.Goroutines {
		goroutines = append(goroutines, &Goroutine{Shared: shared})
	}
	for _, number := range rand.Perm(len(goroutines)) {
		go goroutines[number].run(program.Goroutines[number])
	}
	for !ended(goroutines) && !asleep() {
	}
	var outcome []string
	for _, g := range goroutines {
		if !g.ended.Load() {
			g.observe("blocked")
		}
		outcome = append(outcome, strings.Join(g.log, "; "))
	}
	shared.release()
	return strings.Join(outcome, " | ")
}

// ended tells whether all goroutines have ended. It lets them run for a while to find out.
func ended(goroutines []*Goroutine) bool {
	for turn := 0; turn < 20; turn++ {
		running := false
		for _, g := range goroutines {
			running = running || !g.ended.Load()
		}
		if !running {
			return true
		}
		runtime.Gosched()
	}
	return false
}

var (
	stacks = make([]byte, 1<<22)
	header = regexp.MustCompile(`(?m)^goroutine \d+ \[(.+?)( \(.*\))?(, .*)?\]:$`) // [chan send (nil chan), 2 minutes]
)

// asleep tells whether all goroutines but the calling one are parked at channels, so that none can wake another.
// runtime.Stack stops the world: it shows all of them as they are at one instant, the calling one first.
func asleep() bool {
	size := runtime.Stack(stacks, true)
	if size == len(stacks) {
		panic("the stacks of all goroutines do not fit")
	}
	for _, found := range header.FindAllSubmatch(stacks[:size], -1)[1:] {
		state := string(found[1])
		if state != "chan send" && state != "chan receive" && state != "select" {
			return false
		}
	}
	return true
}

// release closes all channels, which frees the goroutines that are blocked, except at nil channels.
func (shared *Shared) release() {
	for _, channel := range shared.channels {
		func() {
			defer func() { _ = recover() }() // it is nil, or closed already
			close(channel)
		}()
	}
}

func main() {
	rand.Seed(time.Now().UnixNano())
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var program Program
		if err := json.Unmarshal(lines.Bytes(), &program); err != nil {
			panic(err)
		}
		outcomes := map[string]int{}
		for n := 0; n < program.Runs; n++ {
			outcomes[execute(program)]++
		}
		if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
			panic(err)
		}
	}
}
