"use strict";
/* Volumes in three planes, by NiiVue. */

const MASK_OPACITY = 0.6;
const VIEWS = [["All planes", 3], ["Axial", 0], ["Coronal", 1], ["Sagittal", 2], ["3-D", 4]];
const SIDES = ["LR", "PA", "IS"];
const KEYS = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowDown: [0, -1, 0], ArrowUp: [0, 1, 0],
  PageDown: [0, 0, -1], PageUp: [0, 0, 1],
};

function channels(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}

/* Colors of labels: those that are hidden, nodata and what has no class are transparent. */
function labelColors(layer, hidden) {
  const shown = layer.classes.filter((entry) => !hidden.includes(entry.value));
  const entries = [{ value: 0, name: "", color: "#000000", alpha: 0 }].filter(() => !shown.some((entry) => entry.value === 0));
  const all = [...entries, ...shown.map((entry) => ({ ...entry, alpha: 255 }))].sort((one, other) => one.value - other.value);
  const parts = all.map((entry) => channels(entry.color));
  return {
    R: parts.map((part) => part[0]),
    G: parts.map((part) => part[1]),
    B: parts.map((part) => part[2]),
    A: all.map((entry) => entry.alpha),
    I: all.map((entry) => entry.value),
    labels: all.map((entry) => entry.name),
  };
}

/* Colors of values, from low to high, between which NiiVue fills in; below them, and of what was not observed, none. */
function rampColors(ramp) {
  const parts = [ramp[0], ...ramp].map(channels);
  return {
    R: parts.map((part) => part[0]),
    G: parts.map((part) => part[1]),
    B: parts.map((part) => part[2]),
    A: parts.map((_, at) => (at ? 255 : 0)),
    I: parts.map((_, at) => (at ? 1 + Math.round((254 * (at - 1)) / (ramp.length - 1)) : 0)),
  };
}

/* The ends of the values of a layer that has a ramp, on which its colors are spread. */
function spread(volume) {
  const { global_min: low, global_max: high } = volume;
  volume.cal_min = low - (high - low || 1) / 254;
  volume.cal_max = high;
}

function addViews(nv) {
  const buttons = VIEWS.map(([text, kind]) => {
    const button = make("button", { type: "button", textContent: text });
    button.setAttribute("aria-pressed", String(kind === 3));
    button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      nv.setSliceType(kind);
    });
    return button;
  });
  show("views", ...buttons.flatMap((button) => [button, " "]));
  const sides = document.getElementById("radiological");
  sides.addEventListener("change", () => nv.setRadiologicalConvention(sides.checked));
  const smooth = document.getElementById("smooth");
  smooth.addEventListener("change", () => nv.setInterpolation(!smooth.checked));
}

function valueWords(layer, value) {
  if (layer.kind !== "mask") return [Number.isNaN(value) ? "not observed" : number(value)];
  if (value === layer.nodata) return ["nodata"];
  const entry = layer.classes.find((each) => each.value === value);
  return entry ? [swatch(entry.color), ` ${value} ${entry.name}`] : [`${value} (no such class)`];
}

/* The nearest voxel that is shown, as the file stores it: NiiVue counts them from the left, the back and the feet. */
function voxelAt(info, mm) {
  return info.from_world.map(([x, y, z, offset], axis) => {
    const index = x * mm[0] + y * mm[1] + z * mm[2] + offset;
    return Math.max(0, Math.round(index / info.steps[axis]) * info.steps[axis]);
  });
}

function showPlace(info, found) {
  const place = [0, 1, 2].map((axis) => `${Math.abs(found.mm[axis]).toFixed(1)} ${SIDES[axis][found.mm[axis] < 0 ? 0 : 1]}`);
  const voxel = voxelAt(info, found.mm);
  const rows = [["place (mm)", place.join(", ")], ["voxel z, y, x", voxel.join(", ")]];
  found.values.forEach((each, index) => rows.push([info.layers[index].name, ...valueWords(info.layers[index], each.value)]));
  const shown = definitions(rows);
  show("cursor", ...shown);
  if (document.activeElement?.id === "volume") show("there", shown.map((each) => each.textContent.trim()).join(" "));
}

function boxOf(nv, layer, index) {
  const opacity = layer.kind === "image" || index === 0 ? 1 : MASK_OPACITY;
  const { global_min: low, global_max: high } = nv.volumes[index];
  const legend = layer.ramp ? { range: [low, high] } : {};
  let kept = opacity, on = !layer.off;
  const apply = () => nv.setOpacity(index, on ? kept : 0);
  const paint = (hidden) => {
    nv.volumes[index].setColormapLabel(labelColors(layer, hidden));
    nv.updateGLVolume();
  };
  return layerBox({ ...layer, ...legend, channels: 1 }, {
    opacity,
    visible: (checked) => {
      on = checked;
      apply();
    },
    opaque: (value) => {
      kept = value;
      apply();
    },
    hide: paint,
  });
}

function subtitleOf(info) {
  const [z, y, x] = info.shape;
  const spacing = info.spacing.map((side) => number(side, 4)).reverse().join(" x ");
  return `${x} x ${y} x ${z}, voxels of ${spacing} mm, ${info.orientation}`;
}

async function load(nv, info) {
  const mask = (layer) => layer.kind === "mask";
  const ramp = info.layers.find((layer) => layer.ramp)?.ramp;
  if (ramp) nv.addColormap("ramp", rampColors(ramp));
  await nv.loadVolumes(info.layers.map((layer, index) => ({
    url: new URL(`volumes/${index}.nii`, location.href).href,
    name: `${index}.nii`,
    colormap: layer.ramp ? "ramp" : "gray",
    opacity: layer.off ? 0 : index === 0 || layer.kind === "image" ? 1 : MASK_OPACITY,
  })));
  info.layers.forEach((layer, index) => {
    if (layer.ramp) spread(nv.volumes[index]);
    if (!mask(layer)) return;
    const hidden = layer.classes.filter((entry) => entry.hidden).map((entry) => entry.value);
    nv.volumes[index].setColormapLabel(labelColors(layer, hidden));
  });
  nv.updateGLVolume();
}

async function main() {
  const info = await ask("info.json");
  const title = info.layers.map((layer) => layer.name).join(", ");
  document.title = `${title} - pipeline view`;
  show("title", title);
  show("subtitle", subtitleOf(info));
  info.notes.forEach(note);
  if (info.steps.some((step) => step > 1)) {
    const [z, y, x] = info.steps;
    note(`The volume is larger than a browser holds: every ${x} x ${y} x ${z} (x, y, z) voxels are shown by one of them, in its place.`);
  }
  const progress = document.getElementById("progress");
  progress.hidden = false;
  progress.textContent = "Loading voxels";
  const canvas = document.getElementById("volume");
  const nv = new niivue.Niivue({
    dragAndDropEnabled: false,
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    isNearestInterpolation: true,
    isOrientationTextVisible: true,
    isColorbar: false,
    show3Dcrosshair: true,
    backColor: [0, 0, 0, 1],
    crosshairColor: [1, 0.8, 0.1, 1],
    crosshairWidth: 0.4,
    crosshairWidthUnit: "percent",
    fontColor: [1, 1, 1, 1],
    fontMinPx: 15,
    loadingText: "",
    logLevel: "error",
    onLocationChange: (found) => showPlace(info, found),
  });
  await nv.attachToCanvas(canvas);
  await load(nv, info);
  progress.hidden = true;
  nv.createOnLocationChange();
  addViews(nv);
  show("layers", ...info.layers.map((layer, index) => boxOf(nv, layer, index)).reverse());
  canvas.addEventListener("keydown", (event) => {
    const step = KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    nv.moveCrosshairInVox(...step);
  }, { capture: true });
  window.viewer = { nv, info };
  document.body.dataset.ready = "yes";
}

main().catch(async (error) => {
  document.getElementById("progress").hidden = true;
  const { problems } = await ask("state.json").catch(() => ({ problems: [] }));
  (problems.length ? problems : [error.message]).forEach(note);
});
