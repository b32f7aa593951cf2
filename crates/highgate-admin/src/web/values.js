// How values are shown: numbers, times and the names of columns.

const IDS = new Set(["id", "session", "example", "time", "last_seen"]);
const TIMES = new Set(["time_us", "average_us", "longest_us"]);

export function format(column, value) {
  if (value === null || value === undefined) return "–";
  if ((column === "time" || column === "last_seen") && typeof value === "number") {
    const date = new Date(value > 1e14 ? value / 1000 : value > 1e11 ? value : value * 1000);
    const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString()} `;
    return day + date.toLocaleTimeString([], { hour12: false });
  }
  if (TIMES.has(column) && typeof value === "number") return span(value);
  if (typeof value === "number" && !IDS.has(column)) return value.toLocaleString("en").replaceAll(",", "\u202f");
  // A list of short words breaks between them.
  if (column === "pinned_by") return String(value).replaceAll(",", ", ");
  return String(value);
}

export function label(column) {
  return { per_second: "commands/s", lag_ms: "lag ms", latency_us: "latency µs", pinned_by: "pinned by", digest_text: "statement", time_us: "time", average_us: "mean", longest_us: "longest" }[column] || column.replaceAll("_", " ");
}

export const isNumber = (column) => column && column.type !== "text" && !IDS.has(column.name);

export function duration(seconds) {
  if (typeof seconds !== "number") return seconds;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

// Microseconds as one reads them.
function span(us) {
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1e3).toFixed(us < 1e5 ? 1 : 0)} ms`;
  if (us < 120e6) return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
  return duration(us / 1e6);
}

// What a new value is asked for by: the row shows another measure of it (thousandths, slow start included).
const NEVER_FROM_THE_ROW = new Set(["weight"]);

// An action's argument by its declaration: `…` may be repeated, `?` may be left out.
export const nameOf = (argument) => argument.replace(/[…?]$/, "");

// What an argument most likely is, from the row that was pointed at.
export function guess(argument, source, row) {
  const name = nameOf(argument);
  if (NEVER_FROM_THE_ROW.has(name) || argument.endsWith("?")) return "";
  if (name === source.replace(/s$/, "")) {
    const own = row.name ?? row.id ?? "";
    return source === "servers" && row.backend ? `${row.backend}/${own}` : own;
  }
  return row[name] ?? "";
}
