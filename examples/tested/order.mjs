// The app under test, for Node: buys as many as it is told, and says when that is filled.
//
// node order.mjs ws://service/orders 3           with HTTP_PROXY set to the proxy, and the package ws
import http from "node:http";
import { createRequire } from "node:module";

const WebSocket = createRequire(import.meta.url)("ws");
const [url, count] = process.argv.slice(2);
const proxy = new URL(process.env.HTTP_PROXY);
const { host } = new URL(url);

http
  .request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: host })
  .on("connect", (_, socket) => {
    const service = new WebSocket(url, { createConnection: () => socket });
    service.on("open", () => service.send(JSON.stringify({ buy: Number(count) })));
    service.on("message", (message) => {
      console.log(`filled ${JSON.parse(message).filled}`);
      service.close();
    });
    service.on("close", () => process.exit());
  })
  .end();
