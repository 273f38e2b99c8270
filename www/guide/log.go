// The log of a room in Go, for the guide's chapter "A room is a log": what the Python beside it does, in a few lines.
// The Go example, chat.go, has no log. A test gives this one and the Python the same to write down.
package room

import (
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
)

const pageSize = 256

// An entry is something that happens in a room. Its id, time and epoch are the log's to give.
type entry struct {
	by, text string // of a session
	n        int    // its number in the session; 0 for none
	id       int
	at       string
	epoch    string
}

// A roomLog holds the entries with the ids before+1, before+2, ... Older ones have been dropped.
type roomLog struct {
	mutex   sync.Mutex // guards the rest
	epoch   string
	before  int
	entries []entry
	last    map[string]int // by session
}

// append numbers the entries and keeps them. It returns those that are new.
func (l *roomLog) append(at string, entries ...entry) (accepted []entry) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, e := range entries {
		if e.n != 0 {
			if e.n <= l.last[e.by] {
				continue
			}
			l.last[e.by] = e.n
		}
		e.id, e.at, e.epoch = l.before+len(l.entries)+1, at, l.epoch
		l.entries = append(l.entries, e)
		accepted = append(accepted, e)
	}
	return accepted
}

// read returns the entries after an id, a page at most; false if the first of them has been dropped.
func (l *roomLog) read(after int) ([]entry, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if after < l.before {
		return nil, false
	}
	rest := l.entries[after-l.before:]
	if len(rest) > pageSize {
		rest = rest[:pageSize]
	}
	return rest, true
}

// token names the point of the log after the entry.
func (e *entry) token() string {
	said := []byte(e.at + e.by + e.text)
	check := crc32.Update(uint32(e.id), crc32.IEEETable, said)
	return fmt.Sprintf("%s.%d.%x", e.epoch, e.id, check)
}

// find returns the id in a token; false if what comes after it is not all there.
func (l *roomLog) find(token string) (id int, ok bool) {
	_, rest, _ := strings.Cut(token, ".")
	fmt.Sscanf(rest, "%d", &id)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	index := id - l.before - 1
	if index < 0 || index >= len(l.entries) {
		return 0, false
	}
	return id, l.entries[index].token() == token
}

// A room is a hub with a log beside it.
type room struct {
	log      *roomLog
	register chan *client
	clients  map[*client]bool
}

// passOn writes the entries down, and sends those that are new to every client.
func (r *room) passOn(at string, entries []entry) {
	for _, e := range r.log.append(at, entries...) {
		for c := range r.clients {
			c.send <- e
		}
	}
}

// A client has seen the entries up to an id.
type client struct {
	seen  int
	write func([]entry)
	send  chan entry
}

// join gives the client all entries after the one that it has seen, from the log and then from the hub.
func (c *client) join(r *room) {
	if !c.catchUp(r.log, pageSize) {
		return
	}
	r.register <- c
	if !c.catchUp(r.log, 1) {
		return
	}
	for e := range c.send {
		if e.id > c.seen {
			c.write([]entry{e})
		}
	}
}

// catchUp writes what the log has, until fewer entries than least are left; false if it was too slow.
func (c *client) catchUp(l *roomLog, least int) bool {
	for {
		page, kept := l.read(c.seen)
		if !kept {
			return false
		}
		if len(page) < least {
			return true
		}
		c.write(page)
		c.seen = page[len(page)-1].id
	}
}
