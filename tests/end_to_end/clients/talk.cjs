// The conversation of every client here, in the API that browsers have: a text, a binary, and a close with a code.
"use strict";

module.exports = (ws) => {
  ws.binaryType = "arraybuffer";
  ws.onopen = () => ws.send("buy é 🎉");
  ws.onmessage = ({ data }) => {
    if (typeof data === "string") {
      console.log("text", data);
      ws.send(Uint8Array.of(0, 1, 254, 255));
    } else {
      console.log("binary", Array.from(new Uint8Array(data), (byte) => byte.toString(16).padStart(2, "0")).join(""));
      ws.close(4001, "bye");
    }
  };
  ws.onerror = (event) => console.log("error", event.message, event.error);
  ws.onclose = ({ code, reason }) => {
    console.log("closed", code, reason);
    process.exit(code === 4001 ? 0 : 1);
  };
};
