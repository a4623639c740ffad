// Prints forecasts as they come, and goes on where it was after a lost connection.
//
//     npm install ws
//     node examples/subscribe.mjs ws://127.0.0.1:9630/v1/stream AAPL MSFT
//
// The token, where the daemon has one, comes from the variable TICKCAST_TOKEN.
// COUNT=10 ends after so many forecasts.

import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";

const WAIT_MS_MAX = 30_000;
const token = process.env.TICKCAST_TOKEN;
const headers = token ? { authorization: `Bearer ${token}` } : {};

const [url = "ws://127.0.0.1:9630/v1/stream", ...symbols] = process.argv.slice(2);
const address = new URL(url);
address.searchParams.set("envelope", "true");
address.searchParams.set("snapshot", "true");
address.searchParams.set("when_slow", "conflate");
if (symbols.length > 0) address.searchParams.set("symbols", symbols.join(","));

let left = Number(process.env.COUNT ?? 0);
let waitMs = 1000;

function take(forecast) {
  console.log(forecast.symbol, forecast.as_of, forecast.value, forecast.signal);
  left -= 1;
  if (left === 0) process.exit(0);
}

/** One connection, to its end. */
function follow() {
  return new Promise((resolve, reject) => {
    let stream;
    const socket = new WebSocket(address, { headers });
    socket.on("message", (text) => {
      const message = JSON.parse(text);
      if (message.notice !== undefined) {
        stream = message.stream;
        if (message.notice === "missed") console.error(`missed ${message.records} forecasts`);
        return;
      }
      // From here on a new connection begins behind this forecast.
      address.searchParams.set("after", `${stream}:${message.seq}`);
      waitMs = 1000;
      take(message.forecast);
    });
    socket.on("unexpected-response", (_, response) => {
      const refused = new Error(`the daemon answers ${response.statusCode}`);
      response.statusCode < 500 ? reject(refused) : resolve(refused.message);
    });
    socket.on("error", (error) => resolve(error.message));
    socket.on("close", (code, reason) => resolve(`closed, ${code} ${reason}`));
  });
}

for (;;) {
  console.error(`connection lost: ${await follow()}`);
  await sleep(Math.random() * waitMs);
  waitMs = Math.min(2 * waitMs, WAIT_MS_MAX);
}
