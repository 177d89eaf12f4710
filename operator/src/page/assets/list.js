// A table: its columns on the page, the states that its rows are in, and the pages.

import { askJson } from "./ask.js";
import { NUMBERS, byId, content, element, grouped, moment, relative } from "./parts.js";
import { NAME_COLUMNS, ONE, TITLES, go, hashOf, plain, queryOf } from "./view.js";

/** States in the order in which they want to be looked at. */
const STATES = ["Failed", "Refusing", "Stopped", "Warning", "Unknown", "Ready"];

const below = (...words) => (cells) => words.map((word) => cells[word]).filter(Boolean).join(" · ");
const PERIOD = "This period";
const EVER = "Ever";
const expiry = (cells, now) => (cells.expires === null ? null : `${Date.parse(cells.expires) < Date.parse(now) ? "expired" : "expires"} ${relative(cells.expires, now, 1)}`);
/** Without a budget it is the calendar month, which has a longer name in files. */
const period = (cells) => (cells.limit === null && cells.spent !== null ? "this month" : cells.period);
const SPENDING = [
  { word: "spent", title: "Spent", group: PERIOD, sub: period },
  { word: "limit", title: "Budget", group: PERIOD },
  { word: "used", title: "Used", group: PERIOD },
  { word: "resets", title: "Resets", group: PERIOD },
];
const COUNTED = [
  { word: "requests", title: "Calls", group: EVER },
  { word: "tokens", title: "Tokens", group: EVER },
  { word: "total", title: "Spent", group: EVER },
];
const STATE = { word: "state", title: "State" };
const TEAM = { word: "team", title: "Team" };

/** What of the server's columns is shown, and how; a file has all of them. */
const COLUMNS = {
  teams: [{ word: "name", title: "Team", sub: below("namespace", "displayName") }, { word: "parent", title: "Above" }, STATE, ...SPENDING, ...COUNTED],
  keys: [{ word: "name", title: "Key", sub: below("namespace") }, TEAM, { word: "user", title: "Owner" }, { ...STATE, sub: expiry }, ...SPENDING, ...COUNTED],
  users: [{ word: "user", title: "User" }, TEAM, ...COUNTED],
  models: [{ word: "model", title: "Model" }, TEAM, { word: "provider", title: "Provider" }, { word: "backend", title: "Backend" }, ...COUNTED],
  routes: [{ word: "name", title: "Route", sub: below("namespace") }, { word: "models", title: "Models" }, { word: "backends", title: "Backends" },
    STATE, ...SPENDING.map((column) => (column.word === "limit" ? { ...column, sub: below("owing") } : column))],
};

/** The columns of a table on the page, each with what the server says of it. */
function columnsOf(answer) {
  const known = new Map(answer.columns.map((column) => [column.word, column]));
  return COLUMNS[answer.table].map((column) => ({ ...column, format: known.get(column.word).format, full: known.get(column.word).title }));
}

export async function showList(view, signal) {
  const cameFromDetail = !byId("detail").hidden;
  byId("detail").hidden = true;
  byId("list").hidden = false;
  byId("list-title").textContent = TITLES[view.table];
  if (cameFromDetail) byId("list-title").focus();
  for (const field of ["search", "namespace", "team"]) {
    const value = view[field === "search" ? "q" : field];
    if (document.activeElement !== byId(field) && byId(field).value !== value) byId(field).value = value;
  }
  byId("team-field").hidden = view.table === "routes";
  byId("size").value = String(view.size);
  const answer = await askJson(`${view.table}?${queryOf(view)}`, signal);
  const pages = Math.max(1, Math.ceil(answer.total / answer.size));
  if (view.page > pages) {
    go({ page: pages }, true);
    return null;
  }
  const columns = columnsOf(answer);
  drawStates(view, answer);
  drawHead(columns, answer);
  drawSort(answer);
  drawBody(view, columns, answer);
  drawPlace(view, answer, pages);
  // For whoever measures it.
  performance.mark("rows");
  return answer;
}

function drawStates(view, answer) {
  const number = (word) => answer.states[word] ?? 0;
  const all = STATES.reduce((sum, word) => sum + number(word), 0);
  const focused = document.activeElement?.dataset?.state;
  const chip = (word, title, count) => {
    const made = element("button", { type: "button", "data-state": word, "aria-pressed": String(view.state === word), text: title },
      element("span", { className: "count", text: grouped(String(count)) }));
    made.addEventListener("click", () => go({ state: word, page: 1 }));
    return made;
  };
  const shown = STATES.filter((word) => number(word) > 0 || view.state === word);
  byId("states").replaceChildren(...(all === 0 && view.state === "" ? [] : [chip("", "All", all), ...shown.map((word) => chip(word, word, number(word)))]));
  if (focused !== undefined) byId("states").querySelector(`[data-state="${CSS.escape(focused)}"]`)?.focus();
}

/** A number is most often asked for from the largest down. */
const firstOrder = (column) => (NUMBERS.has(column.format) ? "desc" : "asc");

function drawHead(columns, answer) {
  const focused = document.activeElement?.dataset?.sort;
  const title = (column) => {
    const isSorted = column.word === answer.sort;
    const arrow = isSorted ? element("span", { "aria-hidden": "true", text: answer.order === "desc" ? " ▼" : " ▲" }) : "";
    const button = element("button", { type: "button", "data-sort": column.word, title: `Sort by: ${column.full}`, text: column.title }, arrow);
    button.addEventListener("click", () => {
      const order = isSorted ? (answer.order === "desc" ? "asc" : "desc") : firstOrder(column);
      go({ sort: column.word, order, page: 1 });
    });
    return element("th", {
      scope: "col",
      role: "columnheader",
      rowspan: column.group ? null : 2,
      className: NUMBERS.has(column.format) ? "number" : "",
      "aria-sort": isSorted ? (answer.order === "desc" ? "descending" : "ascending") : "none",
    }, button);
  };
  const top = [];
  for (const column of columns) {
    const last = top.at(-1);
    if (!column.group) top.push(title(column));
    else if (last?.dataset.group === column.group) last.colSpan += 1;
    else {
      const group = element("th", { scope: "colgroup", role: "columnheader", className: "group", "data-group": column.group });
      group.append(element("span", { text: column.group }));
      top.push(group);
    }
  }
  const grouped = columns.filter((column) => column.group).map(title);
  byId("head").replaceChildren(element("tr", { role: "row" }, ...top), element("tr", { role: "row" }, ...grouped));
  if (focused) byId("head").querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
}

/** By all columns, also those that a table has no room for; narrow windows show no titles at all. */
function drawSort(answer) {
  byId("sort").replaceChildren(...answer.columns.flatMap((column) => {
    const orders = firstOrder(column) === "desc" ? ["desc", "asc"] : ["asc", "desc"];
    return orders.map((order) => {
      const option = element("option", { value: `${column.word} ${order}`, text: `${column.title} ${order === "desc" ? "▼" : "▲"}` });
      option.selected = column.word === answer.sort && order === answer.order;
      return option;
    });
  }));
}

function drawBody(view, columns, answer) {
  const words = answer.columns.map((column) => column.word);
  const line = (row) => {
    const cells = Object.fromEntries(words.map((word, at) => [word, row.cells[at]]));
    return element("tr", { role: "row" }, ...columns.map((column) => drawCell(view, column, cells, row.id, answer.at)));
  };
  byId("body").replaceChildren(...answer.rows.map(line));
  byId("nothing").hidden = answer.total > 0;
  byId("table").hidden = answer.total === 0;
  const isSearched = ["q", "namespace", "team", "state"].some((name) => view[name] !== "");
  byId("nothing").textContent = isSearched ? `No ${TITLES[view.table].toLowerCase()} are found that you may list.`
    : `There are no ${TITLES[view.table].toLowerCase()} that you may list.`;
}

/** Names of the usual length stay on one line. */
const breaking = (text) => (text.length <= 26 ? "whole" : "");

function drawCell(view, column, cells, id, now) {
  const cell = cells[column.word];
  const className = NUMBERS.has(column.format) ? "number" : "text";
  const sub = column.sub?.(cells, now);
  const more = sub ? [element("span", { className: "sub", text: sub })] : [];
  if (column.word === NAME_COLUMNS[view.table]) {
    const link = element("a", { href: hashOf({ ...view, id }), text: cell === "" ? "(empty)" : cell });
    return element("th", { scope: "row", role: "rowheader", className: `${className} ${breaking(cell)}` }, link, ...more);
  }
  const attributes = { role: "cell", className: cell === null ? `${className} none` : className, "data-label": column.group === "Ever" ? column.full : column.title };
  if ((column.word === "team" || column.word === "parent") && cell !== null) {
    // Within one's own namespace the name is enough.
    const text = cell.startsWith(`${cells.namespace}/`) ? cell.slice(cells.namespace.length + 1) : cell;
    attributes.className += ` ${breaking(text)}`;
    return element("td", attributes, element("a", { href: hashOf({ ...plain("teams"), id: cell }), title: cell, text }));
  }
  // A limit is most often of whole cents.
  if (column.word === "limit" && /^\d+\.\d\d$/.test(cell ?? "")) return element("td", attributes, grouped(cell), ...more);
  return element("td", attributes, ...content(cell, column.format, now), ...more);
}

function drawPlace(view, answer, pages) {
  const from = (answer.page - 1) * answer.size + 1;
  const to = Math.min(answer.page * answer.size, answer.total);
  const found = `${grouped(String(answer.total))} ${(answer.total === 1 ? ONE : TITLES)[view.table].toLowerCase()}`;
  byId("caption").textContent = `${TITLES[view.table]}. A column's title sorts by it.`;
  byId("status").textContent = pages === 1 ? found : `${found}, ${from} to ${to} shown`;
  byId("pages").hidden = pages === 1;
  byId("as-of").textContent = `As of ${moment(answer.at)}. Amounts in USD, rounded down; an opened row has all digits.`;
  byId("place").textContent = `Page ${answer.page} of ${pages}`;
  for (const [button, page] of [["first", 1], ["previous", answer.page - 1], ["next", answer.page + 1], ["last", pages]]) {
    byId(button).disabled = page < 1 || page > pages || page === answer.page;
    byId(button).dataset.page = String(page);
  }
}
