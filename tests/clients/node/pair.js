// The running pair and its provider, told by the environment (as in ../running_pair.py), and the documented errors.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import OpenAI from "openai";

const {
  VECTOLL_BASE_URL,
  VECTOLL_ADMIN_URL,
  VECTOLL_KEY,
  VECTOLL_LIMITED_KEY,
  VECTOLL_PROVIDER_URL,
  VECTOLL_DOCUMENTED_API,
} = process.env;

export const MODEL = "text-embedding-3-small";

/** The official client, as in the documented examples: the base URL has no /v1. */
export function client(apiKey = VECTOLL_KEY, options = {}) {
  return new OpenAI({ apiKey, baseURL: VECTOLL_BASE_URL, ...options });
}

export function limitedClient() {
  return client(VECTOLL_LIMITED_KEY, { maxRetries: 0 });
}

/** One call at a time. */
export function serialClient() {
  return client(process.env.VECTOLL_SERIAL_KEY, { maxRetries: 4 });
}

async function get(url) {
  const answer = await fetch(url);
  assert.equal(answer.status, 200, url);
  return answer;
}

/** The sum of the samples of this name that have this user. */
export async function userMetric(name, user) {
  const lines = (await (await get(`${VECTOLL_ADMIN_URL}/metrics`)).text()).split("\n");
  const samples = lines.filter((line) => line.startsWith(`${name}{`) && line.includes(`user="${user}"`));
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

/** What the provider saw since this was made. */
export class Seen {
  static async fromNow() {
    const seen = new Seen();
    seen.before = await seen.account();
    return seen;
  }

  async account() {
    return (await get(`${VECTOLL_PROVIDER_URL}/account`)).json();
  }

  /** Requests and tokens that were charged. */
  async charged() {
    const now = await this.account();
    assert.deepEqual(now.violations, []);
    return [
      now.charged_requests - this.before.charged_requests,
      now.charged_tokens - this.before.charged_tokens,
    ];
  }

  /** The last body that the provider was sent; the caller's key may not have come with it. */
  async lastBody() {
    const request = (await (await get(`${VECTOLL_PROVIDER_URL}/requests`)).json()).at(-1);
    for (const secret of [VECTOLL_KEY, VECTOLL_LIMITED_KEY]) {
      assert.ok(!JSON.stringify(request).includes(secret));
    }
    return JSON.parse(request.body);
  }
}

/** The vectors that the provider computes, as 32-bit floats. */
export async function vectors(input, dimensions = 1536) {
  const body = JSON.stringify({ model: "any", input, dimensions });
  const answer = await fetch(`${VECTOLL_PROVIDER_URL}/vectors`, { method: "POST", body });
  assert.equal(answer.status, 200);
  return (await answer.json()).vectors.map((vector) => Float32Array.from(vector));
}

/** The vectors of an answer, as 32-bit floats. */
export function answered(response) {
  return response.data.map((item) => Float32Array.from(item.embedding));
}

/** The JSON under a heading of the documented API. */
async function documentedError(heading) {
  const lines = (await readFile(VECTOLL_DOCUMENTED_API, "utf8")).split("\n");
  const begin = lines.indexOf(heading) + 1;
  assert.ok(begin > 0, heading);
  const end = lines.indexOf("}", begin);
  return JSON.parse(lines.slice(begin, end + 1).join("\n")).error;
}

/** The message may go on after the documented words, and fields may be added. */
export async function assertDocumented(caught, heading) {
  const { message, ...fields } = await documentedError(heading);
  assert.ok(caught.error.message.startsWith(message), caught.error.message);
  for (const [field, value] of Object.entries(fields)) {
    assert.equal(caught.error[field], value, field);
  }
}
