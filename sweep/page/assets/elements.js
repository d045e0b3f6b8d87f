"use strict";
// Making elements. Texts of records become text nodes, so that nothing in them is markup.

const byId = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/** Replace what an element holds; the button that had the focus, known by its data, has it again. */
function refill(place, parts) {
  const { key, column } = place.contains(document.activeElement) ? document.activeElement.dataset : {};
  place.replaceChildren(...parts);
  if (key ?? column) [...place.querySelectorAll("button")].find(({ dataset }) => dataset.key === key && dataset.column === column)?.focus();
}

/** A plain table. long: the columns whose texts wrap. */
function plainTable(headings, lines, long = []) {
  const head = el("tr", {}, ...headings.map((text) => el("th", { scope: "col" }, text)));
  const body = lines.map((cells) =>
    el("tr", {}, ...cells.map((cell, i) => el("td", { class: long.includes(i) ? "long" : undefined }, cell))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
}

function download(name, kind, text) {
  const url = text.startsWith("data:") ? text : URL.createObjectURL(new Blob([text], { type: kind }));
  el("a", { href: url, download: name }).click();
  if (!text.startsWith("data:")) setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Set the options of a select as [value, text], and keep its value if that is still one of them. */
function setOptions(select, options, preferred) {
  const former = select.value, wanted = JSON.stringify(options);
  if (select.dataset.options === wanted) return;
  select.dataset.options = wanted;
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  const values = options.map(([value]) => value);
  select.value = [former, preferred, values[0]].find((value) => values.includes(value));
}
