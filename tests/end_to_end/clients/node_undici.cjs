// Usage: node node_undici.cjs URL PROXY CA
"use strict";

const fs = require("fs");
const { ProxyAgent, WebSocket } = require("undici");

const talk = require("./talk.cjs");

const [url, proxy, ca] = process.argv.slice(2);

const dispatcher = new ProxyAgent({ uri: proxy, requestTls: { ca: fs.readFileSync(ca) } });
const ws = new WebSocket(url, { dispatcher });

talk(ws);
