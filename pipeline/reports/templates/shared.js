"use strict";
// What pages share: their data, elements with plain text in them, and a word where something cannot be shown.
const data = JSON.parse(document.getElementById("data").textContent);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// Text as a page may show it: what a browser would hide or reorder is spelled out.
function visible(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]/gu,
    (letter) => "\\u" + letter.codePointAt(0).toString(16).padStart(4, "0"));
}

function swatch(color) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("class", "swatch");
  made.setAttribute("width", 14);
  made.setAttribute("height", 14);
  made.setAttribute("aria-hidden", "true");
  const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  square.setAttribute("width", 14);
  square.setAttribute("height", 14);
  square.setAttribute("fill", color);
  made.append(square);
  return made;
}

// Value and name of a class; some have no name but their value.
function labelOf({ value, name }) {
  return name === String(value) ? name : `${value} ${visible(name)}`;
}

function trouble(text) {
  const place = document.getElementById("trouble");
  place.textContent = text;
  place.hidden = false;
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

function rgb(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}

// A pattern as it is drawn over a color, and its name.
function patternSample(color, { name, drawn }) {
  const canvas = element("canvas", { className: "swatch", width: 28, height: 14, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let y = 0; y < 14; y++) {
    for (let x = 0; x < 28; x++) {
      context.fillStyle = drawn(x, y, color);
      context.fillRect(x, y, 1, 1);
    }
  }
  return element("span", { className: "pattern" }, canvas, element("span", { className: "quiet" }, name));
}

// A box and a name for each class; `changed` is called with the values that are switched on. Classes have patterns in
// their order, which a switch shows; `patterned` is called with whether it does.
function classSwitches(place, classes, patterns, changed, patterned) {
  const boxes = classes.map((one, at) => {
    const box = element("input", { type: "checkbox", checked: true, value: String(one.value) });
    box.addEventListener("change", tell);
    const sample = patternSample(one.color, patterns[at % patterns.length]);
    place.append(element("label", {}, box, swatch(one.color), element("span", {}, labelOf(one)), sample));
    return box;
  });
  document.getElementById("patterns").addEventListener("change", (event) => {
    place.classList.toggle("patterned", event.target.checked);
    patterned(event.target.checked);
  });
  function tell() {
    changed(new Set(boxes.filter((box) => box.checked).map((box) => Number(box.value))));
  }
  for (const [id, on] of [["all", true], ["none", false]]) {
    document.getElementById(id).addEventListener("click", () => {
      for (const box of boxes) box.checked = on;
      tell();
    });
  }
}

// A switch and a slider for a layer.
function layerControl(place, name, { shown, opacity, setShown, setOpacity }) {
  const box = element("input", { type: "checkbox", checked: shown });
  const slider = element("input", { type: "range", min: "0", max: "100", value: String(Math.round(100 * opacity)), "aria-label": `opacity of ${name}` });
  box.addEventListener("change", () => setShown(box.checked));
  slider.addEventListener("input", () => setOpacity(slider.value / 100));
  place.append(element("div", { className: "layer" }, element("label", {}, box, name), slider));
}
