const names = new Map(data.classes.map((one) => [one.value, one.name]));
const structures = data.classes.filter((one) => one.value !== 0);
let shownClasses = new Set(structures.map((one) => one.value));

// Colors of label values.
function colormap(classes) {
  const all = [{ value: 0, name: "", color: "#000000" }, ...classes];
  const [R, G, B] = [0, 1, 2].map((band) => all.map((one) => rgb(one.color)[band]));
  return { R, G, B, A: all.map((one) => (one.value ? 255 : 0)), I: all.map((one) => one.value), labels: all.map((one) => visible(one.name)) };
}

// 256 shades between colors at equal distances.
function shades(ramp) {
  const parts = ramp.map(rgb);
  const at = (place, band) => {
    const left = Math.min(Math.floor(place), parts.length - 2);
    return Math.round(parts[left][band] + (place - left) * (parts[left + 1][band] - parts[left][band]));
  };
  const [R, G, B] = [0, 1, 2].map((band) => Array.from({ length: 256 }, (_, one) => at((one / 255) * (parts.length - 1), band)));
  return { R, G, B };
}

// What is drawn inside the outline of a structure, by voxels from the left, the back and the foot: each can be told from
// the others in all three planes.
const PATTERNS = [
  ["filled", () => true],
  ["lines", (x, y, z) => (x + y + z) % 6 < 2],
  ["checks", (x, y, z) => (Math.floor(x / 4) + Math.floor(y / 4) + Math.floor(z / 4)) % 2 === 0],
  ["dots and grids", (x, y, z) => (x % 6 < 2) + (y % 6 < 2) + (z % 6 < 2) >= 2],
  ["wide lines", (x, y, z) => (x + 2 * 4096 - y - z) % 12 < 4],
  ["outline alone", () => false],
].map(([name, marked]) => ({
  name, marked, drawn: (x, y, color) => (marked(x, y, 2) || x < 2 || y < 2 || x > 25 || y > 11 ? color : "transparent"),
}));

// Calls with the place of each voxel in the file, and its distance from the left, the back and the foot.
function eachVoxel({ dims, affine }, visit) {
  const [width, height, depth] = dims.slice(1, 4);
  const axes = [0, 1, 2].map((axis) => {
    const along = [0, 1, 2].map((world) => affine[world][axis]);
    const world = along.map(Math.abs).indexOf(Math.max(...along.map(Math.abs)));
    return { world, grows: along[world] > 0 };
  });
  const ends = [width - 1, height - 1, depth - 1];
  const [across, up, through] = axes.map(({ grows }, axis) => (at) => (grows ? at : ends[axis] - at));
  const place = [0, 0, 0];
  let at = 0;
  for (let k = 0; k < depth; k++) {
    place[axes[2].world] = through(k);
    for (let j = 0; j < height; j++) {
      place[axes[1].world] = up(j);
      for (let i = 0; i < width; i++, at++) {
        place[axes[0].world] = across(i);
        visit(at, place, i === 0 || j === 0 || k === 0 || i === ends[0] || j === ends[1] || k === ends[2]);
      }
    }
  }
}

async function show() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const viewer = new niivue.Niivue({
    isRadiologicalConvention: true, sagittalNoseLeft: true, isOrientationTextVisible: true, crosshairColor: [1, 0.8, 0.1, 1], backColor: dark ? [0.04, 0.05, 0.07, 1] : [0.1, 0.1, 0.12, 1],
    dragAndDropEnabled: false, show3Dcrosshair: false, multiplanarShowRender: 0, isColorbar: false, loadingText: "", logLevel: "error", fontMinPx: 18, fontColor: [1, 0.9, 0.4, 1], crosshairWidth: 0.5, crosshairWidthUnit: "percent", atlasOutline: 1,
  });
  await viewer.attachToCanvas(document.getElementById("slices"));
  viewer.setInterpolation(true);
  const outlines = document.getElementById("outlines");
  // NiiVue draws borders of labels opaque and their inside as opaque as the layer, if that is above 0.
  const layers = [];
  const states = [];
  const load = (base64, name, state) => niivue.NVImage.loadFromBase64({ base64, name: `${name}.nii.gz`, opacity: state.on ? state.opacity : 0 });
  const add = (volume, name, state) => {
    layers.push([volume, name]);
    states.push(state);
    viewer.addVolume(volume);
  };
  const opaque = { on: true, opacity: 1 };
  add(await load(data.image ?? data.blank, "image", opaque), "image", opaque);
  const inside = { on: true, opacity: 0.2 };
  const mask = await load(data.mask, "mask", inside);
  const whole = mask.img.slice();
  // What is switched off, or is no structure, becomes 0: NiiVue draws the border of any other value.
  let patterns = false;
  const choose = () => {
    const kept = new Uint8Array(65536);
    for (const value of shownClasses) kept[value] = 1;
    for (let at = 0; at < whole.length; at++) mask.img[at] = kept[whole[at]] ? whole[at] : 0;
    if (patterns) leaveOut();
  };
  // What a pattern has not is left out, but for the border of a structure.
  const leaveOut = () => {
    const marks = structures.map((_, at) => PATTERNS[at % PATTERNS.length].marked);
    const order = new Map(structures.map((one, at) => [one.value, at]));
    const [, width, height] = mask.hdr.dims;
    const around = [1, -1, width, -width, width * height, -width * height];
    eachVoxel(mask.hdr, (at, [x, y, z], outer) => {
      const value = mask.img[at];
      if (value === 0 || outer || marks[order.get(value)](x, y, z)) return;
      if (around.every((step) => whole[at + step] === value)) mask.img[at] = 0;
    });
  };
  choose();
  if (structures.length) mask.setColormapLabel(colormap(structures));
  add(mask, "mask", inside);
  // 0 is what was not observed: the color map is transparent there.
  viewer.addColormap("shares", { ...shades(data.ramp), A: [0, ...Array(255).fill(255)], I: Array.from({ length: 256 }, (_, at) => at) });
  for (const { name, content, low, high } of data.layers) {
    const off = { on: false, opacity: 0.7 };
    const shares = await load(content, name, off);
    shares.colormap = "shares";
    shares.cal_min = low - (high - low) / 254;
    shares.cal_max = high;
    add(shares, name, off);
  }
  if (data.errors !== null) {
    const off = { on: false, opacity: 1 };
    const errors = await load(data.errors, "errors", off);
    errors.setColormapLabel(colormap(data.errorClasses.map((one, at) => ({ ...one, value: at + 1 }))));
    add(errors, "errors", off);
  }
  viewer.setSliceType(viewer.sliceTypeMultiplanar);
  const apply = (at) => {
    const { on, opacity } = states[at];
    if (layers[at][1] === "mask") viewer.opts.atlasOutline = on && outlines.checked ? 1 : 0;
    viewer.setOpacity(at, on ? Math.max(opacity, 0.01) : 0);
  };
  layers.forEach(([, name], at) => {
    if (name === "image" && data.image === null) return;
    const range = data.layers.find((one) => one.name === name);
    const words = { errors: "errors (red: differs, black: not predicted)", mask: "mask (inside)" }[name] ?? name;
    const label = range === undefined ? words : `${name} (dark ${range.low} to bright ${range.high})`;
    layerControl(document.getElementById("layers"), label, {
      shown: states[at].on, opacity: states[at].opacity,
      setShown: (on) => { states[at].on = on; apply(at); }, setOpacity: (share) => { states[at].opacity = share; apply(at); },
    });
  });
  outlines.addEventListener("change", () => apply(1));
  const renew = () => {
    choose();
    viewer.updateGLVolume();
  };
  classSwitches(document.getElementById("classes"), structures, PATTERNS, (values) => {
    shownClasses = values;
    renew();
  }, (on) => {
    patterns = on;
    renew();
  });
  document.getElementById("view").addEventListener("change", (event) => viewer.setSliceType(Number(event.target.value)));
  const under = document.getElementById("under");
  const say = (place) => {
    const at = place.mm.slice(0, 3);
    const sides = [["L", "R"], ["P", "A"], ["I", "S"]].map(([less, more], axis) => `${Math.abs(at[axis]).toFixed(1)} ${at[axis] < 0 ? less : more}`);
    const words = [`${sides.join(", ")} mm`];
    place.values.forEach((one, index) => {
      const name = layers[index][1];
      if (name === "mask" && one.value === 0 && shownClasses.size < structures.length) words.push("background, or a structure that is switched off");
      else if (name === "mask") words.push(names.has(one.value) ? labelOf({ value: one.value, name: names.get(one.value) }) : one.value === data.nodata ? "nodata" : `${one.value}`);
      else if (name === "image" && data.image !== null) words.push(`image ${Number(one.value.toPrecision(4))}`);
      else if (data.layers.some((each) => each.name === name && one.value > each.low - 1e-6)) words.push(`${name} ${Math.abs(one.value).toFixed(3)}`);
    });
    under.textContent = words.join(" · ");
  };
  viewer.onLocationChange = say;
  document.getElementById("slices").addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1] };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    viewer.moveCrosshairInVox(...steps[event.key]);
  }, true);
  viewer.drawScene();
  viewer.moveCrosshairInVox(0, 0, 0);
  window.viewer = viewer;
}

const probe = document.createElement("canvas").getContext("webgl2");
if (probe === null) trouble("Slices need WebGL 2, which this browser does not have; the tables below do not.");
else show().catch((error) => trouble(`The slices cannot be shown: ${error.message}`));
