"use strict";
/* What both pages share. Names come from files of others: they are only ever set as text. */

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function show(place, ...children) {
  document.getElementById(place).replaceChildren(...children);
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let words = text;
  try {
    words = JSON.parse(text).error;
  } catch {
    words = text || answer.statusText;
  }
  throw new Error(words);
}

const said = new Set();

function note(text) {
  if (said.has(text)) return;
  said.add(text);
  document.getElementById("notes").append(make("li", { textContent: text }));
}

function swatch(color) {
  const box = make("span", { className: "swatch" });
  box.style.background = color;
  return box;
}

function definitions(rows) {
  return rows.flatMap(([term, ...words]) => [make("dt", { textContent: term }), make("dd", {}, ...words)]);
}

function number(value, digits = 6) {
  if (value === null || value === undefined) return "not a number";
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
}

function opacitySlider(name, value, changed) {
  const slider = make("input", { type: "range", min: 0, max: 100, value });
  slider.setAttribute("aria-label", `Opacity of ${name}`);
  const shown = make("output", { textContent: `${value} %` });
  slider.addEventListener("input", () => {
    shown.textContent = `${slider.value} %`;
    changed(slider.value / 100);
  });
  return make("div", { className: "opacity" }, slider, shown);
}

/* A list of switches, one for each class; `changed` gets the values that are hidden. */
function classSwitches(layer, changed) {
  const boxes = new Map();
  const tell = () => changed([...boxes].filter(([, box]) => !box.checked).map(([value]) => value));
  const rows = layer.classes.map((entry) => {
    const box = make("input", { type: "checkbox", checked: !entry.hidden });
    box.addEventListener("change", tell);
    boxes.set(entry.value, box);
    const value = make("span", { className: "value", textContent: entry.value });
    return make("li", {}, make("label", {}, box, swatch(entry.color), make("span", { textContent: entry.name }), value));
  });
  const all = (checked) => () => {
    for (const box of boxes.values()) box.checked = checked;
    tell();
  };
  const buttons = [["All", true], ["None", false]].map(([text, checked]) => {
    const button = make("button", { type: "button", className: "small", textContent: text });
    button.setAttribute("aria-label", `${text} of the classes of ${layer.name}`);
    button.addEventListener("click", all(checked));
    return button;
  });
  const list = make("ul", { className: "classes" }, ...rows);
  return rows.length > 1 ? [list, make("div", {}, buttons[0], " ", buttons[1])] : [list];
}

function ramp(layer) {
  const bar = make("div", { className: "ramp" });
  bar.style.background = `linear-gradient(to right, ${layer.ramp.join(", ")})`;
  const [factor, offset] = layer.scaling ?? [1, 0];
  const ends = layer.range.map((end) => make("span", { textContent: number(end * factor + offset, 4) }));
  return [bar, make("div", { className: "ends" }, ...ends)];
}

/* A box with the switch, the opacity and the legend of a layer. */
function layerBox(layer, actions) {
  const visible = make("input", { type: "checkbox", checked: !layer.off });
  visible.addEventListener("change", () => actions.visible(visible.checked));
  const kinds = { image: "image", mask: "mask", values: "layer" };
  const about = [kinds[layer.kind], layer.dtype, layer.channels > 1 ? `${layer.channels} channels` : ""];
  const box = make("div", { className: "layer" },
    make("label", {}, visible, " ", make("span", { className: "name", textContent: layer.name })),
    make("div", { className: "about", textContent: about.filter(Boolean).join(", ") }),
    opacitySlider(layer.name, actions.opacity * 100, actions.opaque));
  if (layer.classes.length) box.append(...classSwitches(layer, actions.hide));
  if (layer.ramp) box.append(...ramp(layer));
  return box;
}
