"use strict";
// The chart of runs, drawn by Vega-Lite.

const NAMED_COLOURS = {
  light: ["#0072b2", "#c04a00", "#007a5a", "#a6527e", "#8a6d00", "#3a7fae", "#444444"],
  dark: ["#56b4e9", "#ff9a5c", "#3fc9a0", "#e8a0c8", "#f0d35a", "#9bb8ff", "#cccccc"],
};
const dark = matchMedia("(prefers-color-scheme: dark)");
let view = null, drawn = ""; // what the view was made for

function colours() {
  const style = getComputedStyle(document.documentElement);
  const [ground, text, faint, line] = ["--ground", "--text", "--faint", "--line"].map((name) => style.getPropertyValue(name).trim());
  return { ground, text, faint, line, named: NAMED_COLOURS[dark.matches ? "dark" : "light"] };
}

function chartConfig() {
  const { text, faint, line, named } = colours();
  const axis = { labelColor: text, titleColor: text, gridColor: line, domainColor: faint, tickColor: faint };
  return {
    font: "system-ui, sans-serif", background: null, view: { stroke: null }, range: { category: named },
    axis: { ...axis, labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal" },
    legend: { labelColor: text, titleColor: text, labelLimit: 220, titleLimit: 220, symbolLimit: 24, labelFontSize: 12 },
    header: { titleColor: text, labelColor: text }, title: { color: text, fontWeight: "normal" },
  };
}

const embedded = (place, spec) => vegaEmbed(place, spec, {
  actions: false, renderer: "canvas", defaultStyle: false, config: chartConfig(),
  logLevel: 1, // errors
  ast: true, // interpret expressions: the page's policy forbids to compile them
  tooltip: (handler, event, item) => showTooltip(event, item),
});

/** What the reader chose for the chart. */
function choice() {
  const axis = axisOf(byId("x").value) ?? facts.axes[0];
  return { axis, colour: byId("colour").value, log: byId("log").checked, fronts: byId("fronts").checked };
}

/** The points of the runs that have a cost and an accuracy, and what is drawn over them. */
function marks(list, names) {
  const { axis, colour, fronts: withFronts } = choice();
  const { here, place, elsewhere } = comparable(list, axis);
  const points = here.map(({ row, network, recipe }) => {
    const c = colour === "recipe" ? names.get(recipe) : scaled(colour, row[colour]);
    return { key: row.key, x: scaled(axis.column, row[axis.column]), y: row[axis.top1], c: c ?? "–", network, recipe };
  });
  const found = networks(points);
  const intervals = found.filter((each) => each.n > 1);
  // Two seeds can have an interval of half the axis, which would flatten all else: lines end a little beyond the points.
  const heights = points.map((point) => point.y), least = smallest(heights), most = -smallest(heights.map((y) => -y));
  const margin = Math.max((most - least) / 4, 0.005);
  for (const each of intervals) [each.from, each.to] = [Math.max(each.low, least - margin), Math.min(each.high, most + margin)];
  return { points, intervals, fronts: withFronts ? fronts(found) : [], place, elsewhere };
}

const smallest = (values) => values.reduce((least, value) => Math.min(least, value), Infinity);

function chartSpec({ points }) {
  const { axis, colour, log } = choice();
  const { text, faint } = colours();
  const x = { field: "x", type: "quantitative", title: axis.name, axis: { format: ",.4~r" }, scale: { padding: 10, nice: !log, ...(log ? { type: "log" } : { zero: false }) } };
  const y = { type: "quantitative", title: axis.metric, scale: { padding: 10, zero: false }, axis: { format: ".1%" } };
  const values = new Set(points.map((point) => point.c));
  const numbers = values.size > 1 && points.every((point) => typeof point.c === "number");
  const title = heading(colour);
  const narrow = byId("chart").clientWidth < 600;
  const legend = { title, orient: narrow ? "bottom" : "right", columns: narrow && !numbers ? 2 : 1 };
  const color = numbers
    ? { field: "c", type: "quantitative", legend, scale: { scheme: dark.matches ? "plasma" : "viridis" } }
    : { field: "c", type: "nominal", legend, scale: { domain: [...values].sort(compare) } };
  const shape = !numbers && values.size < 8 ? { shape: color } : {};
  return {
    width: "container", height: narrow ? 300 : 400, autosize: { type: "fit", contains: "padding" },
    description: `${axis.metric} over ${axis.name}. The table below lists the chosen runs.`,
    layer: [
      { data: { name: "fronts" }, mark: { type: "line", interpolate: "step-after", strokeDash: [6, 4], color: faint, tooltip: null },
        encoding: { x, y: { ...y, field: "mean" }, detail: { field: "recipe" } } },
      { data: { name: "intervals" }, mark: { type: "rule", color: text, opacity: 0.7, tooltip: null },
        encoding: { x, y: { ...y, field: "from" }, y2: { field: "to" } } },
      { data: { name: "points" }, mark: { type: "point", filled: true, size: points.length > 2000 ? 25 : 70, opacity: 0.85, cursor: "pointer" },
        encoding: { x, y: { ...y, field: "y" }, color, ...shape, tooltip: { field: "key", type: "nominal" } } },
    ],
  };
}

let drawing = Promise.resolve();

/** Draw the chosen runs: only what changed since the last time, unless the reader chose otherwise. */
function drawChart(list, names) {
  drawing = drawing.catch(() => {}).then(async () => {
    const found = marks(list, names);
    const spec = chartSpec(found);
    const wanted = JSON.stringify([spec, dark.matches]);
    if (wanted === drawn) {
      await change(found);
    } else {
      view?.finalize();
      const { place, elsewhere, ...datasets } = found;
      ({ view } = await embedded("#chart", { ...spec, datasets }));
      view.addEventListener("click", (event, item) => { if (item?.datum?.key) openRun(item.datum.key); });
      drawn = wanted;
    }
    view.known = new Map(found.points.map((point) => [point.key, pointText(point)]));
    byId("chart-note").textContent = chartNote(found);
  });
  return drawing;
}

const pointText = (point) => `${point.x} ${point.y} ${point.c}`;

async function change(found) {
  const added = found.points.filter((point) => view.known.get(point.key) !== pointText(point));
  const isMore = found.points.length - added.length === view.known.size; // no point went or changed
  if (isMore) view.insert("points", added);
  else view.data("points", found.points);
  view.data("intervals", found.intervals).data("fronts", found.fronts);
  await view.runAsync();
}

function chartNote({ points, intervals, fronts: onFronts, place, elsewhere }) {
  if (!points.length) return "No finished run has this cost and an accuracy.";
  const drawn = new Set(onFronts.map((network) => network.recipe)).size, recipes = new Set(points.map((point) => point.recipe)).size;
  return [
    points.length === 1 ? "One finished run; a click opens it." : `${points.length.toLocaleString("en")} finished runs; a click opens one.`,
    place ? `Latencies of ${place}.` : "",
    elsewhere ? `Not shown: ${counted(elsewhere, "run")} timed elsewhere.` : "",
    intervals.length ? "Vertical lines are 95 % intervals of the mean over seeds (Student's t)." : "",
    drawn ? `Dashed: the Pareto front of ${recipes === 1 ? "the recipe" : drawn === recipes ? `each of ${recipes} recipes` : `${drawn} of ${recipes} recipes, each by itself`}.` : "",
  ].join(" ");
}

function showTooltip(event, item) {
  const tooltip = byId("tooltip"), run = runs.get(item?.datum?.key);
  tooltip.hidden = run === undefined || event === null || event.type.endsWith("out"); // null: Vega draws anew
  if (tooltip.hidden) return;
  tooltip.textContent = summary(run.row);
  const { innerWidth, innerHeight } = window, { width, height } = tooltip.getBoundingClientRect();
  tooltip.style.left = `${Math.max(0, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  tooltip.style.top = `${Math.max(0, Math.min(event.clientY + 14, innerHeight - height - 8))}px`;
}

/** A run in a few lines. */
function summary(row) {
  const { axis } = choice();
  const differing = varying(rows()).filter((name) => row[name] !== undefined);
  const { network } = runs.get(row.key);
  const seeds = [...runs.values()].filter((run) => run.network === network && run.row[axis.top1] !== undefined);
  const { n, mean, low, high } = interval(seeds.map((run) => run.row[axis.top1]));
  const percent = (value) => (100 * value).toFixed(2);
  return [
    differing.map((name) => `${short(name)}=${row[name]}`).join(" ") || row.key,
    `${axis.metric}: ${shown(axis.top1, row[axis.top1])} %`,
    ...(n > 1 ? [`mean of ${n} seeds: ${percent(mean)} %, 95 % interval ${percent(low)} to ${percent(high)}`] : []),
    `${axis.name}: ${shown(axis.column, row[axis.column])}`,
    `${row.parameters?.toLocaleString("en")} parameters; run ${row.key}`,
  ].join("\n");
}

async function downloadChart(kind) {
  await drawing;
  view.background(colours().ground);
  const picture = kind === "png" ? await view.toImageURL("png", 2) : await view.toSVG();
  view.background(null);
  download(`runs.${kind}`, "image/svg+xml", picture);
}
