"use strict";
/* A scene in its own pixel grid: x is the column, and y the negative row, from the first corner. Nothing is warped. */

const MASK_OPACITY = 0.6;
const PAUSE = 700;

function projectionOf(info) {
  const [rows, columns] = info.shape;
  return new ol.proj.Projection({
    code: "scene",
    units: info.meters ? "m" : "pixels",
    metersPerUnit: info.meters ? (info.meters[0] + info.meters[1]) / 2 : undefined,
    extent: [-columns, -2 * rows, 2 * columns, rows],
    global: false,
  });
}

function tileGridOf(info) {
  const [rows, columns] = info.shape;
  return new ol.tilegrid.TileGrid({
    extent: [0, -rows, columns, 0],
    origin: [0, 0],
    resolutions: Array.from({ length: info.levels }, (_, level) => 2 ** (info.levels - 1 - level)),
    tileSize: info.tile,
  });
}

function addressOf(info, number, hidden, version) {
  return ([z, x, y]) => {
    const query = new URLSearchParams();
    if (hidden.length) query.set("hidden", hidden.join(","));
    if (version) query.set("version", version);
    const words = query.toString();
    return `tiles/${number}/${info.levels - 1 - z}/${y}/${x}.png${words ? `?${words}` : ""}`;
  };
}

function tileLayer(info, number, projection, tileGrid) {
  const [rows, columns] = info.shape;
  const described = info.layers[number];
  const source = new ol.source.TileImage({ projection, tileGrid, interpolate: false, transition: 0, wrapX: false });
  source.on("tileloaderror", async (event) => {
    try {
      await ask(source.getTileUrlFunction()(event.tile.getTileCoord()));
    } catch (error) {
      note(error.message);
    }
  });
  const layer = new ol.layer.Tile({
    source,
    extent: [0, -rows, columns, 0],
    opacity: described.kind === "image" ? 1 : MASK_OPACITY,
    visible: !described.off,
    className: `layer-${number}`,
  });
  const state = { hidden: described.classes.filter((entry) => entry.hidden).map((entry) => entry.value), version: 0 };
  const renew = () => {
    const url = addressOf(info, number, state.hidden, state.version);
    source.setTileUrlFunction(url, url([0, 0, 0]));
  };
  renew();
  return {
    layer,
    hide(values) {
      state.hidden = values;
      renew();
    },
    refresh() {
      state.version += 1;
      renew();
    },
  };
}

/* From a position in the scene to Web Mercator and back, between the points of a mesh. */
function meshTransforms(mesh) {
  const { side, points } = mesh;
  const scale = (value, [low, high]) => ((value - low) / (high - low)) * (side - 1);
  const forward = ([x, y]) => {
    const at = [scale(-y, mesh.rows), scale(x, mesh.columns)];
    const [row, column] = at.map((value) => Math.min(Math.max(Math.floor(value), 0), side - 2));
    const [down, right] = [at[0] - row, at[1] - column];
    const corners = [[0, 0], [0, 1], [1, 0], [1, 1]].map(([i, j]) => points[(row + i) * side + column + j]);
    if (corners.some((point) => point === null)) return [NaN, NaN];
    const weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right];
    return [0, 1].map((axis) => corners.reduce((sum, point, k) => sum + weights[k] * point[axis], 0));
  };
  const inverse = (target) => {
    let at = [(mesh.columns[0] + mesh.columns[1]) / 2, -(mesh.rows[0] + mesh.rows[1]) / 2];
    const step = [(mesh.columns[1] - mesh.columns[0]) / side, (mesh.rows[1] - mesh.rows[0]) / side];
    for (let turn = 0; turn < 8; turn += 1) {
      const here = forward(at);
      const [a, b] = [forward([at[0] + step[0], at[1]]), forward([at[0], at[1] + step[1]])];
      const [xx, yx] = [(a[0] - here[0]) / step[0], (a[1] - here[1]) / step[0]];
      const [xy, yy] = [(b[0] - here[0]) / step[1], (b[1] - here[1]) / step[1]];
      const determinant = xx * yy - xy * yx;
      const [dx, dy] = [target[0] - here[0], target[1] - here[1]];
      at = [at[0] + (yy * dx - xy * dy) / determinant, at[1] + (xx * dy - yx * dx) / determinant];
    }
    return at;
  };
  return [forward, inverse];
}

function basemapLayer(info, projection) {
  const web = ol.proj.get("EPSG:3857");
  ol.proj.addCoordinateTransforms(projection, web, ...meshTransforms(info.mesh));
  return new ol.layer.Tile({
    source: new ol.source.XYZ({ url: info.basemap, projection: web, transition: 0 }),
    className: "basemap",
  });
}

/* Masks and layers are shown from the divider to the right only. */
function addSwipe(map, layers) {
  const swipe = document.getElementById("swipe");
  const split = document.getElementById("split");
  const divider = document.getElementById("divider");
  const place = () => {
    split.disabled = !swipe.checked;
    divider.hidden = !swipe.checked;
    divider.style.left = `${split.value / 10}%`;
    map.render();
  };
  swipe.addEventListener("change", place);
  split.addEventListener("input", place);
  for (const layer of layers) {
    layer.on("prerender", (event) => {
      event.context.save();
      if (!swipe.checked) return;
      const [width, height] = map.getSize();
      const left = (width * split.value) / 1000;
      const corners = [[left, 0], [width, 0], [width, height], [left, height]];
      event.context.beginPath();
      corners.forEach((corner, index) => {
        const [x, y] = ol.render.getRenderPixel(event, corner);
        if (index) event.context.lineTo(x, y);
        else event.context.moveTo(x, y);
      });
      event.context.closePath();
      event.context.clip();
    });
    layer.on("postrender", (event) => event.context.restore());
  }
  document.getElementById("compare").hidden = !layers.length;
}

/* Stored values with what they stand for, where that is something else. */
function scaled(layer, value) {
  if (value === null || !layer.scaling) return number(value);
  const [factor, offset] = layer.scaling;
  return `${number(value * factor + offset, 4)} (stored as ${number(value)})`;
}

function valueWords(layer, found) {
  if (!found.observed) return ["nodata"];
  if (layer.kind !== "mask") {
    const more = layer.channels > found.values.length ? ", …" : "";
    return [found.values.map((value) => scaled(layer, value)).join(", ") + more];
  }
  const entry = layer.classes.find((each) => each.value === found.values[0]);
  const words = `${found.values[0]} ${found.class ?? "(no such class)"}`;
  return entry ? [swatch(entry.color), ` ${words}`] : [words];
}

/* What is in the middle, in one line: read out after the keyboard moved there. */
function cellWords(info, cell) {
  const values = cell.values.map((found, index) => {
    const layer = info.layers[index];
    return `${layer.name} ${valueWords(layer, found).map((part) => part.textContent ?? part).join("").trim()}`;
  });
  return [`row ${cell.row}, column ${cell.column}`, ...values].join("; ");
}

function showCell(info, cell) {
  const rows = [["row, column", `${cell.row}, ${cell.column}`]];
  const places = [["xy", cell.world, info.geographic ? 7 : 2], [["lon", "lat"], info.geographic ? null : cell.lonlat, 7]];
  for (const [names, values, digits] of places) {
    if (values) rows.push(...values.map((value, axis) => [names[axis], value.toFixed(digits)]));
  }
  cell.values.forEach((found, index) => rows.push([info.layers[index].name, ...valueWords(info.layers[index], found)]));
  show("cursor", ...definitions(rows));
}

/* Asks for the values of one cell at a time, and then for the last place that was passed meanwhile. */
function addCursor(map, info) {
  const [rows, columns] = info.shape;
  let waiting = null;
  let busy = false;
  const next = async () => {
    if (busy || !waiting) return;
    const [row, column, byKeys] = waiting;
    waiting = null;
    busy = true;
    try {
      const cell = await ask(`at.json?row=${row}&column=${column}`);
      showCell(info, cell);
      if (byKeys) show("there", cellWords(info, cell));
    } catch (error) {
      note(error.message);
    }
    busy = false;
    next();
  };
  const look = ([x, y], byKeys = false) => {
    const [row, column] = [Math.floor(-y), Math.floor(x)];
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    waiting = [row, column, byKeys];
    next();
  };
  map.on("pointermove", (event) => look(event.coordinate));
  map.on("moveend", () => {
    if (document.activeElement === map.getTargetElement()) look(map.getView().getCenter(), true);
  });
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  map.getTargetElement().addEventListener("keydown", (event) => {
    if (!event.shiftKey || !(event.key in steps)) return;
    event.preventDefault();
    const [x, y] = map.getView().getCenter();
    const [across, down] = steps[event.key];
    map.getView().setCenter([Math.floor(x) + 0.5 + across, -(Math.floor(-y) + 0.5 + down)]);
  });
}

const DOUBLE_CLICK = 400;
const LEAST_CORNERS = 3;
const HECTARE = 1e4;
const KILOMETER = 1e6;

function areaText({ area, unit }) {
  if (unit !== "m²") return `${number(area)} ${unit}`;
  if (area >= KILOMETER) return `${number(area / KILOMETER, 5)} km²`;
  return area >= HECTARE ? `${number(area / HECTARE, 5)} ha` : `${number(area, 5)} m²`;
}

function areaTable(info, found, mask) {
  const layer = info.layers.find((each) => each.name === mask.name && each.kind === "mask");
  const sorted = [...mask.shares].sort((one, other) => other.share - one.share);
  const rows = sorted.map(({ value, share }) => {
    const entry = layer.classes.find((each) => each.value === value);
    const name = make("th", { scope: "row" }, ...(entry ? [swatch(entry.color), ` ${entry.name}`] : [String(value)]));
    const part = make("td", { className: "number", textContent: areaText({ ...found, area: found.area * share }) });
    return make("tr", {}, name, part, make("td", { textContent: `${(100 * share).toFixed(1)} %` }));
  });
  const from = mask.step > 1 ? `, from every ${mask.step}th cell` : "";
  return make("table", {}, make("caption", { textContent: `Observed cells of ${mask.name}${from}:` }), ...rows);
}

function addDrawing(map, info) {
  const source = new ol.source.Vector();
  const style = new ol.style.Style({
    stroke: new ol.style.Stroke({ color: "#d8004c", width: 2.5 }),
    fill: new ol.style.Fill({ color: "rgba(255, 255, 255, 0.15)" }),
  });
  map.addLayer(new ol.layer.Vector({ source, style, zIndex: 100 }));
  const draw = new ol.interaction.Draw({ source, type: "Polygon" });
  draw.setActive(false);
  map.addInteraction(draw);
  const zoom = map.getInteractions().getArray().find((each) => each instanceof ol.interaction.DoubleClickZoom);
  const [button, finish, clear] = ["draw", "finish", "clear"].map((id) => document.getElementById(id));
  let sketch = null;
  /* Corners that are set: the sketch has the place of the pointer as well, and ends where it begins. */
  const corners = () => (sketch ? sketch.getGeometry().getCoordinates()[0].length - 2 : 0);
  const drawing = (active) => {
    draw.setActive(active);
    setTimeout(() => zoom.setActive(!draw.getActive()), active ? 0 : DOUBLE_CLICK);
    button.setAttribute("aria-pressed", String(active));
    button.textContent = active ? "Cancel" : "Draw a polygon";
    finish.hidden = !active;
    finish.disabled = true;
    sketch = null;
    show("drawing", active ? "Click the corners, and double-click the last one; or move to each with the keys, and press Enter." : "");
  };
  const tell = (words) => {
    finish.disabled = corners() < LEAST_CORNERS;
    show("drawing", words);
  };
  const setCorner = () => {
    const [x, y] = map.getView().getCenter();
    draw.appendCoordinates([[x, y]]);
    const more = LEAST_CORNERS - corners();
    tell(`Corner ${corners()} at row ${Math.floor(-y)}, column ${Math.floor(x)}${more > 0 ? `; ${more} more needed` : "; F finishes"}.`);
  };
  const takeBack = () => {
    if (!sketch) return;
    draw.removeLastPoint();
    if (corners() < 1) draw.abortDrawing();
    tell(`Corners left: ${corners()}.`);
  };
  const end = () => {
    if (corners() >= LEAST_CORNERS) draw.finishDrawing();
    else tell(`A polygon needs ${LEAST_CORNERS} corners; it has ${corners()}.`);
  };
  const keys = { Enter: setCorner, Backspace: takeBack, f: end, F: end };
  map.getTargetElement().addEventListener("keydown", (event) => {
    if (!draw.getActive() || !(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  const empty = () => {
    source.clear();
    clear.disabled = true;
    show("area");
  };
  button.addEventListener("click", (event) => {
    if (draw.getActive()) draw.abortDrawing();
    drawing(!draw.getActive());
    if (draw.getActive() && event.detail === 0) map.getTargetElement().focus();
  });
  finish.addEventListener("click", end);
  clear.addEventListener("click", empty);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !draw.getActive()) return;
    draw.abortDrawing();
    drawing(false);
  });
  draw.on("drawstart", (event) => {
    empty();
    sketch = event.feature;
    sketch.getGeometry().on("change", () => {
      if (draw.getActive()) finish.disabled = corners() < LEAST_CORNERS;
    });
  });
  draw.on("drawabort", () => {
    sketch = null;
  });
  draw.on("drawend", async (event) => {
    drawing(false);
    clear.disabled = false;
    const ring = event.feature.getGeometry().getCoordinates()[0].slice(0, -1);
    const points = ring.map(([x, y]) => [x, -y]);
    try {
      const found = await ask("areas.json", { method: "POST", body: JSON.stringify(points) });
      const size = make("span", { className: "unseen", textContent: ` in a polygon of ${ring.length} corners` });
      show("area", make("strong", { textContent: areaText(found) }), size, ...found.masks.map((mask) => areaTable(info, found, mask)));
    } catch (error) {
      show("area", make("p", { textContent: error.message }));
    }
  });
}

/* Shows more of a layer whenever more of it is made. */
async function follow(tiles) {
  const shown = document.getElementById("progress");
  let before = null;
  for (;;) {
    const { progress, problems } = await ask("state.json");
    problems.forEach(note);
    progress.forEach((share, number) => {
      if (before && share > before[number]) tiles[number].refresh();
    });
    before = progress;
    const least = Math.min(...progress);
    shown.hidden = least >= 1;
    shown.textContent = `Making an overview: ${Math.floor(100 * least)} %`;
    if (least >= 1) return;
    await new Promise((done) => setTimeout(done, PAUSE));
  }
}

function subtitleOf(info) {
  const [rows, columns] = info.shape;
  const meters = info.meters ? info.meters.map((side) => number(side, 4)) : [];
  const size = meters.length ? `pixels of ${meters[0] === meters[1] ? meters[0] : meters.join(" x ")} m` : "";
  return [`${columns.toLocaleString("en")} x ${rows.toLocaleString("en")}`, size, info.crs ?? "no CRS"].filter(Boolean).join(", ");
}

function northAt(info) {
  if (info.north === null) return;
  const arrow = document.getElementById("north");
  arrow.hidden = false;
  arrow.firstElementChild.style.transform = `rotate(${info.north}deg)`;
}

async function main() {
  const info = await ask("info.json");
  const title = info.layers.map((layer) => layer.name).join(", ");
  document.title = `${title} - pipeline view`;
  show("title", title);
  show("subtitle", subtitleOf(info));
  info.notes.forEach(note);
  const projection = projectionOf(info);
  const tileGrid = tileGridOf(info);
  const tiles = info.layers.map((_, number) => tileLayer(info, number, projection, tileGrid));
  const extent = tileGrid.getExtent();
  const view = new ol.View({
    projection,
    center: ol.extent.getCenter(extent),
    minResolution: 1 / 32,
    maxResolution: 2 * tileGrid.getResolution(0),
    extent: [-extent[2], 2 * extent[1], 2 * extent[2], -extent[1]],
    showFullExtent: true,
    enableRotation: false,
  });
  const scale = new ol.control.ScaleLine({ minWidth: 90 });
  const map = new ol.Map({
    target: "map",
    view,
    layers: [...(info.mesh ? [basemapLayer(info, projection)] : []), ...tiles.map((each) => each.layer)],
    interactions: ol.interaction.defaults.defaults({ onFocusOnly: false, altShiftDragRotate: false, pinchRotate: false }),
    controls: ol.control.defaults.defaults({ rotate: false }).extend(info.meters ? [scale] : []),
  });
  view.fit(extent, { padding: [20, 20, 20, 20] });
  const boxes = info.layers.map((layer, number) => {
    const each = tiles[number];
    return layerBox(layer, {
      opacity: each.layer.getOpacity(),
      visible: (checked) => each.layer.setVisible(checked),
      opaque: (value) => each.layer.setOpacity(value),
      hide: (values) => each.hide(values),
    });
  });
  show("layers", ...boxes.reverse());
  addSwipe(map, tiles.filter((_, number) => info.layers[number].kind !== "image").map((each) => each.layer));
  addCursor(map, info);
  addDrawing(map, info);
  northAt(info);
  window.viewer = { map, info };
  map.once("rendercomplete", () => {
    document.body.dataset.ready = "yes";
  });
  await follow(tiles);
}

main().catch((error) => note(error.message));
