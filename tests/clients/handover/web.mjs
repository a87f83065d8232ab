// A web server as they are written for Node. On the socket that was passed, else at PORT.
// At SIGTERM it takes no more connections, answers what was asked, and ends the connections that are idle.
import http from "node:http";

const run = process.env.DEVSUP_RUN.split("#").pop();
let stopping = false;

const server = http.createServer((request, response) => {
  let length = 0;
  request.on("data", (part) => (length += part.length));
  request.on("end", () => {
    const body = request.method === "PUT" ? `length ${length}\n` : `run ${run} pid ${process.pid}\n`;
    const head = { "Content-Length": body.length };
    if (stopping) head.Connection = "close";
    response.writeHead(200, head);
    response.end(body);
  });
});
server.keepAliveTimeout = 60_000;

process.on("SIGTERM", () => {
  stopping = true;
  server.close();
  server.closeIdleConnections();
});

const passed = process.env.LISTEN_FDS === "1" && process.env.LISTEN_PID === String(process.pid);
// Says on which line to look for: Node cannot send to a unix datagram socket.
server.listen(passed ? { fd: 3 } : { host: "127.0.0.1", port: Number(process.env.PORT) }, () => console.log("ready"));
