"use strict";
// The runs, and what follows from them: networks with their seeds, recipes, fronts. Nothing here touches the document.

const facts = JSON.parse(document.getElementById("facts").textContent);
const runs = new Map(); // key -> {row, data, network, recipe}
let running = [], sweeps = [], maps = [], unreadable = [];

function merge(news) {
  if (news.fresh) runs.clear();
  for (const values of news.rows) {
    const row = {};
    news.columns.forEach((name, i) => { if (values[i] !== null) row[name] = values[i]; });
    const recipe = facts.recipe.map((name) => row[name]).join("\u001f");
    const data = `${row.data}\u001f${row["data.fingerprint"] ?? ""}`; // another content is another data set
    runs.set(row.key, { row, data, recipe, network: facts.network.map((name) => row[name]).join("\u001f") + "\u001e" + recipe });
  }
  for (const key of news.removed) runs.delete(key);
  ({ running, sweeps, maps, unreadable } = news);
}

const rows = () => [...runs.values()].map((run) => run.row);
const settings = [...facts.network, ...facts.recipe, "seed"];

/** The columns of settings in which the rows differ. A run that does not have a setting is no difference. */
function varying(list) {
  return settings.filter((name) => {
    let first;
    for (const row of list) {
      if (row[name] !== undefined) first ??= row[name];
      if (row[name] !== undefined && row[name] !== first) return true;
    }
    return false;
  });
}

/** Names of data sets, the largest first: the newest title; else the name, with the fingerprint where two share it. */
function dataNames(list) {
  const found = new Map();
  for (const { row, data } of list) {
    if (!found.has(data)) found.set(data, { count: 0, name: row.data, end: "", fingerprint: row["data.fingerprint"] });
    const known = found.get(data);
    known.count += 1;
    if (row.data_title !== undefined && (row.end ?? "") >= known.end) [known.name, known.end] = [row.data_title, row.end ?? ""];
  }
  const sorted = [...found].sort((a, b) => b[1].count - a[1].count);
  const shared = (name) => sorted.filter(([, other]) => other.name === name).length > 1;
  return new Map(sorted.map(([data, { name, fingerprint }]) => [data, shared(name) ? `${name} ${fingerprint}` : name]));
}

/** Names of recipes of one data set: its name, and the settings in which the recipes differ. */
function recipeNames(list, data) {
  const first = new Map();
  for (const { row, recipe } of list) if (!first.has(recipe)) first.set(recipe, row);
  const names = varying([...first.values()]).filter((name) => facts.recipe.includes(name) && name !== "data");
  const named = new Map();
  for (const [recipe, row] of first) {
    const parts = names.filter((name) => row[name] !== undefined).map((name) => `${short(name)}=${row[name]}`);
    named.set(recipe, [data, ...parts].join(" "));
  }
  return named;
}

/** The name of a column without its part, where no other column is called so. */
const short = (() => {
  const bare = (column) => column.replace(/^(train|data)\./, "");
  const known = [...new Set([...facts.record, ...settings])], counts = new Map();
  for (const column of known) counts.set(bare(column), (counts.get(bare(column)) ?? 0) + 1);
  return (column) => (counts.get(bare(column)) === 1 ? bare(column) : column);
})();

/** The mean with Student's 95 % interval over seeds. */
function interval(values) {
  const n = values.length, mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { n, mean, low: mean, high: mean };
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  const half = (facts.student_t[Math.min(n, facts.student_t.length) - 1] * deviation) / Math.sqrt(n);
  return { n, mean, low: mean - half, high: mean + half };
}

/** The runs that have the cost and the accuracy of an axis. Latencies are those of one place, where most were measured. */
function comparable(list, { column, top1, places }) {
  const groups = new Map();
  for (const run of list) {
    if (run.row.status !== "finished" || run.row[column] === undefined || run.row[top1] === undefined) continue;
    const place = places.filter((name) => run.row[name] !== undefined)
      .map((name) => (name === "threads" ? counted(run.row[name], "thread") : run.row[name])).join(", ");
    if (!groups.has(place)) groups.set(place, []);
    groups.get(place).push(run);
  }
  const [place, here] = [...groups].reduce((most, each) => (each[1].length > most[1].length ? each : most), ["", []]);
  return { here, place, elsewhere: [...groups.values()].reduce((sum, group) => sum + group.length, -here.length) };
}

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** Each network's mean over its seeds: {x, n, mean, low, high, recipe, network}. */
function networks(points) {
  const groups = new Map();
  for (const point of points) {
    if (!groups.has(point.network)) groups.set(point.network, []);
    groups.get(point.network).push(point);
  }
  return [...groups].map(([network, group]) => ({
    network, recipe: group[0].recipe, x: interval(group.map((point) => point.x)).mean,
    ...interval(group.map((point) => point.y)),
  }));
}

const MOST_FRONTS = 12;

/** The networks that no network of the same recipe beats in cost and accuracy; recipes of one network have no front. */
function fronts(found) {
  const groups = new Map();
  for (const network of found) {
    if (!groups.has(network.recipe)) groups.set(network.recipe, []);
    groups.get(network.recipe).push(network);
  }
  const largest = [...groups.values()].filter((group) => group.length > 1).sort((a, b) => b.length - a.length);
  return largest.slice(0, MOST_FRONTS).flatMap((group) => {
    let best = -Infinity;
    return group.sort((a, b) => a.x - b.x || b.mean - a.mean).filter((network) => {
      const better = network.mean > best;
      if (better) best = network.mean;
      return better;
    });
  });
}

/** A function that says whether a row passes the filter: words, and comparisons such as sr>=0.5. */
function filterOf(text) {
  const tests = text.trim().split(/\s+/).filter(Boolean).map((word) => {
    const [, column, sign, wanted] = word.match(/^([\w.]+?)(<=|>=|!=|=|<|>)(.+)$/) ?? [];
    if (sign === undefined) {
      const lower = word.toLowerCase();
      return (row) => Object.values(row).some((value) => String(value).toLowerCase().includes(lower));
    }
    const name = settings.find((each) => short(each) === column) ?? column;
    const number = Number(wanted);
    return (row) => {
      const value = row[name];
      if (sign === "=") return value !== undefined && (String(value) === wanted || value === number);
      if (sign === "!=") return String(value) !== wanted && value !== number;
      if (typeof value !== "number" || Number.isNaN(number)) return false;
      return { "<": value < number, ">": value > number, "<=": value <= number, ">=": value >= number }[sign];
    };
  });
  return (row) => tests.every((test) => test(row));
}

const FRACTIONS = /(^|_)top[15]$/;
const axisOf = (column) => facts.axes.find((axis) => axis.column === column);

/** The value in the unit of its axis, if the column is one. */
function scaled(column, value) {
  const axis = axisOf(column);
  return axis && value !== undefined ? value * axis.scale : value;
}

function shown(column, value) {
  if (value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (FRACTIONS.test(column)) return (100 * value).toFixed(2);
  const axis = axisOf(column);
  if (axis) return scaled(column, value).toLocaleString("en", { maximumSignificantDigits: 4 });
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(6)));
}

function heading(column) {
  if (FRACTIONS.test(column)) return `${column} %`;
  const axis = axisOf(column);
  return axis ? `${short(column)}, ${axis.name.split(", ").pop()}` : short(column);
}

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
