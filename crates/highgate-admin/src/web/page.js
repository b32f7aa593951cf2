// The live page: asks the REST surface once a second and patches what changed, so that focus,
// selection and scroll positions stay. All text goes in by textContent: names come from clients.
import { drawTopology, stateOf } from "/topology.js";
import { duration, format, guess, isNumber, label, nameOf } from "/values.js";

const PERIOD = 1000;
const PATIENCE = 5000;
const SHOWN_SESSIONS = 200;
const SHOWN_EVENTS = 60;
const SHOWN_STATEMENTS = 20;
const PINS_EVERY = 5; // counting them takes all sessions, and nobody waits for them

// Columns a person wants first; a table without one of them is shown without it.
const FIRST = {
  servers: ["name", "status", "role", "backend", "reason", "address", "lag_ms", "per_second", "leased", "queued", "lost", "latency_us"],
  vips: ["name", "state", "addresses", "seconds", "active_node", "effective_priority", "why", "missing"],
  sessions: ["id", "user", "listener", "client", "backend", "server", "state", "seconds", "statement", "pinned_by"],
  events: ["time", "severity", "kind", "backend", "server", "session", "text"],
  digests: ["digest_text", "commands", "per_second", "errors", "time_us", "average_us", "longest_us"],
};
const SHOWN_ELSEWHERE = ["servers", "sessions", "events", "vips"];
const LONG = new Set(["text", "reason", "doc", "detail", "why", "missing"]);
const STATEMENTS = new Set(["digest_text", "statement"]);
const FOLDED = 120; // characters of a statement that fit wherever it stands
const SHORT = new Set(["id", "server_thread", "name", "backend", "server", "role", "kind", "severity", "time", "user", "listener", "address", "addresses", "active_node", "client", "state"]);

const at = (id) => document.getElementById(id);
let catalogue = new Map();
const before = new Map(); // by table: when its counters were looked at, and what they said
let paused = false;
let lastGood = 0;
let other = "";
let ticks = 0;
let pinned = { rows: [] };

async function fetchJson(path) {
  // Without the name and password that may stand in the page's own address: fetch refuses these.
  const answer = await fetch(location.origin + path, { signal: AbortSignal.timeout(PATIENCE), headers: { "X-Highgate": "1" } });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || `HTTP ${answer.status}`);
  return answer.json();
}

// A table that this version doesn't have is an empty one.
async function rowsOf(name, query = "") {
  if (!catalogue.has(name)) return { columns: [], rows: [], total: 0, matched: 0 };
  return fetchJson(`/api/v1/tables/${name}${query}`);
}

async function loadCatalogue() {
  catalogue = new Map((await fetchJson("/api/v1/tables")).map((table) => [table.name, table]));
  const more = at("more");
  more.replaceChildren();
  for (const table of catalogue.values()) {
    if (SHOWN_ELSEWHERE.includes(table.name)) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = table.name;
    button.title = table.doc;
    button.setAttribute("aria-pressed", "false");
    button.onclick = () => {
      other = other === table.name ? "" : table.name;
      for (const one of more.children) one.setAttribute("aria-pressed", String(one.textContent === other));
      refresh();
    };
    more.append(button);
  }
}

async function refresh() {
  if (catalogue.size === 0) await loadCatalogue();
  const filter = encodeURIComponent(at("filter").value);
  const [node, listeners, backends, servers, vips, sessions, events, statements, chosen] = await Promise.all([
    rowsOf("node"), rowsOf("listeners"), rowsOf("backends"), rowsOf("servers"), rowsOf("vips"),
    rowsOf("sessions", `?limit=${SHOWN_SESSIONS}&filter=${filter}`),
    rowsOf("events", `?tail=${SHOWN_EVENTS}`),
    rowsOf("digests", `?limit=${SHOWN_STATEMENTS}`),
    other ? rowsOf(other) : null,
  ]);
  const serverKey = (row) => `${row.backend}/${row.name}`;
  addRates("servers", servers.rows, serverKey);
  showNode(node.rows[0] || {});
  showBanner(servers.rows, listeners.rows, backends.rows);
  drawTopology(at("topology"), listeners.rows, backends.rows, servers.rows);
  showTable("servers", servers.rows, columnsOf("servers", servers), serverKey);
  at("vips").hidden = vips.rows.length === 0;
  if (vips.rows.length) showTable("vips", vips.rows, columnsOf("vips", vips), (row) => row.name);
  showTable("sessions", sessions.rows, columnsOf("sessions", sessions), (row) => row.id);
  const part = sessions.rows.length < sessions.matched ? `${sessions.rows.length} shown of ` : "";
  at("session-count").textContent = `${part}${sessions.matched} ${sessions.matched === 1 ? "session" : "sessions"}${filter ? ` that match, ${sessions.total} in all` : ""}`;
  if (ticks % PINS_EVERY === 0) pinned = await rowsOf("sessions", "?present=pinned_by&limit=5000");
  ticks += 1;
  const pins = countPins(pinned.rows);
  showTable("pins", pins, ["cause", "sessions", "may_release", "may_move", "example"], (row) => row.cause);
  showTable("events", events.rows.reverse(), columnsOf("events", events), (row) => row.id);
  showStatements(statements);
  if (chosen) showTable("other", chosen.rows, chosen.columns, (row, place) => place);
  else show(document.querySelector("[data-table=other]"), null);
}

// Commands per second since the last look, by the counter of each row.
function addRates(table, rows, keyOf) {
  const now = performance.now();
  const last = before.get(table) || { at: 0, commands: new Map() };
  const elapsed = (now - last.at) / 1000;
  const commands = new Map();
  for (const row of rows) {
    if (typeof row.commands !== "number") continue;
    const then = last.commands.get(keyOf(row));
    row.per_second = then === undefined ? null : Math.max(0, Math.round((row.commands - then) / elapsed));
    commands.set(keyOf(row), row.commands);
  }
  before.set(table, { at: now, commands });
}

function showStatements(statements) {
  at("statements").hidden = statements.rows.length === 0;
  if (statements.rows.length === 0) return;
  const keyOf = (row) => row.digest;
  addRates("digests", statements.rows, keyOf);
  showTable("digests", statements.rows, columnsOf("digests", statements), keyOf);
  const some = statements.rows.length < statements.matched;
  setText(at("statement-count"), some ? `${statements.rows.length} of ${statements.matched}; more in the table digests below.` : "");
}

function showNode(node) {
  const up = node.uptime ?? node.uptime_seconds ?? node.uptime_s;
  const parts = [node.name, node.version && `version ${node.version}`, up !== undefined && up !== null && `up ${duration(up)}`,
    node.config_version !== undefined && `configuration ${node.config_version}`];
  setText(at("node"), parts.filter(Boolean).join(" · "));
}

function showBanner(servers, listeners, backends) {
  const states = servers.map(stateOf);
  const count = (kind) => states.filter((state) => state.kind === kind).length;
  const names = (kind) => servers.filter((_, i) => states[i].kind === kind).map((s) => s.name).slice(0, 6).join(", ");
  let kind = "ok";
  let text = servers.length ? `● ${servers.length === 1 ? "The server is" : `All ${servers.length} servers are`} in service` : "";
  if (count("bad")) [kind, text] = ["bad", `✕ ${count("bad")} of ${servers.length} servers out of service: ${names("bad")}`];
  else if (count("warn")) [kind, text] = ["warn", `▲ ${count("warn")} of ${servers.length} servers need attention: ${names("warn")}`];
  else if (count("off")) [kind, text] = ["warn", `■ ${count("off")} of ${servers.length} servers taken out by an operator: ${names("off")}`];
  const only = states.findIndex((state) => state.kind === kind);
  if (kind !== "ok" && count(kind) === 1 && servers[only].reason) text += ` (${servers[only].reason})`;
  const stuck = backends.filter((backend) => backend.writes && backend.writes !== "open");
  if (stuck.length) [kind, text] = ["bad", `✕ ${stuck.map((backend) => `${backend.name}: ${backend.reason}`).join("; ")}`];
  const banner = at("banner");
  banner.className = `banner ${kind}`;
  setText(banner, text);
  const clients = listeners.reduce((sum, listener) => sum + (listener.clients || 0), 0);
  document.title = `${kind === "ok" ? "" : kind === "bad" ? "✕ " : "▲ "}Highgate${listeners.length ? ` · ${clients} clients` : ""}`;
}

function countPins(sessions) {
  const causes = new Map();
  for (const session of sessions) {
    for (const cause of String(session.pinned_by ?? "").split(",").map((c) => c.trim()).filter((c) => c && c !== "-")) {
      const row = causes.get(cause) || { cause, sessions: 0, may_release: session.may_release, may_move: session.may_move, example: session.id };
      row.sessions += 1;
      causes.set(cause, row);
    }
  }
  return [...causes.values()].sort((a, b) => b.sessions - a.sessions);
}

function columnsOf(name, answer) {
  const first = FIRST[name].filter((column) => column === "per_second" || answer.columns.includes(column));
  return first.length > 2 ? first : answer.columns;
}

// Patches a table: rows by key, cells by column; nothing is rebuilt while its columns stay.
function showTable(name, rows, columns, keyOf) {
  const holder = document.querySelector(`[data-table=${name}]`);
  const source = name === "other" ? other : name;
  const actions = catalogue.get(source)?.actions || [];
  const shape = `${source}:${columns.join()}:${actions.length}`;
  if (rows.length === 0) return show(holder, name === "pins" ? "No session is pinned." : "Nothing to show.");
  let table = holder.querySelector("table");
  if (!table || holder.dataset.shape !== shape) {
    table = newTable(source, columns, actions);
    holder.replaceChildren(table);
    holder.dataset.shape = shape;
  }
  const body = table.tBodies[0];
  const numbers = new Set((catalogue.get(source)?.columns || []).filter(isNumber).map((column) => column.name).concat("per_second", "sessions"));
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach((row, place) => {
    const key = String(keyOf(row, place));
    let line = known.get(key);
    known.delete(key);
    if (!line) line = newRow(key, source, columns, actions);
    line.record = row;
    columns.forEach((column, i) => fillCell(line.cells[i], column, row, numbers.has(column)));
    if (body.rows[place] !== line) body.insertBefore(line, body.rows[place] || null);
  });
  for (const gone of known.values()) gone.remove();
}

function show(holder, text) {
  holder.dataset.shape = "";
  const note = document.createElement("p");
  note.className = "empty";
  note.textContent = text;
  if (text === null) holder.replaceChildren();
  else if (holder.textContent !== text) holder.replaceChildren(note);
}

function newTable(source, columns, actions) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  const docs = new Map((catalogue.get(source)?.columns || []).map((column) => [column.name, column]));
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = label(column);
    cell.title = docs.get(column)?.doc || "";
    if (isNumber(docs.get(column)) || column === "per_second" || (source === "pins" && column === "sessions")) cell.className = "number";
    head.append(cell);
  }
  if (actions.length) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = "actions";
    cell.className = "actions";
    head.append(cell);
  }
  table.createTBody();
  return table;
}

function newRow(key, source, columns, actions) {
  const line = document.createElement("tr");
  line.dataset.key = key;
  for (const column of columns) line.insertCell().dataset.label = label(column);
  if (actions.length) {
    const cell = line.insertCell();
    cell.className = "actions";
    for (const action of actions) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${action.name} …`;
      button.title = action.doc;
      button.onclick = () => askFor(source, action, line.record);
      cell.append(button);
    }
  }
  return line;
}

function fillCell(cell, column, row, inNumbers) {
  const value = row[column];
  let text = format(column, value);
  let style = inNumbers ? "number" : STATEMENTS.has(column) ? "statement" : LONG.has(column) ? "long" : SHORT.has(column) ? "short" : "";
  if (column === "status" || column === "severity" || (column === "state" && row.router_id !== undefined)) {
    const state = stateOf(row);
    style = `state ${state.kind}`;
    text = `${state.sign} ${state.text}`;
  }
  if (column === "errors" && value > 0) style += " bad";
  if (value === null || value === undefined || value === "") style += " none";
  if (cell.className !== style) cell.className = style;
  if (STATEMENTS.has(column)) showFolded(cell, text);
  else setText(cell, text);
}

// Shows the first lines of a long text, and all of it to who points there.
function showFolded(cell, text) {
  const part = cell.firstElementChild || cell.appendChild(document.createElement("code"));
  // A list of columns is one word to a browser.
  if (part.textContent !== text) part.replaceChildren(...text.split(/(?<=,)/).flatMap((piece) => [piece, document.createElement("wbr")]));
  if (text.length > FOLDED) part.tabIndex = 0;
  else part.removeAttribute("tabindex");
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function askFor(source, action, row) {
  const fields = action.arguments.map((name) => {
    const wrapper = document.createElement("label");
    const input = document.createElement("input");
    input.value = guess(name, source, row);
    wrapper.append(name.endsWith("?") ? `${nameOf(name)} (may be empty)` : nameOf(name), input);
    return wrapper;
  });
  setText(at("act-title"), `${action.name} (${source})`);
  setText(at("act-doc"), action.doc);
  at("act-arguments").replaceChildren(...fields);
  setText(at("act-answer"), "");
  at("act-go").textContent = action.name;
  at("act-go").onclick = async () => {
    const values = fields.map((field) => field.querySelector("input").value);
    setText(at("act-answer"), "…");
    setText(at("act-answer"), await carryOut(source, action.name, values));
  };
  at("act").showModal();
}

async function carryOut(source, action, values) {
  try {
    const answer = await fetch(`${location.origin}/api/v1/tables/${source}/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Highgate": "1" },
      body: JSON.stringify({ arguments: values }),
      signal: AbortSignal.timeout(20000),
    });
    const body = await answer.json();
    return answer.ok ? `Done: ${body.done}` : `Not done: ${body.error}`;
  } catch (error) {
    return `Unknown whether it was done: ${error.message}`;
  }
}

function showFreshness(problem) {
  const fresh = at("fresh");
  const age = Math.round((Date.now() - lastGood) / 1000);
  const isStale = !paused && (problem || (lastGood && age > 4));
  fresh.className = isStale ? "stale" : "";
  if (paused) setText(fresh, "paused");
  else if (isStale) setText(fresh, lastGood ? `✕ no answer for ${age} s: what you see is old` : `✕ no answer: ${problem}`);
  else setText(fresh, lastGood ? "live" : "asking …");
}

let running = false;
async function tick() {
  if (paused || running || document.hidden) return showFreshness("");
  running = true;
  try {
    await refresh();
    lastGood = Date.now();
    showFreshness("");
  } catch (error) {
    catalogue = new Map(); // another version may answer next
    showFreshness(error.message || "no answer");
  }
  running = false;
}

at("pause").onclick = () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  setText(at("pause"), paused ? "Resume" : "Pause");
  tick();
};
at("filter").oninput = () => tick();
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); at("filter").focus(); }
  if (event.key === "p") at("pause").click();
});
document.addEventListener("visibilitychange", tick);
addEventListener("resize", tick);
setInterval(tick, PERIOD);
tick();
