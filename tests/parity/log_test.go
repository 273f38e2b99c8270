// Runs the guide's log.go. test_log.py compares what it prints with what the log in Python says.
package room

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestTellWhatWasWritten writes down and looks up what given.json says, and prints the ids and tokens.
func TestTellWhatWasWritten(t *testing.T) {
	var given struct {
		Epoch, At string
		Entries   []struct {
			By, Text string
			N        int
		}
		Tokens []string
	}
	text, err := os.ReadFile("given.json")
	if err == nil {
		err = json.Unmarshal(text, &given)
	}
	if err != nil {
		t.Fatal(err)
	}
	log := &roomLog{epoch: given.Epoch, last: map[string]int{}}
	for _, e := range given.Entries {
		for _, taken := range log.append(given.At, entry{by: e.By, text: e.Text, n: e.N}) {
			fmt.Println("taken", taken.id, taken.token())
		}
	}
	for _, token := range given.Tokens {
		if id, ok := log.find(token); ok {
			fmt.Println("found", id)
		} else {
			fmt.Println("a gap")
		}
	}
}

// TestJoinMissesNothing joins a room in which somebody talks before, while and after the hub takes the registration.
func TestJoinMissesNothing(t *testing.T) {
	const before, taken, last = 1000, 2000, 3000
	r := &room{log: &roomLog{last: map[string]int{}}, register: make(chan *client), clients: map[*client]bool{}}
	var heard []entry
	c := &client{send: make(chan entry, last), write: func(page []entry) { heard = append(heard, page...) }}
	say := func(from, to int) {
		for n := from; n <= to; n++ {
			r.passOn("", []entry{{text: strconv.Itoa(n)}})
		}
	}
	say(1, before)
	go func() { // the hub
		say(before+1, taken-1)
		r.clients[c] = true
		say(taken, taken) // before the client knows that it is registered: it is in the log and in its channel
		<-r.register
		say(taken+1, last)
		close(c.send)
	}()
	c.join(r)
	for index, e := range heard {
		if e.id != index+1 || e.text != strconv.Itoa(e.id) {
			t.Fatalf("entry %d came as number %d: %q", e.id, index+1, e.text)
		}
	}
	if len(heard) != last {
		t.Fatalf("heard %d of %d", len(heard), last)
	}
}
