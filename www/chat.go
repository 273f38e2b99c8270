// The same chat in Go: the twin of the Python, function by function. The guide shows the two side by side, and
// scripts/bench measures one against the other. It needs Go and github.com/gorilla/websocket.
package main

import (
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

const (
	sendBuffer  = 256
	messageSize = 512
	pongWait    = 60 * time.Second
	pingPeriod  = pongWait * 9 / 10
	writeWait   = 10 * time.Second
)

var newline = []byte{'\n'}

// A hub is the channels through which it is heard. Its run is the only code that knows the set of clients.
type hub struct {
	register   chan *client
	unregister chan *client
	broadcast  chan []byte
}

func newHub() *hub {
	return &hub{
		register:   make(chan *client),
		unregister: make(chan *client),
		broadcast:  make(chan []byte),
	}
}

// run passes each message on to every client, and drops a client whose channel is full.
func (h *hub) run() {
	clients := make(map[*client]struct{})
	part := func(c *client) {
		delete(clients, c)
		close(c.send)
	}
	for {
		select {
		case c := <-h.register:
			clients[c] = struct{}{}
		case c := <-h.unregister:
			if _, known := clients[c]; known {
				part(c)
			}
		case message := <-h.broadcast:
			for c := range clients {
				select {
				case c.send <- message:
				default:
					part(c)
				}
			}
		}
	}
}

// A client stands between one WebSocket and the hub. The hub sends to its channel, and closes it.
type client struct {
	hub  *hub
	conn *websocket.Conn
	send chan []byte
}

// readPump takes messages from the connection to the hub. It is the connection's only reader.
func (c *client) readPump() {
	defer func() {
		c.hub.unregister <- c
		c.conn.Close()
	}()
	c.conn.SetReadLimit(messageSize)
	c.conn.SetReadDeadline(time.Now().Add(pongWait))
	c.conn.SetPongHandler(func(string) error {
		return c.conn.SetReadDeadline(time.Now().Add(pongWait))
	})
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		c.hub.broadcast <- message
	}
}

// writePump takes messages from the hub to the connection, all that are pending as one. It is its only writer.
func (c *client) writePump() {
	ping := time.NewTicker(pingPeriod)
	defer ping.Stop()
	defer c.conn.Close()
	for {
		select {
		case message, open := <-c.send:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !open {
				c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			frame, err := c.conn.NextWriter(websocket.TextMessage)
			if err != nil {
				return
			}
			frame.Write(message)
			for n := len(c.send); n > 0; n-- {
				frame.Write(newline)
				frame.Write(<-c.send)
			}
			if frame.Close() != nil {
				return
			}
		case <-ping.C:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

// serveWs serves one client in the goroutine of its request, which becomes the read pump.
func serveWs(h *hub, w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{hub: h, conn: conn, send: make(chan []byte, sendBuffer)}
	h.register <- c
	go c.writePump()
	c.readPump()
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	h := newHub()
	go h.run()
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		serveWs(h, w, r)
	})
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	quiet := &http.Server{ErrorLog: log.New(io.Discard, "", 0)}
	log.Fatal(quiet.Serve(listener))
}
