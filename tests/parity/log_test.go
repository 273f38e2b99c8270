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

// TestJoinMissesNothing joins a room in which somebody talks all the time.
func TestJoinMissesNothing(t *testing.T) {
	const last = 5000
	r := &room{log: &roomLog{last: map[string]int{}}, register: make(chan *client), clients: map[*client]bool{}}
	said, half := make(chan entry), make(chan bool)
	go func() { // the hub
		for {
			select {
			case c := <-r.register:
				r.clients[c] = true
			case e, open := <-said:
				if !open {
					if len(r.clients) == 0 {
						r.clients[<-r.register] = true
					}
					for c := range r.clients {
						close(c.send)
					}
					return
				}
				r.passOn("", []entry{e})
			}
		}
	}()
	go func() { // somebody who talks
		for n := 1; n <= last; n++ {
			said <- entry{text: strconv.Itoa(n)}
			if n == last/2 {
				close(half)
			}
		}
		close(said)
	}()
	<-half
	var heard []entry
	c := &client{send: make(chan entry, last), write: func(page []entry) { heard = append(heard, page...) }}
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
