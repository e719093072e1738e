// Usage: HTTP_PROXY=PROXY HTTPS_PROXY=PROXY DENO_CERT=CA deno run --allow-net deno.mjs URL PROXY CA
import talk from "./talk.cjs";

const [url] = Deno.args;

const ws = new WebSocket(url);

talk(ws);
