// The chat with Node's ws. It has no publish: it sends a message to one client after the other, as its README shows.
const { WebSocket, WebSocketServer } = require("ws");

const options = { host: "127.0.0.1", port: Number(process.argv[2]), path: "/ws", perMessageDeflate: false };
const server = new WebSocketServer({ ...options, backlog: 1024 });

server.on("connection", (websocket) => {
    websocket.on("error", () => {}); // a client that disconnects
    websocket.on("message", (message, isBinary) => {
        for (const client of server.clients) {
            if (client.readyState === WebSocket.OPEN) {
                client.send(message, { binary: isBinary });
            }
        }
    });
});
