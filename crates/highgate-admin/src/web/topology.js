// The drawing: listeners → backends → servers. Three columns where there is room, one tree where not.
// State is told by sign, word and line style; colour only repeats it.

const SVG = "http://www.w3.org/2000/svg";
const NARROW = 720;

// What each word means for its looks. A word that is not here is for somebody to look at, never in service.
const KINDS = {
  // of servers
  up: "ok",
  starting: "ok",
  draining: "off",
  maintenance: "off",
  unknown: "warn",
  down: "bad",
  held: "warn",
  lagging: "warn",
  broken: "bad",
  quarantined: "bad",
  // of addresses that move
  active: "ok",
  backup: "ok",
  init: "warn",
  fault: "bad",
  // of events
  info: "",
  warning: "warn",
  error: "bad",
};
const SIGNS = { ok: "●", off: "■", bad: "✕", warn: "▲", "": "·" };

// What a status or severity means: a kind for its looks, a sign and a word for everybody.
export function stateOf(row) {
  const text = String(row.status ?? row.severity ?? row.state ?? "unknown");
  const kind = Object.hasOwn(KINDS, text) ? KINDS[text] : "warn";
  return { kind, sign: SIGNS[kind], text };
}

export function drawTopology(holder, listeners, backends, servers) {
  const width = Math.floor(holder.clientWidth);
  if (width === 0) return;
  if (servers.length + backends.length + listeners.length === 0) {
    holder.textContent = "No listener, backend or server is configured.";
    return;
  }
  const names = new Set([...backends, ...servers.map((s) => ({ name: s.backend }))].map((b) => b.name).filter(Boolean));
  const groups = [...names].map((name) => ({
    row: backends.find((b) => b.name === name) || { name },
    listeners: listeners.filter((l) => l.backend === name),
    servers: servers.filter((s) => s.backend === name),
  }));
  for (const listener of listeners) {
    if (!names.has(listener.backend)) groups.push({ row: null, listeners: [listener], servers: [] });
  }
  const drawing = width < NARROW ? tree(groups, width) : columns(groups, width);
  const label = groups.map(inWords).join(" ");
  const svg = make("svg", { width, height: drawing.height, viewBox: `0 0 ${width} ${drawing.height}`, role: "img", "aria-label": label });
  svg.append(...drawing.parts);
  holder.replaceChildren(svg);
}

// For those who hear the page.
function inWords(group) {
  if (!group.row) return `Listener ${group.listeners[0].name} leads to no backend.`;
  const servers = group.servers.map((s) => `${s.name} ${s.role ?? ""} ${stateOf(s).text}`).join(", ");
  return `Backend ${group.row.name}, reached by ${group.listeners.map((l) => l.name).join(", ") || "no listener"}: ${servers || "no servers"}.`;
}

function columns(groups, width) {
  const box = Math.min(300, Math.floor(width * 0.27));
  const wide = Math.min(380, Math.floor(width * 0.34)); // the backend's: its reason is a sentence
  const x = [0, Math.floor((width - wide) / 2), width - box];
  const parts = [];
  let y = 4;
  for (const group of groups) {
    const count = Math.max(1, group.listeners.length, group.servers.length);
    const height = count * 68;
    const middle = y + height / 2;
    const spread = (i, n) => y + (height * (i + 0.5)) / n;
    const nodes = [];
    group.listeners.forEach((listener, i) => {
      const own = spread(i, group.listeners.length);
      if (group.row) parts.push(edge(x[0] + box, own, x[1], middle, "", listener.clients));
      nodes.push(listenerBox(listener, x[0], own - 27, box));
      if (group.row && listener.clients !== undefined) nodes.push(tag((x[0] + box + x[1]) / 2, (own + middle) / 2, clientsOf(listener)));
    });
    group.servers.forEach((server, i) => {
      const own = spread(i, group.servers.length);
      parts.push(edge(x[1] + wide, middle, x[2], own, stateOf(server).kind, server.per_second));
      nodes.push(serverBox(server, x[2], own - 27, box));
      if (typeof server.per_second === "number") nodes.push(tag((x[1] + wide + x[2]) / 2 + 8, (own + middle * 0.35 + own * 0.65) / 2 , `${thousands(server.per_second)}/s`));
    });
    if (group.row) nodes.push(backendBox(group.row, x[1], middle - 27, wide));
    parts.push(...nodes);
    y += height + 14;
  }
  return { parts, height: y };
}

function tree(groups, width) {
  const parts = [];
  let y = 4;
  const step = 64;
  for (const group of groups) {
    const line = (x, from, to, kind) => parts.push(make("path", { class: `edge ${kind}`, d: `M${x} ${from}V${to}h14` }));
    for (const listener of group.listeners) {
      parts.push(listenerBox(listener, 0, y, width - 2, clientsOf(listener)));
      y += step;
    }
    if (!group.row) continue;
    const indent = group.listeners.length ? 22 : 0;
    if (indent) line(8, y - 10, y + 27, "");
    parts.push(backendBox(group.row, indent, y, width - indent - 2));
    const from = y + 54;
    y += step;
    for (const server of group.servers) {
      line(indent + 8, from, y + 27, stateOf(server).kind);
      const rate = typeof server.per_second === "number" ? `${thousands(server.per_second)}/s` : "";
      parts.push(serverBox(server, indent + 22, y, width - indent - 24, rate));
      y += step;
    }
    y += 8;
  }
  return { parts, height: y };
}

function listenerBox(listener, x, y, width, right = "") {
  return node(x, y, width, "", [[`${listener.name ?? "listener"}`, "name"], [right, "soft right"]],
    [[[listener.mode, listener.address].filter(Boolean).join(" · "), "soft"]]);
}

function backendBox(backend, x, y, width) {
  const second = backend.reason || [backend.topology, backend.primary && `primary ${backend.primary}`, backend.writes && `writes ${backend.writes}`].filter(Boolean).join(" · ");
  const group = node(x, y, width, /refus|wait|no_primary|none/i.test(backend.writes ?? "") ? "bad" : "", [[backend.name, "name"]], [[second, "soft"]]);
  group.append(title(second));
  return group;
}

function serverBox(server, x, y, width, right = "") {
  const state = stateOf(server);
  const lag = typeof server.lag_ms === "number" ? `lag ${thousands(Math.round(server.lag_ms))} ms` : "";
  const group = node(x, y, width, state.kind === "ok" ? "" : state.kind,
    [[server.name, "name"], [right || (server.role ?? ""), "soft right"]],
    [[`${state.sign} ${state.text}`, state.kind], [[right && server.role, lag || server.address].filter(Boolean).join(" · "), "soft right"]]);
  if (server.role === "primary") group.append(make("rect", { class: "primary", x, y, width: 6, height: 54, rx: 2 }));
  if (server.reason) group.append(title(server.reason));
  return group;
}

// A box with two lines of at most two texts each.
function node(x, y, width, kind, first, second) {
  const group = make("g", {});
  group.append(make("rect", { class: `box ${kind}`, x: x + 1, y, width: width - 2, height: 54, rx: 6 }));
  for (const [line, texts] of [[21, first], [42, second]]) {
    let room = width - 28;
    for (const [text, style] of [...texts].reverse()) {
      const isRight = style.includes("right");
      const wide = style.includes("soft") ? 6.4 : style === "name" ? 8 : 7.2;
      const shown = cut(String(text ?? ""), room, wide);
      room -= shown.length * wide + (shown ? 8 : 0);
      const place = isRight ? { x: x + width - 12, "text-anchor": "end" } : { x: x + 14 };
      group.append(make("text", { ...place, y: y + line, class: style.replace("right", "").trim() }, shown));
    }
  }
  return group;
}

const cut = (text, room, wide) => (text.length * wide <= room ? text : `${text.slice(0, Math.max(1, Math.floor(room / wide) - 1))}…`);

function edge(x1, y1, x2, y2, kind, load) {
  const bend = (x2 - x1) / 2;
  const busy = load > 5000 ? "busier" : load > 500 ? "busy" : "";
  return make("path", { class: `edge ${kind} ${busy}`, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
}

function tag(x, y, text) {
  const group = make("g", {});
  const width = text.length * 7 + 10;
  group.append(make("rect", { class: "tag", x: x - width / 2, y: y - 10, width, height: 20, rx: 4 }));
  group.append(make("text", { x, y: y + 4, "text-anchor": "middle" }, text));
  return group;
}

const thousands = (number) => (number >= 100000 ? `${Math.round(number / 1000)}k` : String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f"));

const clientsOf = (listener) => `${listener.clients ?? "?"} ${listener.clients === 1 ? "client" : "clients"}`;

function title(text) {
  return make("title", {}, text);
}

function make(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
