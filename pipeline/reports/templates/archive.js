const items = data.items.map((row, number) => ({ ...Object.fromEntries(data.columns.map((name, at) => [name, row[at]])), number }));
const place = (id) => document.getElementById(id);
const [table, rows] = [place("table"), place("rows")];
const KEY = `pipeline-reviews-${data.key}`;
const RANK = { failed: 1, quarantined: 1, stale: 2, running: 3, pending: 4, done: 5 };

function kept() {
  try {
    return new Map(Object.entries(JSON.parse(localStorage.getItem(KEY) ?? "{}")));
  } catch {
    return new Map();
  }
}
const reviews = kept();
function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(reviews)));
  } catch {
    trouble("This browser keeps no reviews for pages on disk: export them before you close the page.");
  }
}
function reviewOf(item) {
  return reviews.get(item.input) ?? { verdict: "", comment: "" };
}
function review(item, change) {
  const next = { ...reviewOf(item), ...change };
  if (next.verdict === "" && next.comment === "") reviews.delete(item.input);
  else reviews.set(item.input, next);
  keep();
}

// What tables say of items that were reviewed here otherwise.
const others = new Map();
// Takes reviews over, of items that have none; `rows` are input, verdict and comment. Returns what became of them.
function takeOver(rows) {
  const known = new Set(items.map((item) => item.input));
  const told = { added: 0, equal: 0, differ: 0, unknown: 0 };
  for (const [input, verdict, comment] of rows) {
    if (!known.has(input)) {
      told.unknown++;
      continue;
    }
    if (verdict === "" && comment === "") continue;
    const own = reviews.get(input);
    others.delete(input);
    if (own === undefined) {
      reviews.set(input, { verdict, comment });
      told.added++;
    } else if (own.verdict === verdict && own.comment === comment) {
      told.equal++;
    } else {
      others.set(input, { verdict, comment });
      told.differ++;
    }
  }
  keep();
  return told;
}
function tellLoaded(source, { added, equal, differ, unknown }) {
  const words = [`${added} added`];
  if (equal) words.push(`${equal} as here`);
  if (differ) words.push(`${differ} unlike yours, which stay (filter by review)`);
  if (unknown) words.push(`${unknown} of items that are not in this archive`);
  place("loaded").textContent = `${source}: ${words.join("; ")}.`;
}
// Reviews that came with the page are taken over once: what is undone later stays undone.
if (data.reviews.length) {
  const mark = `${KEY}-came`;
  const came = JSON.stringify(data.reviews);
  let before = null;
  try {
    before = localStorage.getItem(mark);
    localStorage.setItem(mark, came);
  } catch { /* nothing is kept: they are taken over each time */ }
  if (before !== came) tellLoaded("Reviews that came with this page", takeOver(data.reviews));
}

const SORTS = {
  "to look at first": (item) => [item.unusual ? 0 : RANK[item.state] ?? 6, item.input],
  name: (item) => [item.input],
  state: (item) => [item.state, item.code, item.input],
  seconds: (item) => [item.seconds, item.input],
  "size, Mpx": (item) => [item.megapixels, item.input],
  amount: (item) => [item.amounts[place("amount").value] ?? -1, item.input],
  review: (item) => [reviewOf(item).verdict, item.input],
  "last change": (item) => [item.changed, item.input],
};
function options(select, values, text = (value) => value) {
  for (const value of values) select.append(element("option", { value }, text(value)));
}
options(place("sort"), Object.keys(SORTS));
options(place("state"), [...new Set(items.map((item) => item.state))].sort());
const codes = [...new Set(items.map((item) => item.code).filter(Boolean))].sort();
options(place("code"), [...(items.some((item) => item.unusual) ? ["unusual"] : []), ...codes]);
options(place("amount"), data.amounts, visible);

function compare(one, other) {
  for (let at = 0; at < one.length; at++) {
    if (one[at] < other[at]) return -1;
    if (one[at] > other[at]) return 1;
  }
  return 0;
}

let shown = items;
let current = 0;
function choose() {
  const words = place("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [state, code, verdict] = ["state", "code", "verdict"].map((id) => place(id).value);
  const order = SORTS[place("sort").value];
  const before = shown[current];
  shown = items.filter((item) => (!state || item.state === state)
    && (!code || (code === "unusual" ? item.unusual : item.code === code))
    && (!verdict || (verdict === "differs" ? others.has(item.input) : (reviewOf(item).verdict || "none") === verdict))
    && words.every((word) => `${item.input} ${item.output} ${item.reason} ${item.code} ${item.unusual} ${reviewOf(item).comment}`.toLowerCase().includes(word)));
  const keys = new Map(shown.map((item) => [item, order(item)]));
  shown.sort((one, other) => compare(keys.get(one), keys.get(other)));
  if (place("down").checked) shown.reverse();
  current = Math.max(0, shown.indexOf(before));
  count();
  draw(true);
}
function count() {
  const verdicts = [...reviews.values()].map((one) => one.verdict);
  const said = ["pass", "fail"].map((word) => `${verdicts.filter((one) => one === word).length} ${word}`).join(", ");
  place("count").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} items; ${said}`;
}

// Rows are as high as their text needs at any size of letters; only those in sight are in the page.
const narrow = matchMedia("(max-width: 52rem)");
function height() {
  const em = parseFloat(getComputedStyle(document.documentElement).fontSize);
  return narrow.matches ? Math.max(106, 17 * em) : Math.max(106, 7 * em);
}

function thumbnail(item) {
  const made = element("div", { className: "thumb" });
  if (item.thumbnail < 0) return made;
  const { folder, side, across } = data.thumbnails;
  const at = item.thumbnail % (across * across);
  const shard = String(Math.floor(item.thumbnail / (across * across))).padStart(4, "0");
  made.style.backgroundImage = `url("${encodeURI(folder).replace(/["'()#?]/g, (sign) => "%" + sign.charCodeAt(0).toString(16))}/${shard}.webp")`;
  made.style.backgroundPosition = `-${at % across * side}px -${Math.floor(at / across) * side}px`;
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", "thumbnail of the mask");
  return made;
}

function badge(text, kind) {
  return element("span", { className: `badge ${kind}` }, text);
}

function othersOf(item) {
  const [other, own] = [others.get(item.input), reviewOf(item)];
  if (other === undefined || (other.verdict === own.verdict && other.comment === own.comment)) return "";
  return element("div", { className: "quiet" }, `the table has: ${[other.verdict || "no verdict", visible(other.comment)].filter(Boolean).join(", ")}`);
}

function row(item, at, high) {
  const { verdict, comment } = reviewOf(item);
  const amount = place("amount").value;
  const share = item.amounts[amount];
  const base = item.input.split("/").pop();
  const folder = item.input.slice(0, item.input.length - base.length);
  const buttons = ["pass", "fail"].map((word) => {
    const made = element("button", { type: "button", className: verdict === word ? "chosen" : "", tabIndex: -1, ariaPressed: String(verdict === word) }, word);
    made.addEventListener("click", () => { current = at; judge(word); });
    return made;
  });
  const words = element("input", { type: "text", value: comment, placeholder: "comment", "aria-label": `comment on ${visible(item.input)}`, tabIndex: -1 });
  words.addEventListener("change", () => { review(item, { comment: words.value }); count(); });
  const made = element("div", { className: at === current ? "item current" : "item", role: "row", id: `row${at}`, "aria-rowindex": String(at + 1), ariaSelected: String(at === current) },
    element("div", { role: "gridcell" }, thumbnail(item)),
    element("div", { role: "gridcell" }, element("div", { className: "name" }, visible(base)), element("div", { className: "quiet" }, visible(folder)), element("div", {}, visible(item.unusual || item.reason))),
    element("div", { role: "gridcell" }, badge(item.state, item.state), item.code ? badge(item.code, "code") : "", item.unusual ? badge("unusual", "unusual") : ""),
    element("div", { role: "gridcell" }, share === undefined ? "" : `${share.toLocaleString("en")} ${visible(amount.split(", ").pop())}`,
      element("div", { className: "quiet" }, `${item.megapixels} Mpx, ${item.seconds} s${item.tries > 1 ? `, ${item.tries} tries` : ""}`)),
    element("div", { role: "gridcell" }, element("div", { className: "row" }, verdict ? badge(verdict, verdict) : "", ...buttons), words, othersOf(item)));
  made.style.top = `${at * high}px`;
  made.style.height = `${high}px`;
  made.addEventListener("click", (event) => {
    if (event.target.closest("input, button")) return;
    current = at;
    draw();
  });
  return made;
}

function draw(fromTop = false) {
  const high = height();
  rows.style.height = `${shown.length * high}px`;
  table.setAttribute("aria-rowcount", String(shown.length));
  if (fromTop) table.scrollTop = Math.max(0, (current - 1) * high);
  const first = Math.max(0, Math.floor(table.scrollTop / high) - 3);
  const last = Math.min(shown.length, Math.ceil((table.scrollTop + table.clientHeight) / high) + 3);
  rows.replaceChildren(...shown.slice(first, last).map((item, at) => row(item, first + at, high)));
  if (shown.length) table.setAttribute("aria-activedescendant", `row${current}`);
}

function move(by) {
  if (!shown.length) return;
  current = Math.min(shown.length - 1, Math.max(0, current + by));
  const high = height();
  const [top, bottom] = [current * high, (current + 1) * high];
  if (top < table.scrollTop) table.scrollTop = top;
  if (bottom > table.scrollTop + table.clientHeight) table.scrollTop = bottom - table.clientHeight;
  draw();
}

function judge(verdict) {
  if (!shown.length) return;
  review(shown[current], { verdict });
  count();
  draw();
}

const KEYS = {
  ArrowDown: () => move(1), ArrowUp: () => move(-1), j: () => move(1), k: () => move(-1),
  PageDown: () => move(Math.max(1, Math.floor(table.clientHeight / height()))), PageUp: () => move(-Math.max(1, Math.floor(table.clientHeight / height()))),
  Home: () => move(-shown.length), End: () => move(shown.length),
  p: () => { judge("pass"); move(1); }, f: () => { judge("fail"); move(1); }, u: () => judge(""),
  c: () => document.querySelector(`#row${current} input`)?.focus(),
  "/": () => place("search").focus(),
};
table.addEventListener("keydown", (event) => {
  if (event.target !== table) {
    if (event.key === "Enter" || event.key === "Escape") {
      event.target.blur();
      table.focus();
      draw();
    }
    return;
  }
  const action = KEYS[event.key];
  if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, select, [role=grid]")) {
    event.preventDefault();
    place("search").focus();
  }
});
place("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "Escape") table.focus();
});

// A cell that a spreadsheet would take for a formula gets an apostrophe in front, as the tables of pipeline have it.
function cell(value) {
  const text = String(value);
  const safe = /^[' ]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
function plainCell(text) {
  return /^'[' ]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? text.slice(1) : text;
}
// Rows of a table, each by the names of its columns.
function rowsOf(text, delimiter) {
  const lines = [[]];
  let at = text.startsWith("\ufeff") ? 1 : 0;
  while (at < text.length) {
    let value = "";
    if (text[at] === '"') {
      for (at++; at < text.length; at++) {
        if (text[at] !== '"') value += text[at];
        else if (text[at + 1] === '"') value += text[at++];
        else break;
      }
      at++;
    }
    while (at < text.length && ![delimiter, "\n", "\r"].includes(text[at])) value += text[at++];
    lines.at(-1).push(value);
    const end = text[at++];
    if (end === "\r" && text[at] === "\n") at++;
    if (end === "\n" || end === "\r") lines.push([]);
    else if (end === delimiter && at === text.length) lines.at(-1).push("");
  }
  const [columns, ...rest] = lines.filter((line) => line.length);
  return { columns: columns ?? [], rows: rest.map((line) => Object.fromEntries((columns ?? []).map((name, index) => [name, plainCell(line[index] ?? "")]))) };
}
// Reviews in a table; what is wrong with it is thrown.
function reviewsIn(name, text) {
  const { columns, rows } = rowsOf(text, name.toLowerCase().endsWith(".tsv") ? "\t" : ",");
  for (const needed of ["input", "verdict"]) {
    if (!columns.includes(needed)) throw new Error(`has no column ${needed}; it has ${columns.map(visible).join(", ") || "none"}`);
  }
  return rows.map((line, number) => {
    const verdict = line.verdict.trim().toLowerCase();
    if (!["", "pass", "fail"].includes(verdict)) throw new Error(`row ${number + 1}: verdict ${visible(line.verdict)} must be pass, fail or empty`);
    return [line.input, verdict, line.comment ?? ""];
  });
}
place("load").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file === undefined) return;
  try {
    tellLoaded(`Reviews in ${visible(file.name)}`, takeOver(reviewsIn(file.name, await file.text())));
    choose();
  } catch (error) {
    place("loaded").textContent = `${visible(file.name)}: ${error.message}`;
  }
  event.target.value = "";
});
function exported() {
  const lines = items.filter((item) => reviews.has(item.input)).map((item) => {
    const { verdict, comment } = reviewOf(item);
    return [item.input, verdict, comment, item.state, item.unusual ? "unusual" : item.code].map(cell).join(",");
  });
  return ["input,verdict,comment,state,reason", ...lines].join("\n") + "\n";
}
place("export").addEventListener("click", () => {
  const link = element("a", { href: URL.createObjectURL(new Blob([exported()], { type: "text/csv" })), download: "reviews.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});

for (const id of ["state", "code", "verdict", "amount", "sort", "down"]) place(id).addEventListener("change", choose);
place("search").addEventListener("input", choose);
let waiting = false;
table.addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; if (!document.activeElement?.closest(".item")) draw(); });
});
addEventListener("resize", () => draw());
if (!items.some((item) => item.thumbnail >= 0)) table.classList.add("plain");
if (!data.amounts.length) place("amount").closest("label").hidden = true;
choose();
