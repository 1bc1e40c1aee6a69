const names = new Map(data.classes.map((one) => [one.value, one.name]));

const structures = data.classes.filter((one) => one.value !== 0);
let shownClasses = new Set(structures.map((one) => one.value));

// Colors of label values; those that are switched off are transparent.
function lookup(classes, isShown) {
  const known = classes.filter((one) => isShown(one.value));
  return {
    R: [0, ...known.map((one) => rgb(one.color)[0])], G: [0, ...known.map((one) => rgb(one.color)[1])],
    B: [0, ...known.map((one) => rgb(one.color)[2])], A: [0, ...known.map(() => 255)],
    I: [0, ...known.map((one) => one.value)], labels: ["", ...known.map((one) => visible(one.name))],
  };
}

async function volumeOf(base64, name, options = {}) {
  return niivue.NVImage.loadFromBase64({ base64, name: `${name}.nii.gz`, ...options });
}

async function show() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const viewer = new niivue.Niivue({
    isRadiologicalConvention: true, sagittalNoseLeft: true, isOrientationTextVisible: true, crosshairColor: [1, 0.8, 0.1, 1], backColor: dark ? [0.04, 0.05, 0.07, 1] : [0.1, 0.1, 0.12, 1],
    dragAndDropEnabled: false, show3Dcrosshair: false, multiplanarShowRender: 0, isColorbar: false, loadingText: "", logLevel: "error", fontMinPx: 18, fontColor: [1, 0.9, 0.4, 1], crosshairWidth: 0.25, crosshairWidthUnit: "percent",
  });
  await viewer.attachToCanvas(document.getElementById("slices"));
  viewer.setInterpolation(true);
  const layers = [];
  const mask = await volumeOf(data.mask, "mask");
  if (data.image !== null) layers.push([await volumeOf(data.image, "image"), "image"]);
  else layers.push([await volumeOf(data.mask, "background", { cal_min: 1e6, cal_max: 2e6 }), "image"]);
  layers.push([mask, "mask"]);
  if (data.errors !== null) layers.push([await volumeOf(data.errors, "errors"), "errors"]);
  for (const [volume] of layers) viewer.addVolume(volume);
  const recolor = () => {
    mask.setColormapLabel(lookup(structures, (value) => shownClasses.has(value)));
    viewer.updateGLVolume();
  };
  recolor();
  if (data.errors !== null) {
    const classes = data.errorClasses.map((one, at) => ({ ...one, value: at + 1 }));
    layers[2][0].setColormapLabel(lookup(classes, () => true));
  }
  viewer.setSliceType(viewer.sliceTypeMultiplanar);
  const outlines = document.getElementById("outlines");
  // NiiVue draws borders of labels opaque and their inside as opaque as the layer, if that is above 0.
  const states = layers.map(([, name]) => ({ on: name !== "errors", opacity: name === "mask" ? 0.2 : 1 }));
  const apply = (at) => {
    const { on, opacity } = states[at];
    if (layers[at][1] === "mask") viewer.opts.atlasOutline = on && outlines.checked ? 1 : 0;
    viewer.setOpacity(at, on ? Math.max(opacity, 0.01) : 0);
  };
  layers.forEach(([, name], at) => {
    apply(at);
    if (name === "image" && data.image === null) return;
    const label = { errors: "errors (red: differs, black: not predicted)", mask: "mask (inside)" }[name] ?? name;
    layerControl(document.getElementById("layers"), label, {
      shown: states[at].on, opacity: states[at].opacity,
      setShown: (on) => { states[at].on = on; apply(at); }, setOpacity: (share) => { states[at].opacity = share; apply(at); },
    });
  });
  outlines.addEventListener("change", () => apply(1));
  classSwitches(document.getElementById("classes"), structures, (values) => {
    shownClasses = values;
    recolor();
  });
  document.getElementById("view").addEventListener("change", (event) => viewer.setSliceType(Number(event.target.value)));
  const under = document.getElementById("under");
  const say = (place) => {
    const at = place.mm.slice(0, 3);
    const sides = [["L", "R"], ["P", "A"], ["I", "S"]].map(([less, more], axis) => `${Math.abs(at[axis]).toFixed(1)} ${at[axis] < 0 ? less : more}`);
    const words = [`${sides.join(", ")} mm`];
    place.values.forEach((one, index) => {
      const name = layers[index][1];
      if (name === "mask") words.push(names.has(one.value) ? labelOf({ value: one.value, name: names.get(one.value) }) : one.value === data.nodata ? "nodata" : `${one.value}`);
      else if (name === "image" && data.image !== null) words.push(`image ${Number(one.value.toPrecision(4))}`);
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
