// An app that speaks WebSocket with Node's `ws`, through CONNECT, told what to do by lines of JSON on stdin.
// Usage: node node_client.js '{"url": ..., "proxyPort": ..., "ca": ..., "subprotocols": [...], "compress": ...}'
"use strict";

const fs = require("fs");
const http = require("http");
const readline = require("readline");
const tls = require("tls");
const WebSocket = require("ws");

const settings = JSON.parse(process.argv[2]);
const target = new URL(settings.url);
const port = target.port || (target.protocol === "wss:" ? 443 : 80);

function say(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

function tunnelled(socket) {
  const secured = { socket, host: target.hostname, ca: fs.readFileSync(settings.ca) };
  return target.protocol === "wss:" ? tls.connect(secured) : socket;
}

function open(socket) {
  const ws = new WebSocket(settings.url, settings.subprotocols, {
    createConnection: () => tunnelled(socket),
    maxPayload: 0,
    perMessageDeflate: settings.compress,
  });
  ws.on("open", () => say({ open: ws.protocol, port: socket.localPort }));
  ws.on("message", (data, isBinary) =>
    say(isBinary ? { binary: data.toString("base64") } : { text: data.toString() })
  );
  ws.on("close", (code, reason) => say({ closed: code, reason: reason.toString() }));
  ws.on("error", (error) => say({ error: error.message }));

  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const command = JSON.parse(line);
    if ("text" in command) ws.send(command.text);
    else if ("binary" in command) ws.send(Buffer.from(command.binary, "base64"));
    else if (command.close === null) ws.close();
    else ws.close(command.close, command.reason);
  });
}

http
  .request({
    host: "127.0.0.1",
    port: settings.proxyPort,
    method: "CONNECT",
    path: `${target.hostname}:${port}`,
    agent: false,
  })
  .on("connect", (response, socket) => open(socket))
  .on("error", (error) => say({ error: error.message }))
  .end();
