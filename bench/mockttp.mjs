// mockttp as a proxy with its message events on: node mockttp.mjs FOLDER-WITH-MOCKTTP CA-OF-THE-SERVER
import { createRequire } from "node:module";
import net from "node:net";

const [folder, serverCA] = process.argv.slice(2);
const mockttp = createRequire(folder + "/")("mockttp");

// mockttp listens on all interfaces; here it is for this machine only.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, port, "127.0.0.1", ...rest);
};

const ca = await mockttp.generateCACertificate();
const server = mockttp.getLocal({ https: ca, recordTraffic: false });
await server.start(0);
await server.forAnyWebSocket().thenPassThrough({ additionalTrustedCAs: [{ certPath: serverCA }] });

let counted = 0;
const count = () => { counted += 1; };
await server.on("websocket-message-received", count);
await server.on("websocket-message-sent", count);

process.on("SIGTERM", () => {
  console.log("COUNTED", counted);
  process.exit();
});
console.log("READY", JSON.stringify({ port: server.port, ca: ca.cert }));
