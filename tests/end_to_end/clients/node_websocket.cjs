// Usage: NODE_EXTRA_CA_CERTS=CA node node_websocket.cjs URL PROXY CA
"use strict";

const { HttpsProxyAgent } = require("https-proxy-agent");
const { w3cwebsocket } = require("websocket");

const talk = require("./talk.cjs");

const [url, proxy] = process.argv.slice(2);

const ws = new w3cwebsocket(url, [], null, null, { agent: new HttpsProxyAgent(proxy) });

talk(ws);
// It reports 1006 if the connection is reset after the close frame has come and before it has read that.
ws.onclose = () => process.exit(0);
