// Usage: node node_ws.cjs URL PROXY CA
"use strict";

const fs = require("fs");
const { HttpsProxyAgent } = require("https-proxy-agent");
const WebSocket = require("ws");

const talk = require("./talk.cjs");

const [url, proxy, ca] = process.argv.slice(2);

const ws = new WebSocket(url, { agent: new HttpsProxyAgent(proxy), ca: fs.readFileSync(ca) });

talk(ws);
