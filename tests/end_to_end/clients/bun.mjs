// Usage: bun bun.mjs URL PROXY CA
import talk from "./talk.cjs";

const [url, proxy, ca] = process.argv.slice(2);

const ws = new WebSocket(url, { proxy, tls: { ca: Bun.file(ca) } });

talk(ws);
