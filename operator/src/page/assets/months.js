// What was spent month by month: bars, and the same figures as a table.

import { element, grouped, table } from "./parts.js";

const SVG = "http://www.w3.org/2000/svg";
const [HEIGHT, FLOOR, TOP] = [200, 172, 26];
const [NARROWEST, WIDEST] = [280, 1_100];
/** A label needs so much room. */
const LABEL = 48;

function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Lengths of bars are one of the two places where an amount becomes a float. */
export function monthParts({ months, note }, room) {
  if (months === null) return [element("p", { className: "faint", text: note })];
  const most = Math.max(0, ...months.map((one) => Number(one.spent ?? 0)));
  const hint = element("p", { className: "hint", text: note });
  const rows = months.map((one) => [one.month, one.spent, one.requests, one.tokens].map((cell, at) => (at === 0 || cell === null ? cell : grouped(cell))));
  const numbers = table("By calendar month in UTC", ["Month", "Spent, USD", "Calls", "Tokens"], rows.reverse(), { numbers: [1, 2, 3] });
  const figures = element("details", {}, element("summary", { text: "All figures as a table" }), numbers);
  if (most === 0) return [element("p", { className: "faint", text: "Nothing was spent in the months that are kept." }), figures, hint];
  return [element("figure", { className: "card" }, plot(months, most, room)), figures, hint];
}

function plot(months, most, room) {
  const width = Math.min(Math.max(room - 34, NARROWEST), WIDEST);
  const step = width / months.length;
  const every = Math.ceil(LABEL / step);
  const highest = months.reduce((a, b) => (Number(b.spent ?? 0) > Number(a.spent ?? 0) ? b : a));
  const made = svg("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: "img",
    "aria-label": `Spend by month, from ${months[0].month} to ${months.at(-1).month}; the most in ${highest.month}: ${highest.spent} USD. The table below has all figures.`,
  });
  made.append(svg("line", { x1: 0, y1: TOP, x2: width, y2: TOP }), svg("line", { x1: 0, y1: FLOOR, x2: width, y2: FLOOR }));
  made.append(svg("text", { x: 0, y: TOP - 8 }, `${grouped(highest.spent)} USD in ${highest.month}`));
  months.forEach((one, at) => {
    const tall = ((FLOOR - TOP) * Number(one.spent ?? 0)) / most;
    const isPresent = at === months.length - 1;
    const bar = svg("rect", { x: at * step + step * 0.18, y: FLOOR - tall, width: step * 0.64, height: tall, rx: Math.min(3, tall / 2) });
    if (isPresent) bar.setAttribute("class", "present");
    bar.append(svg("title", {}, `${one.month}: ${one.spent === null ? "nothing counted" : `${grouped(one.spent)} USD`}`));
    made.append(bar);
    // The present month has a label in any case.
    if ((months.length - 1 - at) % every === 0) {
      made.append(svg("text", { x: (at + 0.5) * step, y: HEIGHT - 8, "text-anchor": "middle" }, one.month.slice(2)));
    }
  });
  return made;
}
