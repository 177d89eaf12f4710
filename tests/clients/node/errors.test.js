// The documented errors, as the official client for Node sees them.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

import { assertDocumented, client, limitedClient, MODEL, Seen } from "./pair.js";

async function caughtFrom(call, kind) {
  const caught = await call.then(() => assert.fail("it was answered"), (error) => error);
  assert.ok(caught instanceof kind, caught);
  return caught;
}

test("401 Unauthorized", async () => {
  const seen = await Seen.fromNow();
  const call = client("sk-litellm-wrong").embeddings.create({ model: MODEL, input: "Sample text" });
  const caught = await caughtFrom(call, OpenAI.AuthenticationError);
  await assertDocumented(caught, "401 Unauthorized");
  assert.ok(!JSON.stringify(caught.error).includes("sk-litellm-wrong"));
  assert.deepEqual(await seen.charged(), [0, 0]);
});

test("429 Too Many Requests", async () => {
  const seen = await Seen.fromNow();
  const ask = () => limitedClient().embeddings.create({ model: MODEL, input: "Sample text" });
  await ask();
  const caught = await caughtFrom(ask(), OpenAI.RateLimitError);
  await assertDocumented(caught, "429 Too Many Requests");
  const seconds = Number(caught.headers.get("retry-after"));
  assert.ok(seconds >= 1 && seconds <= 60, String(seconds));
  assert.deepEqual(await seen.charged(), [1, 2]);
});

for (const input of [[], [""], ["text", 1], [[1], "text"], { text: "x" }, 1, [1.5], null]) {
  test(`400 Bad Request: ${JSON.stringify(input)}`, async () => {
    const seen = await Seen.fromNow();
    const caught = await caughtFrom(client().embeddings.create({ model: MODEL, input }), OpenAI.BadRequestError);
    await assertDocumented(caught, "400 Bad Request");
    assert.deepEqual(await seen.charged(), [0, 0]);
  });
}
