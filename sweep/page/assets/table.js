"use strict";
// The table of the chosen runs: a part of them at a time, sorted by a column.

const LINES = 50;
const OTHERS = ["validation_top1", "parameters", "macs", "epochs", "train_seconds", "end"];
let sorting = { column: "top1", down: true }, first = 0, listed = [], listedColumns = [];

function tableColumns(list) {
  const { axis } = choice();
  const states = list.some((row) => row.status !== "finished") ? ["status"] : [];
  const known = ["key", ...states, axis.top1, axis.column, ...varying(list), ...OTHERS];
  return [...new Set(known)].filter((name) => list.some((row) => row[name] !== undefined));
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function drawTable(list) {
  listedColumns = tableColumns(list);
  const { column, down } = sorting;
  const known = list.filter((row) => row[column] !== undefined), others = list.filter((row) => row[column] === undefined);
  known.sort((a, b) => (down ? compare(b[column], a[column]) : compare(a[column], b[column])));
  listed = [...known, ...others]; // runs without a value come last
  first = Math.max(0, Math.min(first, Math.floor((listed.length - 1) / LINES) * LINES));
  const part = listed.slice(first, first + LINES);
  const isText = new Map(listedColumns.map((name) => [name, part.some((row) => typeof row[name] === "string")]));
  refill(byId("table"), [
    el("thead", {}, el("tr", {}, ...listedColumns.map((name) => el("th", {
      scope: "col", class: isText.get(name) ? "text" : undefined,
      "aria-sort": name === column ? (down ? "descending" : "ascending") : undefined,
    }, el("button", { type: "button", "data-column": name, onclick: () => sortBy(name) },
      heading(name), name === column ? (down ? " ▼" : " ▲") : ""))))),
    el("tbody", {}, ...part.map((row) => el("tr", {}, ...listedColumns.map((name) => tableCell(row, name, isText.get(name)))))),
  ]);
  byId("before").disabled = first === 0;
  byId("after").disabled = first + LINES >= listed.length;
  const [from, to, all] = [first + 1, first + part.length, listed.length].map((number) => number.toLocaleString("en"));
  byId("place").textContent = listed.length ? `${from} to ${to} of ${all} runs` : "No run passes the filter.";
}

function tableCell(row, name, isText) {
  if (name === "key") {
    return el("td", {}, runButton(row.key, row.key));
  }
  const classes = [isText && "text", name === "status" && row.status === "failed" && "bad"].filter(Boolean).join(" ");
  return el("td", { class: classes || undefined }, shown(name, row[name]));
}

function sortBy(column) {
  sorting = { column, down: sorting.column === column ? !sorting.down : typeof listed.find((row) => row[column] !== undefined)?.[column] === "number" };
  first = 0;
  drawTable([...listed]);
}

function turn(pages) {
  first += pages * LINES;
  drawTable([...listed]);
}

/** Every column of the listed runs. Spreadsheets take texts that begin with one of =+-@, full-width ones too, for formulas. */
function csv() {
  const columns = [...new Set(["key", ...listedColumns, ...listed.flatMap((row) => Object.keys(row))])];
  const cell = (value) => {
    if (typeof value !== "string") return value ?? "";
    const text = /^[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...listed.map((row) => columns.map((name) => row[name]))].map((line) => line.map(cell).join(",") + "\r\n").join("");
}
