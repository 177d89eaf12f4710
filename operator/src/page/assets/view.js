// What is shown is in the address, behind the #: a link to it is a link to the same view. That part of an address is sent to nobody.

export const TITLES = { teams: "Teams", keys: "Keys", users: "Users", models: "Models", routes: "Routes" };
/** One row of a table. */
export const ONE = { teams: "Team", keys: "Key", users: "User", models: "Model", routes: "Route" };
/** The column whose cell is the row's name. */
export const NAME_COLUMNS = { teams: "name", keys: "name", users: "user", models: "model", routes: "name" };
export const DEFAULT_SIZE = 50;
const MAX_SIZE = 200;
const FILTERS = ["q", "namespace", "team", "state", "sort"];

/** The view that the address asks for; what it does not say is as usual. */
export function wanted() {
  const params = new URLSearchParams(location.hash.slice(1));
  const table = Object.hasOwn(TITLES, params.get("table")) ? params.get("table") : "teams";
  const number = (name, fallback) => {
    const found = Number.parseInt(params.get(name) ?? "", 10);
    return Number.isSafeInteger(found) && found > 0 ? found : fallback;
  };
  const view = { table, order: params.get("order") === "desc" ? "desc" : "asc", page: number("page", 1), id: params.get("id") };
  for (const name of FILTERS) view[name] = params.get(name) ?? "";
  return { ...view, size: Math.min(number("size", DEFAULT_SIZE), MAX_SIZE) };
}

/** A view of a table with nothing else said. */
export const plain = (table) => ({ table, q: "", namespace: "", team: "", state: "", sort: "", order: "asc", page: 1, size: DEFAULT_SIZE, id: null });

/** The address of a view; what is as usual is left out. */
export function hashOf(view) {
  const params = new URLSearchParams();
  params.set("table", view.table);
  for (const name of FILTERS) {
    if (view[name]) params.set(name, view[name]);
  }
  if (view.order === "desc") params.set("order", "desc");
  if (view.page > 1) params.set("page", String(view.page));
  if (view.size !== DEFAULT_SIZE) params.set("size", String(view.size));
  if (view.id !== null && view.id !== undefined) params.set("id", view.id);
  return `#${params}`;
}

/** Shows another view: as a step that "back" undoes, or, while somebody types, in place of the present one. */
export function go(changes, inPlace = false) {
  const hash = hashOf({ ...wanted(), ...changes });
  if (!inPlace && hash !== location.hash) {
    location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  dispatchEvent(new Event("hashchange"));
}

/** What the server is asked. */
export function queryOf(view) {
  const params = new URLSearchParams();
  for (const name of FILTERS) {
    if (view[name]) params.set(name, view[name]);
  }
  params.set("order", view.order);
  params.set("page", String(view.page));
  params.set("size", String(view.size));
  return params;
}
