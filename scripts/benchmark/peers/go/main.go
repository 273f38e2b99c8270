// The same chat in Go, to measure against: a hub goroutine, two goroutines a client, channels of []byte with room for
// 256, pending messages coalesced into one WebSocket message, and eviction when a client's channel is full.
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

type client struct {
	conn *websocket.Conn
	send chan []byte
}

type hub struct {
	register, unregister chan *client
	broadcast            chan []byte
}

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

func (c *client) read(h *hub) {
	defer func() {
		h.unregister <- c
		c.conn.Close()
	}()
	c.conn.SetReadLimit(messageSize)
	c.conn.SetReadDeadline(time.Now().Add(pongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		h.broadcast <- message
	}
}

func (c *client) write() {
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
				frame.Write([]byte{'\n'})
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

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	h := &hub{make(chan *client), make(chan *client), make(chan []byte)}
	go h.run()
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &client{conn, make(chan []byte, sendBuffer)}
		h.register <- c
		go c.write()
		c.read(h)
	})
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	quiet := &http.Server{ErrorLog: log.New(io.Discard, "", 0)}
	log.Fatal(quiet.Serve(listener))
}
