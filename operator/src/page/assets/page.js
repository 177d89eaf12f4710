// Who reads, what they want to see, and what they press.

import { Unauthorized, ask, askJson, takeToken, token } from "./ask.js";
import { showDetail } from "./detail.js";
import { showList } from "./list.js";
import { byId, element } from "./parts.js";
import { ONE, TITLES, go, queryOf, wanted } from "./view.js";

const SEARCH_DELAY_MS = 250;
const THEMES = ["system", "light", "dark"];

let about = null;
let running = null;

const report = (message) => { byId("error").textContent = message; };

// ---- Who reads ----

async function open() {
  report("");
  try {
    about = await askJson("about");
  } catch (error) {
    about = null;
    if (error instanceof Unauthorized) {
      signIn(token.get() ? error.message : "");
      token.forget();
      return;
    }
    report(`Nothing can be shown: ${error.message}`);
    return;
  }
  byId("sign-in").hidden = true;
  byId("sign-in-error").textContent = "";
  byId("reader").textContent = about.reader ?? "";
  byId("sign-out").hidden = !token.get();
  byId("about").textContent = `Vectoll ${about.version}`;
  await show();
}

function signIn(message) {
  byId("list").hidden = true;
  byId("detail").hidden = true;
  byId("notices").replaceChildren();
  byId("status").textContent = "";
  byId("reader").textContent = "";
  byId("sign-out").hidden = true;
  byId("sign-in").hidden = false;
  byId("sign-in-error").textContent = message;
  byId("token").focus();
}

function notices(source, notAsked) {
  const texts = [];
  if (about.seesNothing) {
    texts.push("You may list neither ApiKeys nor Teams nor ModelRoutes in any namespace that has some. Whoever administers the cluster " +
      "can bind you the ClusterRole whose name ends in -view.");
  }
  if (notAsked > 0) {
    texts.push(`${notAsked} further namespaces were not looked at, for there are too many: name one to see it.`);
  }
  if (source.message) texts.push(source.message);
  byId("notices").replaceChildren(...texts.map((text) => element("p", { className: "notice", text })));
}

// ---- What they want to see ----

async function show() {
  if (about === null) return;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const view = wanted();
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.dataset.table === view.table) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view.id === null ? TITLES[view.table] : `${ONE[view.table]} ${view.id}`} – Vectoll`;
  try {
    const answer = view.id === null ? await showList(view, signal) : await showDetail(view, signal);
    if (answer) notices(answer.source, answer.notAsked);
    report("");
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof Unauthorized) {
      token.forget();
      about = null;
      signIn(error.message);
      return;
    }
    report(error.message);
    byId("status").textContent = "";
  }
}

async function download() {
  const button = byId("download");
  button.disabled = true;
  try {
    const view = wanted();
    const params = queryOf(view);
    params.delete("page");
    params.delete("size");
    const answer = await ask(`${view.table}/rows.csv?${params}`);
    const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? `vectoll-${view.table}.csv`;
    const address = URL.createObjectURL(await answer.blob());
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    report("");
  } catch (error) {
    report(`No file: ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

// ---- Colours ----

function theme() {
  const kept = localStorage.getItem("vectoll-theme");
  return THEMES.includes(kept) ? kept : "system";
}

function applyTheme() {
  const present = theme();
  if (present === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = present;
  byId("theme").textContent = `Colours: ${present}`;
}

// ---- What they press ----

byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.keep(byId("token").value.trim());
  byId("token").value = "";
  void open();
});
byId("sign-out").addEventListener("click", () => {
  token.forget();
  about = null;
  running?.abort();
  signIn("");
});
byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  localStorage.setItem("vectoll-theme", next);
  applyTheme();
});
const searched = () => ({
  q: byId("search").value.trim(),
  namespace: byId("namespace").value.trim(),
  team: byId("team-field").hidden ? "" : byId("team").value.trim(),
  page: 1,
});
let typing;
byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  go(searched());
});
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => go(searched(), true), SEARCH_DELAY_MS);
});
byId("sort").addEventListener("change", () => {
  const [sort, order] = byId("sort").value.split(" ");
  go({ sort, order, page: 1 });
});
byId("refresh").addEventListener("click", () => void show());
byId("download").addEventListener("click", () => void download());
for (const button of ["first", "previous", "next", "last"]) {
  byId(button).addEventListener("click", () => go({ page: Number(byId(button).dataset.page) }));
}
byId("size").addEventListener("change", () => go({ size: Number(byId("size").value), page: 1 }));
byId("skip").addEventListener("click", (event) => {
  // The address behind the # is the view's.
  event.preventDefault();
  byId("main").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target instanceof Element && event.target.matches("input, select, textarea");
  if (event.key === "/" && !isTyping && !byId("list").hidden) {
    event.preventDefault();
    byId("search").focus();
  } else if (event.key === "Escape" && !byId("detail").hidden) {
    go({ id: null });
  }
});
function arrived() {
  const handed = token.get();
  takeToken();
  // A tab that is open already has been handed a token.
  if (token.get() !== handed) void open();
  else void show();
}
addEventListener("hashchange", arrived);

applyTheme();
takeToken();
void open();
