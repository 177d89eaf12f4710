// What else the official client for Node can do: Azure's class, raw responses, many calls at once, and waiting as it is told.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AzureOpenAI } from "openai";

import { answered, client, MODEL, Seen, serialClient, vectors } from "./pair.js";

const INPUT = ["First document", "Second document"];

test("Azure's class", async () => {
  const seen = await Seen.fromNow();
  const azure = new AzureOpenAI({
    endpoint: process.env.VECTOLL_BASE_URL,
    apiKey: process.env.VECTOLL_KEY,
    apiVersion: "2024-10-21",
    maxRetries: 0,
  });
  const response = await azure.embeddings.create({ model: MODEL, input: INPUT });
  assert.deepEqual(answered(response), await vectors(INPUT));
  assert.equal((await seen.lastBody()).model, MODEL);
});

test("an empty string alone is an input", async () => {
  const response = await client().embeddings.create({ model: MODEL, input: "" });
  assert.deepEqual(response.data.map((item) => item.embedding.length), [1536]);
});

test("raw responses have the headers", async () => {
  const call = client().embeddings.create(
    { model: MODEL, input: "The quick brown fox" },
    { headers: { "x-litellm-metadata": '{"tags": ["a"]}' } },
  );
  const { data, response } = await call.withResponse();
  assert.equal(response.headers.get("x-litellm-response-cost"), "0.00000008");
  assert.equal(response.headers.get("x-litellm-call-id").length, 36);
  assert.equal(data.usage.prompt_tokens, 4);
});

test("many at once, in both encodings", async () => {
  const calls = Array.from({ length: 16 }, (_, at) =>
    client().embeddings.create({ model: MODEL, input: INPUT, ...(at % 2 ? { encoding_format: "float" } : {}) }),
  );
  const expected = await vectors(INPUT);
  for (const response of await Promise.all(calls)) {
    assert.deepEqual(answered(response), expected);
  }
});

test("models", async () => {
  const ids = [];
  for await (const model of client().models.list()) {
    ids.push(model.id);
  }
  assert.ok(ids.includes(MODEL), ids.join());
  assert.equal((await client().models.retrieve(MODEL)).id, MODEL);
});

test("the client waits as it is told", async () => {
  const slow = serialClient().embeddings.create({ model: "fault-slow-1500", input: "a" });
  await new Promise((resolve) => setTimeout(resolve, 300));
  const began = Date.now();
  await serialClient().embeddings.create({ model: MODEL, input: "b" });
  // Told a second each time; without that the client would come back after half a second at most.
  assert.ok(Date.now() - began >= 2000, String(Date.now() - began));
  await slow;
});
