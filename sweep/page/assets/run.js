"use strict";
// One run: the command that trains it again, its curve, its record, and why it failed.

const CURVES = [["validation_top1", "validation top-1"], ["validation_loss", "validation loss"], ["train_loss", "training loss"]];

async function openRun(key) {
  const row = runs.get(key)?.row ?? { key };
  const dialog = byId("run"), content = byId("run-content");
  byId("tooltip").hidden = true;
  byId("run-title").textContent = `Run ${key}`;
  content.replaceChildren();
  if (!dialog.open) dialog.showModal();
  dialog.dataset.key = key;
  const parts = [runNotes(row), el("h3", {}, "Train it again"), el("p", { id: "command" }, "…")];
  const curvePlace = el("div", { id: "curve" });
  parts.push(el("h3", {}, "Training curve"), curvePlace, el("h3", {}, "Record"), recordOf(row));
  content.append(...parts.filter(Boolean));
  const detail = await detailOf(key);
  if (dialog.dataset.key !== key) return; // another run was opened meanwhile
  if (detail === undefined) {
    byId("command").textContent = curvePlace.textContent = "The server did not answer.";
    return;
  }
  await drawCurve(curvePlace, detail.curve);
  if (detail.traceback) content.append(el("h3", {}, "Traceback"), el("pre", { tabindex: 0 }, detail.traceback));
  if (detail.log) content.append(el("h3", {}, "Log"), el("pre", { tabindex: 0 }, detail.log));
  const command = detail.command ?? await asked(`command?key=${encoded(key)}`);
  if (dialog.dataset.key !== key) return;
  if (command) showCommand(command);
  else byId("command").textContent = command === undefined ? "The server did not answer." : "The command is known when the run has ended.";
}

function runNotes(row) {
  if (row.error !== undefined) return el("p", { class: "bad" }, `Failed: ${row.error}`);
  return row.warning === undefined ? null : el("p", { class: "bad" }, `Warning: ${row.warning}`);
}

function showCommand(command) {
  const copied = el("span", { role: "status" });
  const copy = el("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      copied.textContent = " Copied.";
    } catch {
      copied.textContent = " The browser does not allow it.";
    }
  } }, "Copy");
  byId("command").replaceChildren(el("code", {}, command), " ", copy, copied);
}

function recordOf(row) {
  const pairs = Object.entries(row).filter(([name]) => name !== "error");
  return el("dl", { class: "record" }, ...pairs.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(7)) : value))));
}

async function drawCurve(place, curve) {
  if (!curve.length) {
    place.textContent = "There is no training curve.";
    return;
  }
  for (const [field, title] of CURVES) {
    const part = el("div");
    place.append(part);
    await embedded(part, {
      width: 205, height: 150, data: { values: curve }, mark: { type: "line", point: true, tooltip: null },
      description: `${title} after each epoch; ${shown(field, curve.at(-1)[field])} after the last one.`,
      encoding: {
        x: { field: "epoch", type: "quantitative", axis: { tickMinStep: 1, format: "d" } },
        y: { field, type: "quantitative", title, scale: { zero: false }, axis: field.endsWith("top1") ? { format: ".1%" } : {} },
      },
    });
  }
}

/** A button that opens the run. */
const runButton = (key, text) => el("button", { type: "button", "data-key": key, onclick: () => openRun(key) }, text);

const encoded = (text) => encodeURIComponent(text.toWellFormed());

async function asked(path) {
  try {
    const response = await fetch(path);
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

/** More about the run; undefined if the server does not answer. */
const detailOf = async (key) => (frozen ? frozen.details[key] : asked(`run?key=${encoded(key)}`));
