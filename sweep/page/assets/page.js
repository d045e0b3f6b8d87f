"use strict";
// The page as a whole: what is chosen, what is shown, and news from the server.

const frozen = JSON.parse(byId("frozen").textContent);
const AGAIN = 1000; // ms between two questions to the server; more where an answer takes long

/** Show all again: after news, or another choice. */
async function show() {
  const all = [...runs.values()];
  const list = rows();
  for (const id of ["charted", "runs"]) byId(id).hidden = !all.length;
  drawFailed(list);
  drawUnreadable();
  if (!all.length) return;
  offer(all, list);
  const passes = filterOf(byId("filter").value), data = byId("data").value, recipe = byId("recipe").value;
  const chosen = all.filter((run) => run.data === data && (recipe === "" || run.recipe === recipe) && passes(run.row));
  drawTable(chosen.map((run) => run.row));
  await drawChart(chosen, recipeNames(all.filter((run) => run.data === data), dataNames(all).get(data)));
}

/** Offer what there is to choose from. */
function offer(all, list) {
  const names = dataNames(all);
  setOptions(byId("data"), [...names]);
  const here = all.filter((run) => run.data === byId("data").value);
  const recipes = [...recipeNames(here, names.get(byId("data").value))].sort((a, b) => compare(a[1], b[1]));
  setOptions(byId("recipe"), [["", recipes.length > 1 ? `all ${recipes.length}` : "the only one"], ...recipes]);
  const costs = facts.axes.filter((axis) => list.some((row) => row[axis.column] !== undefined));
  setOptions(byId("x"), costs.map((axis) => [axis.column, axis.name]), facts.x);
  const metaparameters = facts.network.filter((name) => list.some((row) => row[name] !== undefined));
  const differing = varying(here.map((run) => run.row)).filter((name) => name !== "seed");
  const others = differing.filter((name) => !metaparameters.includes(name));
  const columns = [...metaparameters, ...others, "seed"].map((name) => [name, short(name)]);
  const preferred = differing.includes("bypass") ? "bypass" : differing[0] ?? "recipe";
  setOptions(byId("colour"), [["recipe", "recipe"], ...columns, ...costs.map((axis) => [axis.column, axis.name])], preferred);
}

function drawFailed(list) {
  const failed = list.filter((row) => row.status === "failed");
  byId("failed").hidden = !failed.length;
  const lines = failed.slice(0, 200).map((row) => [
    runButton(row.key, row.key), row.error ?? "–", row.host ?? "–", row.end ?? "–",
  ]);
  replace(byId("failed").querySelector(".scroll"), [plainTable(["run", "why", "where", "when"], lines, [1])], failed);
  byId("failed-title").textContent = `Failed: ${failed.length}`;
}

function drawUnreadable() {
  byId("unreadable").hidden = !unreadable.length;
  byId("unreadable-title").textContent = `Files that cannot be read: ${unreadable.length}`;
  replace(byId("unreadable").querySelector(".scroll"), [plainTable(["file", "why"], unreadable.slice(0, 200), [0, 1])], unreadable);
}

/** What trains now, how long it will take, and how far the sweeps are. */
function drawUnderWay() {
  const open = sweeps.filter((sweep) => sweep.finished + sweep.stopped + sweep.failed < sweep.runs);
  const trained = running.some((run) => run.holder !== null);
  byId("underway-title").textContent = trained ? "Under way" : running.length ? "Interrupted" : "Sweeps that are not complete";
  byId("underway").hidden = !running.length && (frozen !== null || !open.length);
  const lines = running.map((run) => [
    runButton(run.key, run.name),
    el("progress", { max: run.epochs ?? 1, value: run.epochs ? run.epoch : undefined, "aria-label": `epochs of ${run.name}` }),
    run.epochs === null ? `epoch ${run.epoch}` : `epoch ${run.epoch} of ${run.epochs}`,
    run.validation_top1 === null ? "–" : shown("top1", run.validation_top1),
    run.holder === null ? "interrupted" : run.seconds_left === null ? "–" : duration(run.seconds_left),
    run.holder ?? "a later launch continues it",
  ]);
  const parts = open.map((sweep) => el("p", {}, `Sweep ${sweep.name}: ${sweep.finished} of ${sweep.runs} runs finished` +
    (sweep.stopped ? `, ${sweep.stopped} stopped early` : "") + (sweep.failed ? `, ${sweep.failed} failed` : "")));
  if (lines.length) parts.push(plainTable(["run", "progress", "done", "validation top-1 %", "time left", "process"], lines));
  replace(byId("underway").querySelector(".scroll"), parts, [running, open]);
}

/** The networks that maps expect to be best. In a frozen page the report has a section for each map. */
function drawMaps() {
  byId("maps").hidden = !maps.length;
  const parts = maps.flatMap((map) => [el("h3", {}, map.name), el("p", { class: "note" }, map.note), plainTable(map.columns, map.rows)]);
  replace(byId("maps").querySelector(".scroll"), parts, maps);
}

/** Replace what an element holds, unless it was made of the same. */
function replace(place, parts, source) {
  const text = JSON.stringify(source);
  if (place.dataset.source === text) return;
  place.dataset.source = text;
  refill(place, parts);
}

function say(more, silent) {
  const count = (status) => [...runs.values()].filter((run) => run.row.status === status).length;
  const parts = [`${count("finished").toLocaleString("en")} finished`];
  for (const status of ["stopped", "failed"]) if (count(status)) parts.push(`${count(status)} ${status}`);
  const trained = running.filter((run) => run.holder !== null).length, interrupted = running.length - trained;
  if (trained) parts.push(`${trained} running`);
  if (interrupted) parts.push(`${interrupted} interrupted`);
  const text = silent ? "The server does not answer. The page asks again." : runs.size || running.length ? `Runs: ${parts.join(", ")}${more ? ", reading more" : ""}.` : "There is no run yet.";
  if (byId("status").textContent !== text) byId("status").textContent = text;
}

async function listen() {
  let stamp = "";
  for (;;) {
    const asking = performance.now();
    const news = document.hidden ? undefined : await asked(`runs?since=${stamp}`);
    const took = performance.now() - asking;
    if (news) {
      stamp = news.stamp;
      const changed = news.fresh || news.rows.length || news.removed.length || JSON.stringify(unreadable) !== JSON.stringify(news.unreadable);
      merge(news);
      drawUnderWay();
      drawMaps();
      if (changed) await show();
    }
    if (!document.hidden) say(news?.more, !news);
    if (!news?.more) await new Promise((resolve) => setTimeout(resolve, Math.max(AGAIN, 2 * took)));
  }
}

byId("choices").addEventListener("input", show);
byId("choices").addEventListener("submit", (event) => event.preventDefault());
byId("before").addEventListener("click", () => turn(-1));
byId("after").addEventListener("click", () => turn(1));
byId("csv").addEventListener("click", () => download("runs.csv", "text/csv", csv()));
for (const kind of ["png", "svg"]) byId(kind).addEventListener("click", () => downloadChart(kind));
dark.addEventListener("change", show);
if (frozen) {
  merge(frozen.news);
  drawUnderWay();
  say();
  show();
} else {
  listen();
}
