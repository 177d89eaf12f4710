// Questions to the operator, and the token that they go with.

export class Unauthorized extends Error {}

const NAME = "vectoll-token";

/** It is kept for this tab, and goes out in one header only: never in an address. */
export const token = {
  get: () => sessionStorage.getItem(NAME),
  keep: (value) => sessionStorage.setItem(NAME, value),
  forget: () => sessionStorage.removeItem(NAME),
};

/** Takes the token that `kubectl vectoll page` handed over behind the #, which browsers send to nobody, and wipes it from there. */
export function takeToken() {
  const handed = /^#token=(.+)$/.exec(location.hash);
  if (handed === null) return;
  history.replaceState(null, "", location.pathname);
  token.keep(decodeURIComponent(handed[1]));
}

export async function ask(path, signal) {
  const headers = {};
  const kept = token.get();
  if (kept) headers.authorization = `Bearer ${kept}`;
  const answer = await fetch(`api/${path}`, {
    headers,
    signal,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    referrerPolicy: "no-referrer",
  });
  if (answer.ok) return answer;
  let message = `${answer.status} ${answer.statusText}`;
  try {
    message = (await answer.json()).error ?? message;
  } catch {
    // A proxy on the way answered, not the operator.
  }
  throw answer.status === 401 ? new Unauthorized(message) : new Error(message);
}

export const askJson = async (path, signal) => (await ask(path, signal)).json();
