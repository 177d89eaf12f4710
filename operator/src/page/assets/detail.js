// One row in full: figures, budgets, months, conditions, and the spec as its owner wrote it.

import { askJson } from "./ask.js";
import { monthParts } from "./months.js";
import { byId, element, grouped, meter, moment, relative, section, state, table, time } from "./parts.js";
import { NAME_COLUMNS, ONE, TITLES, hashOf, plain } from "./view.js";

export async function showDetail(view, signal) {
  const id = new URLSearchParams({ id: view.id });
  const detail = await askJson(`${view.table}/detail?${id}`, signal);
  const cells = Object.fromEntries(detail.columns.map((column, at) => [column.word, detail.cells[at]]));
  byId("list").hidden = true;
  byId("detail").hidden = false;
  byId("notices").replaceChildren();
  byId("back").href = hashOf({ ...view, id: null });
  byId("back").textContent = `← ${TITLES[view.table]}`;
  const title = byId("detail-title");
  title.textContent = cells[NAME_COLUMNS[view.table]] || "(empty)";
  byId("detail-state").replaceChildren(...(cells.state ? [state(cells.state)] : []));
  byId("detail-where").textContent = `${ONE[view.table]} of namespace ${detail.namespace} · as of ${moment(detail.at)}`;
  const months = detail.hasMonths ? section("By month", element("p", { className: "faint", text: "Reading…" })) : null;
  byId("detail-body").replaceChildren(...detailParts(view, detail, cells, months));
  title.focus();
  if (months === null) return;
  const put = (...parts) => months.replaceChildren(months.firstChild, ...parts);
  try {
    const read = await askJson(`${view.table}/months?${id}`, signal);
    put(...monthParts(read, months.clientWidth));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    put(element("p", { className: "error", text: error.message }));
  }
}

function detailParts(view, detail, cells, months) {
  const parts = [];
  if (cells.state?.message) {
    const isBad = ["Failed", "Refusing"].includes(cells.state.level);
    parts.push(element("p", { className: isBad ? "notice bad" : "notice" }, element("strong", { text: `${cells.state.reason}: ` }), cells.state.message));
  }
  parts.push(tiles(cells));
  if (view.table === "teams") parts.push(teamLinks(detail.id));
  if (detail.budgets.length > 0) {
    parts.push(section("Budgets", element("div", { className: "budgets" }, ...detail.budgets.map((one) => budget(one, detail.at)))));
  }
  if (months !== null) parts.push(months);
  if (detail.conditions.length > 0) {
    const rows = detail.conditions.map((one) => [one.type, one.status, one.reason, one.message, one.since ? time(one.since, detail.at) : null]);
    parts.push(section("Conditions", table("What holds, and why", ["Type", "Status", "Reason", "Message", "Since"], rows)));
  }
  const columns = element("div", { className: "columns" }, section("Facts", facts(detail, cells)));
  if (detail.declared.length > 0) {
    columns.append(section("Declared", table("Fields of the spec that are set", ["Field", "Value"], detail.declared, { mono: true })));
  }
  parts.push(columns);
  for (const note of detail.notes) parts.push(element("p", { className: "hint", text: note }));
  return parts;
}

/** The figures that one looks for first. */
function tiles(cells) {
  const tile = (label, value, unit) => element("div", {}, element("dt", { text: label }), element("dd", {}, value, ...(unit ? [element("span", { className: "unit", text: ` ${unit}` })] : [])));
  const known = [
    ["Calls ever", cells.requests, ""],
    ["Tokens ever", cells.tokens, ""],
    ["Spent ever", cells.total, "USD"],
    ["Unsettled ever", cells.unsettled, "USD"],
  ].filter(([, value]) => value !== null && value !== undefined);
  if (known.length === 0) return "";
  return element("dl", { className: "tiles" }, ...known.map(([label, value, unit]) => tile(label, grouped(value), unit)));
}

/** What is in no tile, no budget and no title. */
function facts(detail, cells) {
  const shown = new Set(["name", "namespace", "state", "spent", "limit", "used", "period", "resets", "requests", "tokens", "total", "unsettled", "owing"]);
  const list = element("dl", { className: "facts card" });
  const add = (label, ...value) => list.append(element("dt", { text: label }), element("dd", {}, ...value));
  for (const column of detail.columns) {
    const cell = cells[column.word];
    if (shown.has(column.word) || cell === null) continue;
    if (column.word === "team" || column.word === "parent") add(column.title, element("a", { href: hashOf({ ...plain("teams"), id: cell }), text: cell }));
    else add(column.title, column.format === "time" ? `${moment(cell)} (${relative(cell, detail.at)})` : cell);
  }
  for (const [label, text] of detail.more) add(label, /^\d{4}-\d\d-\d\dT/.test(text) ? moment(text) : text);
  if (list.childElementCount === 0) add("Namespace", detail.namespace);
  return list;
}

function teamLinks(team) {
  const links = ["keys", "users", "models"].map((name) =>
    element("a", { href: hashOf({ ...plain(name), team }), text: `${TITLES[name]} of this Team` }));
  return element("section", { className: "links" }, ...links);
}

function budget(of, now) {
  const name = [of.of, of.period || "Budget"].filter(Boolean).join(" · ");
  const made = element("article", { className: "budget card" });
  made.append(element("header", {}, element("span", { text: name }), element("span", { text: of.percent === null ? "" : `${of.percent}%` })));
  if (of.percent !== null) made.append(meter(of.percent));
  const amounts = element("p", { className: "amounts" });
  if (of.spent === null) amounts.append(`${grouped(of.limit)} USD`);
  else if (of.limit === null) amounts.append(`${grouped(of.spent)} USD spent, no budget`);
  else amounts.append(element("span", { text: `${grouped(of.spent)} of ${grouped(of.limit)} USD` }), element("span", { text: `${grouped(of.remaining)} left` }));
  const more = element("ul");
  const line = (text, className = "") => more.append(element("li", { className, text }));
  if (of.spent === null) line("What of it is spent has not been counted yet, or is counted by each sidecar for itself");
  if (of.refusedAt !== null) line(`A call was refused at a limit of ${grouped(of.refusedAt)} USD, and would still be`, "refused");
  if (of.held !== null && /[1-9]/.test(of.held)) line(`${grouped(of.held)} USD held by sidecars for calls under way and to come`);
  if (of.audit) line("On trial: calls beyond it are served");
  if (of.resets) line(`Begins anew ${relative(of.resets, now)}, ${moment(of.resets)}`);
  if (of.written) line(`From the status, written ${relative(of.written, now)}`);
  made.append(amounts, more);
  return made;
}
