// Small parts of the page. Data becomes text only, by textContent: users and owners of resources name themselves.

export const byId = (id) => document.getElementById(id);
export const NUMBERS = new Set(["count", "money", "percent"]);

/** Digits of an amount after the point that a table has room for; the cell's title and the details have all. */
const TABLE_DIGITS = 4;
const FULL = 100;
const NEARLY_FULL = 80;
const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60]];

export function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  const { text, className, ...attributes } = options;
  if (className) made.className = className;
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(attribute, String(value));
  }
  if (text !== undefined && text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

/** Digits in groups; whatever comes after the point stays to the last digit. */
export function grouped(digits) {
  const [whole, fraction] = digits.split(".");
  const groups = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return fraction === undefined ? groups : `${groups}.${fraction}`;
}

/** An amount whose point stands under the one above, rounded down: whole cents, and two smaller digits that step back. */
export function aligned(amount) {
  const [whole, fraction = ""] = amount.split(".");
  const digits = fraction.padEnd(TABLE_DIGITS, "0").slice(0, TABLE_DIGITS);
  const isTiny = /^0*$/.test(whole + digits) && /[1-9]/.test(fraction);
  if (isTiny) return element("span", { title: `${amount} USD`, text: `<0.${"1".padStart(TABLE_DIGITS, "0")}` });
  const small = element("span", { className: "small-digits", text: digits.slice(2) });
  return element("span", { title: `${grouped(amount)} USD` }, `${grouped(whole)}.${digits.slice(0, 2)}`, small);
}

export const moment = (text) => text.replace("T", " ").replace(/(:\d\d)(\.\d+)?Z$/, "$1 UTC");

/** How far a moment is from another one, in the largest units: two, or so many. */
export function relative(text, now, most = 2) {
  const seconds = Math.round((Date.parse(text) - Date.parse(now)) / 1_000);
  let rest = Math.abs(seconds);
  const words = [];
  for (const [unit, length] of UNITS) {
    const number = Math.floor(rest / length);
    rest -= number * length;
    if (number > 0 && words.length < most) words.push(`${number} ${unit}`);
    else if (words.length > 0) break;
  }
  if (words.length === 0) return seconds < 0 ? "just now" : "in a moment";
  return seconds < 0 ? `${words.join(" ")} ago` : `in ${words.join(" ")}`;
}

export const time = (text, now) => element("time", { datetime: text, title: moment(text), text: relative(text, now, 1) });

/** A bar. Its length is one of the two places where a figure becomes a float. */
export function meter(percent) {
  const level = percent >= FULL ? "bad" : percent >= NEARLY_FULL ? "warn" : "";
  const filled = element("span");
  filled.style.width = `${Math.min(percent, FULL)}%`;
  return element("span", { className: `meter ${level}`, "aria-hidden": "true" }, filled);
}

export const state = ({ level }) => element("span", { className: `state level-${level}`, text: level });

export const unknown = () => element("span", { className: "faint", text: "–", "aria-label": "not known, or none" });

/** What a cell holds, as nodes. */
export function content(cell, format, now) {
  if (cell === null) return [unknown()];
  switch (format) {
    case "count":
      return [grouped(cell)];
    case "money":
      return [aligned(cell)];
    case "percent":
      return [element("span", { className: "used" }, meter(cell), element("b", { text: `${cell}%` }))];
    case "time":
      return [time(cell, now)];
    case "state": {
      const why = cell.level === "Ready" ? [] : [element("span", { className: "sub", text: cell.reason, title: cell.message || null })];
      return [state(cell), ...why];
    }
    default:
      return [cell];
  }
}

/** A table of words. `numbers`: which of its columns hold figures; `mono`: it holds what is written in manifests. */
export function table(caption, titles, rows, { numbers = [], mono = false } = {}) {
  const classOf = (at) => (numbers.includes(at) ? "number" : mono ? "text mono" : "text");
  const titleClassOf = (at) => (numbers.includes(at) ? "number" : "");
  const head = element("tr", {}, ...titles.map((title, at) => element("th", { scope: "col", className: titleClassOf(at), text: title })));
  const line = (row) => element("tr", {}, ...row.map((cell, at) => {
    const made = at === 0 ? element("th", { scope: "row", className: classOf(at) }) : element("td", { className: classOf(at), "data-label": titles[at] });
    made.append(cell ?? "–");
    return made;
  }));
  const whole = element("table", { className: "stack" }, element("caption", { className: "unseen", text: caption }), element("thead", {}, head),
    element("tbody", {}, ...rows.map(line)));
  return element("div", { className: "scroll card", tabindex: 0, role: "region", "aria-label": caption }, whole);
}

export const section = (title, ...children) => element("section", {}, element("h3", { text: title }), ...children);
