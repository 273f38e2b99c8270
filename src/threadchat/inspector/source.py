"""The lines behind what is seen: a function of the core, read from its source, and the lines of Go beside it."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from threadchat import app, channel, client, connection, hub, runqueue, server

FILES: dict[str, ModuleType] = {
    f"{module.__name__.rpartition('.')[2]}.py": module
    for module in (app, channel, client, connection, hub, runqueue, server)
}

# What a Go programmer would have written there (the fragments are ours), and in which function.
GO: dict[str, tuple[str, str]] = {
    function: (inspect.cleandoc(lines).replace("    ", "\t"), where)
    for function, where, lines in (
        ("Channel.send", "the language", "ch <- item"),
        (
            "Channel.send_nowait",
            "the language",
            """
                select {
                case ch <- item:
                default:
                    // would block
                }
            """,
        ),
        (
            "Channel.send_all_nowait",
            "the language",
            """
                for _, item := range items {
                    select {
                    case ch <- item:
                    default:
                        // would block
                    }
                }
            """,
        ),
        (
            "Channel.receive",
            "the language",
            """
                item, ok := <-ch
                if !ok {
                    // closed, and all has been received
                }
            """,
        ),
        (
            "Channel.receive_pending",
            "the write pump",
            """
                items := []string{<-ch}
                for n := len(ch); n > 0; n-- {
                    items = append(items, <-ch)
                }
            """,
        ),
        (
            "Channel.take_pending",
            "the write pump",
            """
                for n := len(ch); n > 0; n-- {
                    items = append(items, <-ch)
                }
            """,
        ),
        ("Channel.close", "the language", "close(ch)"),
        (
            "Channel.__iter__",
            "the language",
            """
                for item := range ch {
                    // ...
                }
            """,
        ),
        (
            "select",
            "the hub",
            """
                select {
                case c := <-register:
                case c := <-unregister:
                case m := <-broadcast:
                case <-done:
                }
            """,
        ),
        (
            "Hub.run",
            "the hub",
            """
                for {
                    select {
                    case c := <-h.register:
                        h.clients[c] = true
                    case c := <-h.unregister:
                        if h.clients[c] {
                            delete(h.clients, c)
                            close(c.send)
                        }
                    case m := <-h.broadcast:
                        for c := range h.clients {
                            select {
                            case c.send <- m:
                            default:
                                delete(h.clients, c)
                                close(c.send)
                            }
                        }
                    }
                }
            """,
        ),
        (
            "Hub._give_way_or_evict",
            "the hub",
            """
                default:
                    delete(h.clients, c)
                    close(c.send)
            """,
        ),
        (
            "Client.read_pump",
            "the read pump",
            """
                for {
                    _, message, err := c.conn.ReadMessage()
                    if err != nil {
                        break
                    }
                    c.hub.broadcast <- message
                }
            """,
        ),
        (
            "Client.write_pump",
            "the write pump",
            """
                for {
                    select {
                    case message, ok := <-c.send:
                        if !ok {
                            return
                        }
                        w, _ := c.conn.NextWriter(websocket.TextMessage)
                        w.Write(message)
                        for n := len(c.send); n > 0; n-- {
                            w.Write(newline)
                            w.Write(<-c.send)
                        }
                        w.Close()
                    case <-ticker.C:
                        c.conn.WriteMessage(websocket.PingMessage, nil)
                    }
                }
            """,
        ),
        ("Client.unregister", "the read pump", "defer func() { c.hub.unregister <- c }()"),
        (
            "serve_ws",
            "the handler",
            """
                conn, err := upgrader.Upgrade(w, r, nil)
                c := &Client{hub: hub, conn: conn, send: make(chan string, 256)}
                hub.register <- c
                go c.writePump()
                go c.readPump()
            """,
        ),
        ("Connection.__iter__", "the read pump", "_, message, err := conn.ReadMessage()"),
        (
            "Connection._receive",
            "the read pump",
            """
                conn.SetReadDeadline(time.Now().Add(pongWait))
                conn.ReadMessage()
            """,
        ),
        ("Connection.send", "the write pump", "conn.WriteMessage(websocket.TextMessage, message)"),
        (
            "Connection._write",
            "the write pump",
            """
                conn.SetWriteDeadline(time.Now().Add(writeWait))
                conn.WriteMessage(messageType, message)
            """,
        ),
        ("Connection._write_rest", "the write pump", "conn.SetWriteDeadline(time.Now().Add(writeWait))"),
        ("Connection.send_ping", "the write pump", "conn.WriteMessage(websocket.PingMessage, nil)"),
        ("Connection.send_close", "the write pump", "conn.WriteMessage(websocket.CloseMessage, nil)"),
        ("Connection.encode", "the write pump", r'w.Write([]byte(strings.Join(messages, "\n")))'),
        ("RunQueue.ready", "the scheduler", "// the runtime's: a goroutine is ready, and stands in the run queue"),
        ("RunQueue.next", "the scheduler", "// the runtime's: a processor takes the next goroutine"),
    )
}


def source(file: str, function: str) -> dict[str, Any] | None:
    """The function's lines, by its qualified name, and Go's; None if the core has none of that name in that file."""
    module = FILES.get(file)
    found: Any = module
    for name in function.split("."):
        found = vars(found).get(name) if inspect.ismodule(found) or inspect.isclass(found) else None
    if module is None or not callable(found) or found.__module__ != module.__name__:
        return None
    found = inspect.unwrap(found)
    lines, first = inspect.getsourcelines(found)
    go, where = GO.get(function, ("", ""))
    return {
        "file": file,
        "function": function,
        "first_line": first,
        "lines": [line.rstrip("\n") for line in lines],
        "go": go,
        "go_from": where,
    }
