// The chat with uWebSockets.js, which is uWebSockets in C++ for Node, and its publish.
const uws = require("uWebSockets.js");

const BACKPRESSURE = 1 << 24; // bytes for each client; by default it is 64 KB, and messages beyond are dropped

const application = uws.App();
application.ws("/ws", {
    compression: uws.DISABLED,
    maxBackpressure: BACKPRESSURE,
    open: (websocket) => websocket.subscribe("chat"),
    message: (_, message, isBinary) => application.publish("chat", message, isBinary, false),
});
application.listen("127.0.0.1", Number(process.argv[2]), (listening) => {
    if (!listening) {
        process.exit(1);
    }
});
