const [ROWS, COLUMNS] = data.shape;
const SIDE = 512;
const FINEST = data.zooms - 1;
const names = new Map(data.classes.map((one) => [one.value, one.name]));
const order = new Map(data.classes.map((one, at) => [one.value, at]));
let shownClasses = new Set(names.keys());
let patterns = false;

const projection = new ol.proj.Projection({
  code: "pixels", units: "m", extent: [0, 0, COLUMNS, ROWS], getPointResolution: (resolution) => resolution * (data.meters ?? 1),
});
const grid = new ol.tilegrid.TileGrid({
  extent: [0, 0, COLUMNS, ROWS], origin: [0, ROWS], tileSize: SIDE,
  resolutions: Array.from({ length: data.zooms }, (_, zoom) => 2 ** (FINEST - zoom)),
});

function decode(name, content) {
  const kind = name === "image" ? "image/webp" : "image/png";
  return createImageBitmap(new Blob([bytesOf(content)], { type: kind }), { premultiplyAlpha: "none", colorSpaceConversion: "none" });
}

function blank() {
  return element("canvas", { width: SIDE, height: SIDE });
}

const kept = new Map();
// Values of a tile, four bytes a pixel; null where nothing is.
async function pixels(layer, zoom, column, row) {
  const key = `${zoom}/${column}/${row}`;
  const content = layer.tiles[key];
  if (content === undefined) return null;
  const place = layer.name + key;
  if (!kept.has(place)) {
    kept.set(place, decode(layer.name, content).then((bitmap) => {
      const context = blank().getContext("2d", { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, SIDE, SIDE);
    }));
  }
  return kept.get(place);
}

const DARK = 0.45;
const STRIPES = [
  ["rising lines", (x, y) => (x + y) % 8 < 2], ["falling lines", (x, y) => (x - y + SIDE) % 8 < 2],
  ["horizontal lines", (x, y) => y % 6 < 2], ["vertical lines", (x, y) => x % 6 < 2],
  ["dots", (x, y) => x % 6 < 2 && y % 6 < 2], ["grid", (x, y) => (x % 8 < 2) || (y % 8 < 2)],
].map(([name, marked]) => ({
  name, marked, drawn: (x, y, color) => (marked(x, y) ? `rgb(${rgb(color).map((band) => band * DARK).join(" ")})` : color),
}));

function paint(layer, found) {
  const canvas = blank();
  const context = canvas.getContext("2d");
  const drawn = context.createImageData(SIDE, SIDE);
  const colors = new Map(data.classes.filter((one) => shownClasses.has(one.value)).map((one) => [one.value, rgb(one.color)]));
  const [from, to] = [found.data, drawn.data];
  for (let at = 0; at < from.length; at += 4) {
    const value = from[at] + 256 * from[at + 1];
    const color = colors.get(value);
    if (color === undefined) continue;
    const pixel = at / 4;
    const dark = patterns && STRIPES[order.get(value) % STRIPES.length].marked(pixel % SIDE, Math.floor(pixel / SIDE)) ? DARK : 1;
    to[at] = color[0] * dark;
    to[at + 1] = color[1] * dark;
    to[at + 2] = color[2] * dark;
    to[at + 3] = 255;
  }
  context.putImageData(drawn, 0, 0);
  return canvas;
}

// Colors of viridis, which everybody can tell apart by their lightness.
const RAMP = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"].map(rgb);
function ramped(layer, found) {
  const canvas = blank();
  const context = canvas.getContext("2d");
  const drawn = context.createImageData(SIDE, SIDE);
  for (let at = 0; at < found.data.length; at += 4) {
    const place = found.data[at] / 255 * (RAMP.length - 1);
    const first = Math.min(Math.floor(place), RAMP.length - 2);
    for (let band = 0; band < 3; band++) {
      drawn.data[at + band] = RAMP[first][band] + (place - first) * (RAMP[first + 1][band] - RAMP[first][band]);
    }
    drawn.data[at + 3] = found.data[at + 3];
  }
  context.putImageData(drawn, 0, 0);
  return canvas;
}

async function tile(layer, zoom, column, row) {
  const content = layer.tiles[`${zoom}/${column}/${row}`];
  if (content === undefined) return blank();
  if (layer.kind === "picture") return decode(layer.name, content);
  const found = await pixels(layer, zoom, column, row);
  return layer.kind === "labels" ? paint(layer, found) : ramped(layer, found);
}

const shown = data.layers.map((layer) => {
  const source = new ol.source.ImageTile({
    loader: (zoom, column, row) => tile(layer, zoom, column, row), projection, tileGrid: grid, interpolate: layer.name === "image", transition: 0, wrapX: false,
  });
  const visibleNow = layer.name === "image" || layer.name === "mask";
  return { layer, source, tiles: new ol.layer.Tile({ source, visible: visibleNow, opacity: layer.name === "mask" && data.layers[0].name === "image" ? 0.55 : 1 }) };
});

// Where patches failed: a dashed outline, dark on light so that it stands out from any color, and lines across.
function hatching() {
  const canvas = element("canvas", { width: 8, height: 8 });
  const context = canvas.getContext("2d");
  context.strokeStyle = "rgba(200, 0, 200, 0.8)";
  context.lineWidth = 1.5;
  context.beginPath();
  for (const from of [-8, 0, 8]) {
    context.moveTo(from, 8);
    context.lineTo(from + 8, 0);
  }
  context.stroke();
  return context.createPattern(canvas, "repeat");
}
const onMap = ([top, left, bottom, right]) => [left * COLUMNS / data.cells[1], ROWS - bottom * ROWS / data.cells[0], right * COLUMNS / data.cells[1], ROWS - top * ROWS / data.cells[0]];
const failed = data.failed.map(onMap);
const outlined = new ol.layer.Vector({
  source: new ol.source.Vector({ features: failed.map((extent) => new ol.Feature(ol.geom.Polygon.fromExtent(extent))) }),
  style: [
    new ol.style.Style({ fill: new ol.style.Fill({ color: hatching() }), stroke: new ol.style.Stroke({ color: "#fff", width: 4 }) }),
    new ol.style.Style({ stroke: new ol.style.Stroke({ color: "#a000a0", width: 2, lineDash: [8, 6] }) }),
  ],
});

const controls = [new ol.control.Zoom(), new ol.control.Rotate()];
if (data.meters !== null) controls.push(new ol.control.ScaleLine());
const view = new ol.View({
  projection, center: [COLUMNS / 2, ROWS / 2], extent: [0, 0, COLUMNS, ROWS], constrainOnlyCenter: true, showFullExtent: true,
  minResolution: 1 / 64, maxResolution: Math.max(1, Math.max(COLUMNS, ROWS) / 64), smoothExtentConstraint: false,
});
const map = new ol.Map({ target: "map", layers: [...shown.map((one) => one.tiles), outlined], controls, view });
const everything = () => view.fit([0, 0, COLUMNS, ROWS], { size: map.getSize() });
everything();
document.getElementById("map").addEventListener("keydown", (event) => {
  if (event.key === "0") everything();
});

for (const one of shown) {
  const { low, high, kind, name } = one.layer;
  const range = kind === "share" ? `${name} (dark ${low} to bright ${high})` : name === "errors" ? "errors (red: differs, black: not predicted)" : name;
  layerControl(document.getElementById("layers"), range, {
    shown: one.tiles.getVisible(), opacity: one.tiles.getOpacity(),
    setShown: (on) => one.tiles.setVisible(on), setOpacity: (share) => one.tiles.setOpacity(share),
  });
}
if (failed.length) {
  layerControl(document.getElementById("layers"), "failed patches (dashed, with lines across)", {
    shown: true, opacity: 1, setShown: (on) => outlined.setVisible(on), setOpacity: (share) => outlined.setOpacity(share),
  });
  document.querySelectorAll("#failed tbody tr").forEach((row, at) => {
    const button = element("button", { type: "button", "aria-label": `show patch ${at + 1} on the map` }, "show");
    button.addEventListener("click", () => {
      view.fit(failed[at], { size: map.getSize(), padding: [40, 40, 40, 40] });
      document.getElementById("map").focus();
    });
    row.append(element("td", {}, button));
  });
}
let paints = 0;
function repaint() {
  paints++;
  for (const one of shown) if (one.layer.kind === "labels") one.source.setKey(`paint ${paints}`);
}
classSwitches(document.getElementById("classes"), data.classes, STRIPES, (values) => {
  shownClasses = values;
  repaint();
}, (on) => {
  patterns = on;
  repaint();
});

function worldOf(row, column) {
  return data.affine.slice(0, 2).map((line) => line[0] * row + line[1] * column + line[2]);
}

// What is at a place of the map, in words.
async function wordsAt([x, y]) {
  if (x < 0 || y < 0 || x >= COLUMNS || y >= ROWS) return "outside the scene";
  const [across, down] = [Math.floor(x), Math.floor(ROWS - y)];
  const [column, row] = [x * data.cells[1] / COLUMNS, (ROWS - y) * data.cells[0] / ROWS];
  const words = [`row ${Math.floor(row)}, column ${Math.floor(column)}`];
  if (data.crs !== null) {
    words.push(`${worldOf(row - 0.5, column - 0.5).map((value) => Number(value.toPrecision(10))).join(", ")} (${visible(data.crs)})`);
  }
  for (const { layer } of shown) {
    if (layer.kind === "picture") continue;
    const found = await pixels(layer, FINEST, Math.floor(across / SIDE), Math.floor(down / SIDE));
    const at = 4 * (down % SIDE * SIDE + across % SIDE);
    if (layer.kind === "labels") {
      const value = found === null ? data.nodata : found.data[at] + 256 * found.data[at + 1];
      words.push(value === data.nodata ? "nodata" : labelOf({ value, name: names.get(value) ?? "" }));
    } else if (found !== null && found.data[at + 3] > 0) {
      words.push(`${layer.name} ${(layer.low + found.data[at] / 255 * (layer.high - layer.low)).toFixed(2)}`);
    }
  }
  if (failed.some(([left, bottom, right, top]) => x >= left && x < right && y > bottom && y <= top)) words.push("a patch failed here");
  return words.join(" · ");
}

let latest = 0;
async function name(coordinate) {
  const turn = ++latest;
  const words = await wordsAt(coordinate);
  if (turn === latest) document.getElementById("under").textContent = words;
}
map.on("pointermove", (event) => name(event.coordinate));
map.on("moveend", () => name(view.getCenter()));
