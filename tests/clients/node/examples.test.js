// The documented examples with the official client for Node.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answered, client, MODEL, Seen, userMetric, vectors } from "./pair.js";

test("request", async () => {
  const seen = await Seen.fromNow();
  const input = "The quick brown fox";
  const response = await client().embeddings.create({ model: MODEL, input });
  assert.equal(response.object, "list");
  assert.equal(response.model, MODEL);
  assert.equal(response.data[0].embedding.length, 1536);
  assert.deepEqual(answered(response), await vectors(input));
  assert.deepEqual(await seen.charged(), [1, 4]);
  assert.equal(response.usage.prompt_tokens, 4);
  // The official client asks for base64 unless told otherwise.
  assert.deepEqual(await seen.lastBody(), { model: MODEL, input, encoding_format: "base64" });
});

test("batch", async () => {
  const seen = await Seen.fromNow();
  const input = ["First document", "Second document", "Third document"];
  const response = await client().embeddings.create({ model: MODEL, input });
  assert.deepEqual(response.data.map((item) => item.index), [0, 1, 2]);
  assert.deepEqual(answered(response), await vectors(input));
  assert.deepEqual(await seen.charged(), [1, 6]);
  assert.deepEqual((await seen.lastBody()).input, input);
});

test("user tracking", async () => {
  const seen = await Seen.fromNow();
  const before = await userMetric("vectoll_user_requests_total", "user-789");
  const headers = { "x-litellm-user-id": "user-789" };
  const response = await client().embeddings.create({ model: MODEL, input: "Sample text" }, { headers });
  assert.deepEqual(answered(response), await vectors("Sample text"));
  assert.deepEqual(await seen.charged(), [1, 2]);
  assert.equal(await userMetric("vectoll_user_requests_total", "user-789"), before + 1);
});

test("custom dimensions", async () => {
  const seen = await Seen.fromNow();
  const response = await client().embeddings.create({ model: MODEL, input: "Sample text", dimensions: 512 });
  assert.equal(response.data[0].embedding.length, 512);
  assert.deepEqual(answered(response), await vectors("Sample text", 512));
  assert.equal((await seen.lastBody()).dimensions, 512);
});

test("user of the body reaches the provider", async () => {
  const seen = await Seen.fromNow();
  await client().embeddings.create({ model: MODEL, input: "Sample text", user: "user-456" });
  assert.equal((await seen.lastBody()).user, "user-456");
});

test("floats are the same vectors", async () => {
  const seen = await Seen.fromNow();
  const response = await client().embeddings.create({ model: MODEL, input: "Sample text", encoding_format: "float" });
  assert.deepEqual(answered(response), await vectors("Sample text"));
  assert.equal((await seen.lastBody()).encoding_format, "float");
});
