// payd from Node 18 or newer, without packages: create an order, verify a webhook.
//
//   node payd.mjs create OUT_TRADE_NO FEN DESCRIPTION
//   node payd.mjs verify ID TIMESTAMP SIGNATURE < raw-body
//
// PAYD_URL, PAYD_KEY and PAYD_WEBHOOK_SECRET come from the environment.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

const URL = process.env.PAYD_URL ?? "http://127.0.0.1:8080";
const KEY = process.env.PAYD_KEY;
const SECRET = process.env.PAYD_WEBHOOK_SECRET;

/** Create an order. Repeating it with the same idempotencyKey gives the same order, never a second one. */
export async function createOrder(order, idempotencyKey) {
  const answer = await fetch(`${URL}/pay/create`, {
    method: "POST",
    headers: { "X-Api-Key": KEY, "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
    body: JSON.stringify(order),
    signal: AbortSignal.timeout(15_000),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${body.code}: ${body.detail} (request ${body.request_id})`);
  return body; // body.code_url: show it as a QR code; status 202: outcome "unknown", repeat or wait for the webhook
}

/** Verify a webhook over its raw body (a Buffer) and return the event. Throws when it is forged or too old. */
export function verifyWebhook(secret, id, timestamp, signatures, rawBody) {
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) throw new Error("webhook: timestamp out of range");
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const wanted = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(rawBody).digest();
  const genuine = signatures.split(" ").some((signature) => {
    const [version, value] = signature.split(",");
    const given = Buffer.from(value ?? "", "base64");
    return version === "v1" && given.length === wanted.length && timingSafeEqual(given, wanted);
  });
  if (!genuine) throw new Error("webhook: no matching signature");
  return JSON.parse(rawBody.toString("utf8"));
}

const [command, ...rest] = process.argv.slice(2);
if (command === "create") {
  const [outTradeNo, fen, description] = rest;
  const order = { out_trade_no: outTradeNo, description, amount: { total: Number(fen) } };
  console.log(JSON.stringify(await createOrder(order, outTradeNo)));
} else if (command === "verify") {
  const [id, timestamp, signatures] = rest;
  console.log(verifyWebhook(SECRET, id, timestamp, signatures, readFileSync(0)).type);
}
