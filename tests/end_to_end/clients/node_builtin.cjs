// Usage: NODE_EXTRA_CA_CERTS=CA node node_builtin.cjs URL PROXY CA
"use strict";

const { ProxyAgent, setGlobalDispatcher } = require("undici");

const talk = require("./talk.cjs");

const [url, proxy] = process.argv.slice(2);

setGlobalDispatcher(new ProxyAgent(proxy));
const ws = new WebSocket(url);

talk(ws);
