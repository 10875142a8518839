// One page: whom to look for on the left, what was found on the right. All that it knows is in `state`; every change
// of it is drawn anew. Whatever comes from outside becomes text or an attribute, never markup.

const DAY = 86400;

const state = {
  about: null, // what /api/gallery says
  items: [], // pictures of the person: { file, image, box } or { sighting, image }, with { seen, maps } once searched
  active: 0, // the one of them that is shown large
  unlike: [], // sightings that show somebody else
  off: new Set(), // parts that are not compared
  where: { cameras: new Set(), sources: new Set(), since: null, until: null },
  view: "rank",
  count: 50,
  tint: true, // whether part maps lie over pictures
  answers: null, // null: nothing was searched for, the gallery is leafed through
  shelf: [], next: null, seconds: 0, busy: false,
  fault: null, again: true, // what went wrong, and whether the same may go well another time
  notice: "", // what was not done, until something else is
  held: null, // the sighting whose picture had the focus when it went away
};

const $ = (id) => document.getElementById(id);
const numbers = (list) => [...list.keys()];
const clamp = (low, value, high) => Math.max(low, Math.min(value, high));
const many = (count, one, more = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;

/** A new element; what it is given becomes a listener, a custom property, a property or an attribute. */
function el(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key, value);
    else if (key.startsWith("--")) made.style.setProperty(key, value);
    else if (key.includes("-") || !(key in made)) made.setAttribute(key, value === true ? "" : value);
    else made[key] = value;
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

// --- asking ---

class Fault extends Error {
  constructor(text, again = true) {
    super(text);
    this.again = again;
  }
}

const call = (path, options) => fetched(path, options).then((response) => (response.status === 204 ? null : response.json()));

async function fetched(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault("The service does not answer. Is `halfseen serve` still running?");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== "/api/session") {
    signIn();
    throw new Fault(""); // the question says it all
  }
  const again = response.status >= 500 || [408, 429].includes(response.status);
  throw new Fault(sentence(told.detail ?? `The service answered ${response.status}.`), again);
}

function signIn() {
  const login = $("login");
  if (login.open) return;
  login.returnValue = "";
  login.showModal();
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");

let running = new AbortController(), soon = 0;

/** Ask again, when nothing more has changed for a moment. */
function ask() {
  clearTimeout(soon);
  running.abort();
  state.busy = true;
  drawMore();
  state.held = document.activeElement?.dataset?.id ?? state.held;
  drawQuery();
  if (!state.fault && (state.items.length > 0) === (state.answers !== null)) {
    $("shown").ariaBusy = "true"; // pale, but there
    $("told").textContent = "Looking…";
  } else drawFound();
  soon = setTimeout(() => answer(), 90);
}

/** What comes after what is shown. While something is asked for, nobody knows after what. */
function more() {
  if (state.busy) return;
  if (state.answers) return (state.count = Math.min(500, 2 * state.count)), ask();
  state.busy = true;
  drawMore();
  answer((signal) => leaf(signal, state.next));
}

async function answer(asked = state.items.length ? search : leaf) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  try {
    await asked(signal);
    state.fault = null;
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Fault)) console.error(error);
    state.fault = error instanceof Fault ? error.message : "Something broke on this page; the console says what.";
    state.again = error.again ?? true;
  }
  state.busy = false;
  draw();
  closeAgain();
}

async function search(signal) {
  await Promise.all(state.items.filter(({ sighting, box }) => sighting && box).map((item) => own(item, signal)));
  const uploads = state.items.filter((item) => item.file), likes = state.items.filter((item) => item.sighting);
  const form = new FormData();
  for (const { file, box } of uploads) {
    form.append("pictures", file, "picture"); // its name is nobody's business
    form.append("boxes", box ? box.join(",") : "");
  }
  for (const { sighting } of likes) form.append("like", sighting.id);
  for (const { id } of state.unlike) form.append("unlike", id);
  if (state.off.size) state.about.parts.forEach((_, part) => state.off.has(part) || form.append("parts", part));
  for (const [key, value] of where()) form.append(key, value);
  form.append("count", state.count);
  if ($("rerank").checked) form.append("rerank", "true");
  if ($("keep").checked && uploads.length) form.append("keep", "true");
  const found = await call("/api/search", { method: "POST", body: form, signal });
  signal.throwIfAborted();
  [...uploads, ...likes].forEach((item, number) => {
    const { seen, maps } = found.queries[number];
    Object.assign(item, { seen, maps: maps ?? item.maps });
  });
  likes.filter(({ image }) => !image).forEach(picture);
  await Promise.all(likes.map((item) => item.maps || mapsOf(item.sighting.id).then((maps) => (item.maps = maps))));
  signal.throwIfAborted();
  Object.assign(state, { answers: found.answers, seconds: found.seconds });
}

/** A crop of a sighting is a picture of its own. */
async function own(item, signal) {
  const file = await (await fetched(`/api/sightings/${item.sighting.id}/picture`, { signal })).blob();
  signal.throwIfAborted();
  Object.assign(item, { file, sighting: null });
}

async function leaf(signal, start = 0) {
  const words = new URLSearchParams([...where(), ["start", start]]);
  const found = await call(`/api/sightings?${words}`, { signal });
  signal.throwIfAborted();
  state.shelf = start ? [...state.shelf, ...found.sightings] : found.sightings;
  Object.assign(state, { next: found.next, answers: null });
}

function where() {
  const { cameras, sources, since, until } = state.where;
  const words = [...[...cameras].map((key) => ["cameras", key]), ...[...sources].map((key) => ["sources", key])];
  if (since !== null) words.push(["since", since.toFixed(3)]); // 2024 alone may be a year
  if (until !== null) words.push(["until", until.toFixed(3)]);
  return words;
}

const known = new Map(); // maps of sightings, by id: a promise

function mapsOf(id) {
  if (!known.has(id)) {
    known.set(id, call(`/api/sightings/${id}/maps`).catch(() => (known.delete(id), null)));
  }
  return known.get(id);
}

const loaded = new Map(); // pictures of sightings, by id: a promise

function imageOf(id) {
  if (!loaded.has(id)) {
    const image = new Image();
    image.src = `/api/sightings/${id}/picture`;
    loaded.set(id, image.decode().then(() => image, () => (loaded.delete(id), null)));
  }
  return loaded.get(id);
}

// --- whom to look for ---

const past = []; // what was looked for before, for the browser's way back
const LOAD = performance.timeOrigin; // the browser remembers longer than this page: its steps say of which load they are

let nudged = null; // the picture whose crop was moved by keys, and nothing else since

const copied = ({ items, unlike, off }) => ({ items: items.map((each) => ({ ...each })), unlike: [...unlike], off: new Set(off) });

function remember() {
  nudged = null;
  past.push(copied(state));
  history.pushState({ load: LOAD, place: past.length - 1 }, "");
}

addEventListener("popstate", ({ state: step }) => {
  if (!step || !past.length) return; // a link within the page, or too early
  const before = past[step.load === LOAD ? step.place : 0]; // of another load nothing is known but that it began
  $("closer").close();
  Object.assign(state, copied(before), { active: 0, notice: "" });
  state.items.filter((each) => each.sighting && !each.image).forEach(picture);
  ask();
});

/** The file as it is now: on the disk it may change or go. Null, if it cannot be read. */
const inMemory = (file) => file.arrayBuffer().then((bytes) => new File([bytes], file.name, { type: file.type }), () => null);

const early = []; // files that came before the gallery

async function addFiles(files) {
  if (!state.about) return early.push(...files);
  const limit = state.about.limits.pictures, room = Math.max(0, limit - state.items.filter((item) => item.file).length);
  const pictures = [...files].filter((file) => file.type.startsWith("image/") || !file.type);
  const others = files.length - pictures.length, taken = pictures.slice(0, room), left = pictures.length - taken.length;
  const read = (await Promise.all(taken.map(inMemory))).filter(Boolean), lost = taken.length - read.length;
  const notice = [others && `${many(others, "file")} ${others > 1 ? "are" : "is"} no picture, and left out.`,
    lost && `${many(lost, "file")} cannot be read, and ${lost > 1 ? "are" : "is"} left out.`,
    left && `${many(left, "picture")} left out: one search takes ${limit}.`].filter(Boolean).join(" ");
  if (!read.length) return (state.notice = notice), drawQuery();
  for (const file of read) {
    const image = await createImageBitmap(file).catch(() => null); // null: a kind that the browser does not show
    state.items.push({ file, image, box: null });
  }
  state.active = state.items.length - 1;
  changed(notice);
  toTop();
}

/** Another person: the answers begin anew. */
function toTop() {
  scrollTo({ top: 0 });
  $("ask").scrollTop = 0;
}

function like(sighting, alone = false) {
  if (alone) Object.assign(state, { items: [], unlike: [], off: new Set() });
  state.unlike = state.unlike.filter(({ id }) => id !== sighting.id);
  if (state.items.some((item) => item.sighting?.id === sighting.id)) return;
  const item = { sighting, image: null };
  state.items.push(item);
  picture(item);
  changed();
  if (alone) toTop();
}

const picture = (item) => imageOf(item.sighting.id).then((image) => ((item.image = image), drawQuery()));

function unlike(sighting) {
  state.items = state.items.filter((item) => item.sighting?.id !== sighting.id);
  if (!state.unlike.some(({ id }) => id === sighting.id)) state.unlike.push(sighting);
  changed();
}

function changed(notice = "") {
  state.notice = notice;
  state.active = clamp(0, state.active, Math.max(0, state.items.length - 1));
  state.count = 50;
  if (!state.items.length) state.unlike = [];
  remember();
  ask();
}

function toggle(part) {
  const { parts } = state.about;
  if (part >= parts.length || !state.items.length) return;
  state.off.has(part) ? state.off.delete(part) : state.off.add(part);
  if (state.off.size === parts.length) state.off = new Set(numbers(parts).filter((other) => other !== part)); // one must stay
  changed();
}

const colour = (part) => state.about.looks[part].colour;
const whole = (part) => state.about.looks[part].whole; // all of somebody, and no part of the body

// --- pictures with part maps ---

/** The crop of `image`, `height` pixels high and at most twice as wide, under the maps; of one `part` alone, if one is named. */
function paint(canvas, image, { box = null, maps = null, part = null, height = 600 } = {}) {
  const [left, top, right, bottom] = box ?? [0, 0, 1, 1];
  const wide = image.width * (right - left), high = image.height * (bottom - top);
  const scale = Math.min(height / high, (2 * height) / wide); // browsers do not draw what is wider than 16,000 pixels
  Object.assign(canvas, { width: Math.max(1, Math.round(scale * wide)), height: Math.max(1, Math.round(scale * high)) });
  const brush = canvas.getContext("2d");
  brush.imageSmoothingQuality = "high";
  brush.drawImage(image, image.width * left, image.height * top, wide, high, 0, 0, canvas.width, canvas.height);
  const over = maps && (part !== null || state.tint) && veil(maps, part);
  if (over) brush.drawImage(over, 0, 0, canvas.width, canvas.height);
}

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const read = (maps) => (maps.bytes ??= maps.parts.map(bytes));

/** What lies over a picture: the colour of the likeliest part in each place, or darkness where one `part` is not. */
function veil(maps, part) {
  const { width, height } = maps, values = read(maps);
  const colours = values.map((_, each) => colour(each));
  const shown = numbers(values).filter((each) => !whole(each) && !state.off.has(each));
  if (part === null && !shown.length) return null;
  const peak = part === null ? 0 : Math.max(90, ...values[part]);
  const canvas = el("canvas", { width, height }), brush = canvas.getContext("2d"), data = brush.createImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    if (part !== null) {
      data.data.set([8, 11, 16, 190 * (1 - values[part][place] / peak)], 4 * place);
      continue;
    }
    const best = shown.reduce((a, b) => (values[b][place] > values[a][place] ? b : a));
    const rgb = [1, 3, 5].map((digit) => parseInt(colours[best].slice(digit, digit + 2), 16));
    data.data.set([...rgb, 150 * smooth(50, values[best][place], 180)], 4 * place);
  }
  brush.putImageData(data, 0, 0);
  return canvas;
}

/** 0 up to `low`, 1 from `high` on, and in between without an edge. */
function smooth(low, value, high) {
  const share = clamp(0, (value - low) / (high - low), 1);
  return share * share * (3 - 2 * share);
}

/** Which part the map has at x, y (0..1 of the crop); null: none to speak of. */
function partAt(maps, x, y) {
  const { width, height } = maps, values = read(maps);
  const place = Math.floor(y * height) * width + Math.floor(x * width);
  const shown = numbers(values).filter((part) => !whole(part));
  const best = shown.reduce((a, b) => (a === null || values[b][place] > values[a][place] ? b : a), null);
  return best !== null && values[best][place] > 40 ? best : null;
}

// --- drawing: the query ---

let spot = null; // the part that the pointer is on

function draw() {
  drawQuery();
  drawFound();
}

function drawQuery() {
  if (!state.about) return;
  const some = state.items.length > 0;
  $("notice").textContent = state.notice;
  $("notice").hidden = !state.notice;
  $("drop").hidden = some;
  $("query").hidden = !some;
  document.body.classList.toggle("searching", some);
  drawStrip();
  if (some) drawStage();
  drawParts();
  drawFilters();
}

/** As many children of `box` as there are of `all`, made by their place alone: those that are there stay, and with them
 * the focus and a press that has begun. */
function fit(box, all, make) {
  const kept = [...box.children].filter((child) => child.tagName !== "LEGEND"), gone = kept.splice(all.length);
  const made = all.slice(kept.length).map((_, more) => make(kept.length + more)), last = kept.at(-1);
  if (gone.some((child) => child.contains(document.activeElement))) (last?.querySelector(".off") ?? last)?.focus();
  for (const child of gone) child.remove();
  box.append(...made);
  return [...kept, ...made];
}

/** A strip of pictures, each of which a click picks or takes away by its place. */
function strip(box, items, given, pick, off) {
  fit(box, items, (place) => el("li", {}, el("button", { className: "pick", click: () => pick(place) }),
    el("button", { className: "off", title: "Take it away", "aria-label": "Take this picture away", click: () => off(place) }, "×"),
  )).forEach((li, place) => {
    const item = items[place], inner = item.sighting ? small(item.sighting) : el("canvas"), button = li.firstElementChild;
    if (!item.sighting && item.image) paint(inner, item.image, { box: item.box, height: 128 });
    button.replaceChildren(inner);
    Object.assign(button, given(place));
  });
}

const small = (sighting) => el("img", {
  src: `/api/sightings/${sighting.id}/thumbnail`, alt: named(sighting), loading: "lazy", decoding: "async",
  error: ({ target }) => target.classList.add("gone"),
});

/** A number alone does not say that it is a camera's. */
const cameraOf = (camera) => (/^\d+$/.test(camera) ? `camera ${camera}` : camera || "no camera");

const named = ({ camera, when, id }) => [camera && `camera ${camera}`, when].filter(Boolean).join(", ") || `sighting ${id}`;

function drawStrip() {
  const several = state.items.length > 1;
  strip($("strip"), several ? state.items : [],
    (place) => ({ ariaCurrent: String(place === state.active), ariaLabel: `picture ${place + 1}` }),
    (place) => ((state.active = place), drawQuery()), (place) => (state.items.splice(place, 1), changed()));
  $("others").hidden = !state.unlike.length;
  const unlikeNoMore = (place) => (state.unlike.splice(place, 1), changed());
  strip($("unlike"), state.unlike.map((sighting) => ({ sighting })), () => ({ title: "Take it away" }), unlikeNoMore, unlikeNoMore);
}

function drawStage() {
  const item = state.items[state.active], canvas = $("canvas"), cutting = $("cut").ariaPressed === "true";
  canvas.ariaLabel = item.sighting ? `The query: ${named(item.sighting)}` : "The query: your picture";
  if (item.image) {
    paint(canvas, item.image);
    drawMaps(canvas, item);
  } else Object.assign(canvas, { width: 300, height: 600 });
  $("stage").classList.toggle("cutting", cutting);
  $("whole").hidden = !item.box;
  $("add").hidden = state.items.length >= state.about.limits.pictures;
  const shows = cutting ? "Drag over the person, or move the corners."
    : item.maps && !item.box && state.about.parts.length > 1 ? "Tap a part of the body to leave it out." : "";
  $("hint").textContent = item.image || item.sighting ? shows : "This browser cannot show that kind of picture.";
  drawCrop(item, cutting);
}

function drawMaps(canvas, item) {
  if (!item.maps || (spot === null && !state.tint)) return;
  const over = veil(item.maps, spot), [left, top, right, bottom] = item.box ?? [0, 0, 1, 1];
  if (!over) return;
  const { width, height } = canvas;
  canvas.getContext("2d").drawImage(over, left * width, top * height, (right - left) * width, (bottom - top) * height);
}

const APART = "min(2px, 50% - 24px)"; // corners are within a crop, unless it is so small that they would cover each other

function drawCrop(item, cutting) {
  const crop = $("crop"), [left, top, right, bottom] = item.box ?? [0, 0, 1, 1];
  crop.hidden = !cutting && !item.box;
  Object.assign(crop.style, {
    left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%`,
  });
  if (!cutting) return crop.replaceChildren();
  if (crop.childElementCount) return;
  const corners = [["left", "top"], ["right", "top"], ["left", "bottom"], ["right", "bottom"]];
  crop.replaceChildren(...corners.map(([x, y]) => {
    const corner = el("button", { "aria-label": `${y} ${x} corner`, pointerdown: (event) => dragCorner(event, x, y),
      keydown: (event) => nudge(event, x, y) });
    Object.assign(corner.style, { [x]: APART, [y]: APART });
    return corner;
  }));
}

const SIDES = { left: 0, top: 1, right: 2, bottom: 3 };

function moveCorner(x, y, dx, dy, from) {
  const box = [...from], least = 0.04;
  box[SIDES[x]] += dx;
  box[SIDES[y]] += dy;
  box[0] = clamp(0, box[0], from[2] - least);
  box[2] = clamp(from[0] + least, box[2], 1);
  box[1] = clamp(0, box[1], from[3] - least);
  box[3] = clamp(from[1] + least, box[3], 1);
  return box;
}

function dragCorner(event, x, y) {
  event.preventDefault();
  event.stopPropagation();
  const from = item().box ?? [0, 0, 1, 1], { width, height } = $("canvas").getBoundingClientRect();
  drag(event, (dx, dy) => setBox(moveCorner(x, y, dx / width, dy / height, from)), () => cropped());
}

function nudge(event, x, y) {
  const step = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  setBox(moveCorner(x, y, ...step, item().box ?? [0, 0, 1, 1]));
  const again = nudged === item();
  cropped(again);
  nudged = item();
}

const item = () => state.items[state.active];

/** Follow a pointer from `event` on. */
function drag(event, moved, done) {
  const { clientX, clientY, pointerId, currentTarget: on } = event;
  on.setPointerCapture(pointerId);
  const end = new AbortController();
  on.addEventListener("pointermove", (next) => moved(next.clientX - clientX, next.clientY - clientY), end);
  for (const kind of ["pointerup", "pointercancel"]) on.addEventListener(kind, () => (end.abort(), done(kind)), end);
}

function setBox(box) {
  const of = item();
  Object.assign(of, { box: box?.map((side) => Math.round(side * 1e4) / 1e4) ?? null, maps: null });
  drawStage();
}

/** The crop is as it is wanted. */
function cropped(again = false) {
  state.count = 50;
  state.notice = "";
  if (again) past[past.length - 1] = copied(state); // one step back from all that keys have moved
  else remember();
  ask();
}

$("stage").addEventListener("pointerdown", (event) => {
  if (event.button || !item()?.image) return;
  const { left, top, width, height } = $("canvas").getBoundingClientRect();
  const x = (event.clientX - left) / width, y = (event.clientY - top) / height;
  const cutting = $("cut").ariaPressed === "true", before = { box: item().box, maps: item().maps };
  let box = null, still = true;
  drag(event, (dx, dy) => {
    if (Math.hypot(dx, dy) >= 5) still = false;
    if (still || (!cutting && event.pointerType !== "mouse")) return;
    const [u, v] = [clamp(0, x + dx / width, 1), clamp(0, y + dy / height, 1)];
    const [a, b] = [clamp(0, x, 1), clamp(0, y, 1)];
    box = [Math.min(a, u), Math.min(b, v), Math.max(a, u), Math.max(b, v)];
    if (box[2] - box[0] < 0.03 || box[3] - box[1] < 0.03) box = null;
    if (box) return setBox(box);
    if (item().box === before.box) return;
    Object.assign(item(), before); // drawn, and drawn back
    drawStage();
  }, (kind) => {
    if (box) return cropped();
    if (!still || kind !== "pointerup") return; // who scrolls by a finger on the picture wants none of its parts
    const { maps, box: now } = item(), [l, t, r, b] = now ?? [0, 0, 1, 1];
    const [u, v] = [(x - l) / (r - l), (y - t) / (b - t)];
    if (cutting || !maps || u < 0 || u >= 1 || v < 0 || v >= 1) return;
    const part = partAt(maps, u, v);
    if (part !== null) toggle(part);
  });
});

function drawParts() {
  const seen = item()?.seen;
  $("compare").hidden = state.about.parts.length < 2;
  fit($("parts"), state.about.looks, (part) => el("li", {}, el("button", {
    "--colour": colour(part), click: () => toggle(part),
    pointerenter: ({ pointerType }) => pointerType === "mouse" && spotlight(part), pointerleave: () => spotlight(null),
  }))).forEach(({ firstElementChild: button }, part) => {
    const hidden = seen && seen[part] === 0, on = !state.off.has(part), { label: name } = state.about.looks[part];
    Object.assign(button, { className: hidden ? "hidden" : "", ariaPressed: String(on), textContent: name,
      title: hidden ? `${name}: this picture does not show it` : `${name}: ${on ? "compared" : "left out"}` });
  });
}

function spotlight(part) {
  spot = part;
  if (item()?.image) drawStage();
}

// --- drawing: filters ---

const stamp = { day: false, input: (seconds) => new Date(1000 * seconds).toISOString().slice(stamp.day ? 11 : 0, 19),
  seconds: (text) => Date.parse(`${stamp.day ? "1970-01-01T" : ""}${text}Z`) / 1000 };

function drawFilters() {
  const { about, where: chosen } = state;
  for (const kind of ["cameras", "sources"]) {
    const box = $(kind), places = about[kind];
    box.hidden = places.length < 2;
    fit(box, places, (place) => el("button", { click: () => choose(kind, place) }, "", el("small"))).forEach((button, place) => {
      const { key, name, count } = places[place];
      button.ariaPressed = String(chosen[kind].has(key));
      button.firstChild.data = name || "none";
      button.lastChild.textContent = count.toLocaleString("en");
    });
  }
  $("times").hidden = about.since === about.until;
  const count = chosen.cameras.size + chosen.sources.size + (chosen.since !== null) + (chosen.until !== null);
  $("filtered").textContent = count ? `· ${many(count, "filter")}` : "";
  $("unfilter").hidden = !count;
  $("filters").hidden = $("times").hidden && $("cameras").hidden && $("sources").hidden;
}

function choose(kind, place) {
  const chosen = state.where[kind], { key } = state.about[kind][place];
  chosen.has(key) ? chosen.delete(key) : chosen.add(key);
  ask();
}

for (const [name, more] of [["since", 0], ["until", 0.999]]) { // to the end of a second: what is shown at it is of it
  $(name).addEventListener("change", ({ target }) => {
    const seconds = stamp.seconds(target.value) + more;
    state.where[name] = Number.isFinite(seconds) ? seconds : null;
    ask();
  });
}

function unfilter() {
  state.where = { cameras: new Set(), sources: new Set(), since: null, until: null };
  $("since").value = $("until").value = "";
  ask();
}

// --- drawing: what was found ---

function drawFound() {
  const shown = $("shown"), { answers, shelf, busy, fault, about } = state;
  shown.ariaBusy = String(busy && !!(answers ?? shelf).length);
  $("views").hidden = !answers?.length || fault !== null;
  for (const button of $("views").children) button.ariaPressed = String(button.dataset.view === state.view);
  const bones = busy && (!(answers ?? shelf).length || (state.items.length && !answers));
  $("more").hidden = fault !== null || bones || (answers ? answers.length < state.count || state.count >= 500 : state.next === null);
  drawMore();
  hidePeek();
  if (fault === "") return head("", ""), shown.replaceChildren();
  if (fault) return drawState("bad", "That did not work", fault, remedy());
  if (bones) return drawBones();
  if (!about) return;
  if (!about.sightings) return drawEmpty();
  if (answers) return drawAnswers();
  const focused = heldTile();
  head("Or start from someone in the gallery", "The newest first, one picture of each passage.");
  if (!shelf.length) return drawNobody();
  shown.replaceChildren(el("div", { className: "grid" }, shelf.map((sighting) => el("button", {
    className: "tile", title: "Search for this person", "data-id": sighting.id, click: () => like(sighting, true),
  }, frame(sighting), caption(sighting)))));
  rove(focused);
}

/** The sighting whose picture has the focus, or had it when it went away. */
function heldTile() {
  const focused = document.activeElement?.dataset?.id ?? (document.activeElement === document.body && state.held);
  state.held = null;
  return focused;
}

/** Disabled in words alone: what is truly so loses the focus. */
const drawMore = () => ($("more").ariaDisabled = String(state.busy));

/** What helps after a fault: the same once more, or something else. */
function remedy() {
  const { since, until } = state.where;
  if (state.again) return ["Try again", () => start()];
  if (!state.items.length || (since !== null && until !== null && since > until)) return ["Clear the filters", unfilter];
  return ["Start over", startOver];
}

const startOver = () => (Object.assign(state, { items: [], unlike: [], off: new Set() }), changed());

function head(title, told) {
  $("headline").textContent = title;
  $("told").textContent = told;
}

const say = (text) => ($("live").textContent = text);

function figure() {
  return document.querySelector("#drop .figure").cloneNode(true);
}

function drawState(kind, title, text, deed) {
  head("", "");
  say(`${title}. ${text}`);
  $("shown").ariaBusy = "false";
  const button = deed && el("button", { className: "main", click: deed[1] }, deed[0]);
  const lines = text.split("`").map((piece, number) => (number % 2 ? el("code", {}, piece) : piece));
  $("shown").replaceChildren(el("div", { className: `state ${kind}` }, figure(), el("h2", {}, title), el("p", {}, ...lines), button ?? ""));
}

const drawEmpty = () => drawState("", "Nobody is in this gallery yet",
  "Show it your pictures or films with `halfseen index FOLDER --gallery GALLERY`, then look again.", ["Look again", () => start()]);

const drawNobody = () => drawState("", "Nobody fits",
  "There is no sighting at these places and times.", where().length ? ["Clear the filters", unfilter] : null);

function drawBones() {
  head(state.items.length ? "Looking…" : "", "");
  const bone = () => el("div", { className: "tile bone" }, el("span", { className: "frame" }), el("span", { className: "facts" }));
  $("shown").replaceChildren(el("div", { className: "grid", "aria-hidden": "true" }, Array.from({ length: 16 }, bone)));
}

function drawAnswers() {
  const { answers, about, seconds } = state;
  if (!answers.length) return drawNobody();
  const title = `${many(answers.length, "sighting")}, nearest first`;
  head(title, `Of ${about.sightings.toLocaleString("en")}, in ${seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`}. ` +
    (state.view === "passages" ? "The number is the rank of the best picture of a passage."
      : about.parts.length > 1 ? "A tall bar: that part looks alike. Dots: one of the two pictures hides it." : ""));
  say(title);
  const focused = heldTile();
  if (state.view === "rank") $("shown").replaceChildren(el("div", { className: "grid" }, answers.map(tile)));
  else drawPassages();
  rove(focused);
}

function frame(sighting, ...badges) {
  return el("span", { className: "frame" }, small(sighting), ...badges);
}

function caption({ camera, when }) {
  return el("span", { className: "facts" }, cameraOf(camera), el("small", {}, brief(when) + (when.endsWith(OF_FILM) ? OF_FILM : "") || "no time"));
}

const OF_FILM = " into the film"; // what a moment ends with that nobody has a date for
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** The date of all sightings, if they have one and the same. */
function onlyDay() {
  const [first, last] = [state.about.first, state.about.last].map((moment) => /^(\d+-\d+-\d+) /.exec(moment)?.[1]);
  return first === last ? first : undefined;
}

/** A moment as short as it can be told here: without its date where all are of one day, else without seconds. */
function brief(when) {
  const [, year, month, day, clock] = /^(\d+)-(\d+)-(\d+) (\d+:\d+:\d+)/.exec(when) ?? [];
  if (!clock || onlyDay()) return when.match(/\d+:\d+:\d+/)?.[0] ?? when;
  const far = state.about.first.slice(0, 4) !== state.about.last.slice(0, 4);
  const date = [Number(day), MONTHS[month - 1], ...(far ? [year] : [])];
  return `${date.join("\u00a0")} ${clock.slice(0, 5)}`; // a line breaks before the clock
}

const sure = ({ confidence, distance }) =>
  confidence !== null ? `${Math.round(100 * confidence)} %` : distance !== null ? distance.toFixed(2) : "–";

const badge = (text, side = "") => el("span", { className: `badge ${side}` }, text);

/** What an answer's button needs, wherever it stands. */
function deeds(answer) {
  const { sighting, rank } = answer;
  return {
    "data-id": sighting.id, "aria-label": `Rank ${rank}: ${named(sighting)}, ${sure(answer)}`,
    click: () => openCloser(answer),
    pointerenter: (event) => event.pointerType === "mouse" && peekSoon(event.currentTarget, answer),
    pointerleave: hidePeek,
  };
}

function marked({ sighting: { id } }) {
  if (state.unlike.some((other) => other.id === id)) return "unliked";
  return state.items.some((other) => other.sighting?.id === id) ? "liked" : "";
}

function tile(answer) {
  return el("button", { className: `tile ${marked(answer)}`, ...deeds(answer) },
    frame(answer.sighting, badge(answer.rank), badge(sure(answer), "right")), caption(answer.sighting), bars(answer));
}

/** How near a part is, as a share: nothing is the farthest of all parts of all answers. */
function nearness(distance) {
  const farthest = Math.max(1e-6, ...state.answers.flatMap(({ parts }) => parts.map((each) => each ?? 0)));
  return `${Math.round(100 * clamp(0.04, 1 - distance / farthest, 1))}%`;
}

function bars({ parts }) {
  if (parts.length < 2) return "";
  return el("span", { className: "bars", "aria-hidden": "true" }, parts.map((distance, part) => distance === null
    ? el("i", { className: "unseen" }) : el("i", { "--colour": colour(part), "--near": nearness(distance) })));
}

// --- by passage: a lane for each camera, under one time ---

const SLOT = 58; // pixels that a passage takes along the time

/** Whether it has a place in time: beside dates, what counts from the beginning of a film has none. */
const dated = ({ sighting: { time } }) => time !== null && (stamp.day || time >= DAY);

function drawPassages() {
  const passages = new Map();
  for (const answer of state.answers) {
    const { passage } = answer.sighting;
    passages.has(passage) ? passages.get(passage).push(answer) : passages.set(passage, [answer]);
  }
  const lanes = Map.groupBy(passages.values(), ([best]) => best.sighting.camera);
  const times = state.answers.filter(dated).map(({ sighting }) => sighting.time);
  const first = Math.min(...times), last = Math.max(...times);
  const timed = times.length > 1 && last > first && wide.matches;
  const order = [...lanes].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  const width = $("shown").clientWidth - 122 - SLOT;
  const drawn = order.map(([camera, all]) => lane(camera, all, timed && ((time) => (width * (time - first)) / (last - first))));
  $("shown").replaceChildren(...(timed ? [axis(first, last)] : []), ...drawn);
  const cameras = [...lanes.keys()].filter(Boolean).length;
  $("headline").textContent = many(passages.size, "passage") + (cameras ? ` before ${many(cameras, "camera")}` : "");
}

function axis(first, last) {
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const text = new Date(1000 * (first + share * (last - first))).toISOString().replace("T", " ").slice(0, 19);
    const told = brief(stamp.day ? text.slice(11) : text);
    const mark = el("span", {}, last - first < 3600 ? told : told.replace(/(:\d\d):\d\d$/, "$1"));
    mark.style.left = `${100 * share}%`;
    return mark;
  });
  return el("div", { className: "axis" }, el("div", {}, marks));
}

function lane(camera, passages, place) {
  const byTime = passages.toSorted(([a], [b]) => (a.sighting.time ?? Infinity) - (b.sighting.time ?? Infinity));
  const tracks = [];
  if (place && byTime.some(([best]) => dated(best))) tracks.push(timedTrack(byTime.filter(([best]) => dated(best)), place));
  const rest = place ? byTime.filter(([best]) => !dated(best)) : byTime;
  if (rest.length) tracks.push(el("div", { className: "track untimed" }, rest.map(passage)));
  return el("section", { className: "lane" },
    el("h2", {}, cameraOf(camera), el("small", {}, many(passages.length, "passage"))), el("div", {}, tracks));
}

/** Passages where they stand in time; those that would cover each other stand in rows. */
function timedTrack(passages, place) {
  const ends = [], track = el("div", { className: "track timed" });
  for (const each of passages) {
    const x = place(each[0].sighting.time);
    let row = ends.findIndex((end) => end <= x);
    if (row < 0) row = ends.length;
    ends[row] = x + SLOT;
    const made = passage(each);
    Object.assign(made.style, { left: `${x}px`, top: `${8 + 118 * row}px` });
    track.append(made);
  }
  track.style.height = `${8 + 118 * ends.length}px`;
  return track;
}

function passage(answers) {
  const [best] = answers, { sighting } = best;
  const more = answers.length > 1 ? badge(`×${answers.length}`, "right") : null;
  return el("button", { className: `passage ${marked(best)}`, title: sighting.when, ...deeds(best) },
    frame(sighting, badge(best.rank), ...(more ? [more] : [])), el("time", {}, brief(sighting.when) || "no time"));
}

// --- side by side ---

/** The query and an answer beside each other, and how far their parts are apart; `loud` parts light up under the mouse. */
function compare(answer) {
  const { sighting } = answer, query = item(), canvases = [el("canvas"), el("canvas")];
  let image = null, maps = null;
  const repaint = (part = null) => {
    if (query?.image) paint(canvases[0], query.image, { box: query.box, maps: query.maps, part });
    if (image) paint(canvases[1], image, { maps, part });
  };
  for (const canvas of canvases) Object.assign(canvas, { width: 300, height: 600 });
  Promise.all([imageOf(sighting.id), mapsOf(sighting.id)]).then((got) => (([image, maps] = got), repaint()));
  imageOf(sighting.id).then((got) => ((image = got), repaint()));
  const sides = [["The query", query?.sighting ? named(query.sighting) : ""], [cameraOf(sighting.camera), sighting.when]];
  const figures = canvases.map((canvas, side) => el("figure", {}, canvas,
    el("figcaption", {}, sides[side][0], el("small", {}, sides[side][1]))));
  const rows = state.about.looks.map(({ label: name }, part) => {
    const distance = answer.parts[part], unseen = distance === null, off = state.off.has(part);
    const told = off ? "left out" : unseen ? "hidden" : distance.toFixed(2);
    return el("tr", { className: unseen || off ? "unseen" : "", "--colour": colour(part),
      pointerenter: () => repaint(part), pointerleave: () => repaint() },
    el("th", { scope: "row" }, name), el("td", {}, el("i", { "--near": unseen ? "0%" : nearness(distance) })), el("td", {}, told));
  });
  return [el("div", { className: "pair" }, figures), el("table", { className: "measures" }, el("tbody", {}, rows))];
}

const wide = matchMedia("(min-width: 861px)");
let peeking = 0;

function peekSoon(tile, answer) {
  hidePeek();
  if (!wide.matches) return; // it would hide what it stands beside
  peeking = setTimeout(() => {
    const peek = $("peek"), at = tile.getBoundingClientRect();
    peek.replaceChildren(...compare(answer));
    peek.showPopover();
    const { offsetWidth: width, offsetHeight: height } = peek;
    const right = at.right + 12 + width < innerWidth;
    peek.style.left = `${right ? at.right + 12 : Math.max(8, at.left - 12 - width)}px`;
    peek.style.top = `${clamp(8, at.top - 20, innerHeight - height - 8)}px`;
  }, 320);
}

function hidePeek() {
  clearTimeout(peeking);
  if ($("peek").matches(":popover-open")) $("peek").hidePopover();
}

let close = null; // the answer that is looked at closely

function openCloser(answer) {
  hidePeek();
  close = answer;
  const { sighting } = answer, dialog = $("closer");
  const place = state.answers.indexOf(answer), fellows = state.answers.filter((other) => other.sighting.passage === sighting.passage);
  const step = (by, told, sign) => el("button", { className: "quiet", "aria-label": told, disabled: !state.answers[place + by],
    click: () => openCloser(state.answers[place + by]) }, sign);
  const picks = fellows.length > 1 ? el("ul", { className: "strip", "aria-label": "The same passage" }, fellows.map((other) => el("li", {},
    el("button", { className: "pick", "aria-current": String(other === answer), click: () => openCloser(other) }, small(other.sighting))))) : "";
  dialog.className = "closer";
  dialog.replaceChildren(
    el("header", {}, el("div", {}, el("h2", {}, `Rank ${answer.rank}`),
      el("p", { className: "small" }, answer.confidence !== null ? `${sure(answer)} sure that this is the person` : `distance ${sure(answer)}`)),
    el("span", { className: "tools" }, step(-1, "The one before", "←"), step(1, "The next", "→"),
      el("button", { className: "quiet", "aria-label": "Close", click: () => dialog.close() }, "×"))),
    ...compare(answer), picks,
    el("div", { className: "deeds" },
      el("button", { className: "main", click: () => decide("m") }, "More like this"),
      el("button", { click: () => decide("n") }, "Not like this"),
      el("button", { click: () => decide("s") }, "Search by this alone")));
  if (!dialog.open) dialog.showModal();
  dialog.focus();
}

/** What is looked at closely may be answered anew, and then stands elsewhere or nowhere. */
function closeAgain() {
  const now = close && state.answers?.find(({ sighting }) => sighting.id === close.sighting.id);
  if (now === close) return;
  if (now) openCloser(now);
  else $("closer").close();
}

function decide(key, answer = close) {
  if (!answer) return;
  $("closer").close();
  hidePeek();
  if (key === "m") like(answer.sighting);
  else if (key === "n") unlike(answer.sighting);
  else like(answer.sighting, true);
}

$("closer").addEventListener("close", () => {
  document.querySelector(`#shown [data-id="${close?.sighting.id}"]`)?.focus({ preventScroll: state.busy }); // a search began: stay
  close = null;
});
for (const dialog of document.querySelectorAll("dialog:not(#login)")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

// --- keys ---

const tiles = () => [...document.querySelectorAll("#shown button.tile, #shown button.passage")];

/** One picture takes the focus, and hands it on by arrows. */
function rove(id) {
  const all = tiles(), held = id && all.find((each) => each.dataset.id === id);
  for (const each of all) each.tabIndex = each === (held || all[0]) ? 0 : -1;
  if (held) held.focus({ preventScroll: true });
}

function arrow(key) {
  const all = tiles(), from = all.indexOf(document.activeElement);
  if (!all.length) return;
  const middle = (each) => { const { left, top, width } = each.getBoundingClientRect(); return [left + width / 2, top]; };
  let to = from < 0 ? all[0] : all[from + (key === "ArrowRight" ? 1 : -1)];
  if (from >= 0 && (key === "ArrowDown" || key === "ArrowUp")) {
    const [x, y] = middle(all[from]), sign = key === "ArrowDown" ? 1 : -1;
    const cost = (each) => { const [u, v] = middle(each); return 3 * sign * (v - y) + Math.abs(u - x); };
    to = all.filter((each) => sign * (middle(each)[1] - y) > 8).sort((a, b) => cost(a) - cost(b))[0];
  }
  if (!to) return;
  for (const each of all) each.tabIndex = each === to ? 0 : -1;
  to.focus();
}

const answerAt = (target) => close ?? state.answers?.find(({ sighting }) => String(sighting.id) === target?.dataset?.id);

const KEYS_OF_CLOSER = ["ArrowLeft", "ArrowRight", "m", "n", "s"];

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(input|textarea|select)$/i.test(event.target.tagName)) return;
  if (!state.about) return;
  const open = document.querySelector("dialog[open]");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (open && (open !== $("closer") || !KEYS_OF_CLOSER.includes(key))) return; // nothing changes behind a window
  if (key.startsWith("Arrow") && open) {
    const next = state.answers[state.answers.indexOf(close) + { ArrowRight: 1, ArrowLeft: -1 }[key]];
    if (next) openCloser(next);
  } else if (key.startsWith("Arrow") && !event.target.closest("#crop")) {
    event.preventDefault();
    arrow(key);
  } else if ("mns".includes(key) && answerAt(event.target)) decide(key, answerAt(event.target));
  else if (key === "o") $("file").click();
  else if (key === "p") (state.tint = !state.tint), draw();
  else if (key === "v" && state.answers) show(state.view === "rank" ? "passages" : "rank");
  else if (key === "?") $("help").showModal();
  else if (key === "Escape") hidePeek();
  else if (key === "0" && state.off.size) state.off.clear(), changed();
  else if (/^[1-9]$/.test(key)) toggle(Number(key) - 1);
});

function show(view) {
  state.view = view;
  drawFound();
}

// --- what comes from the mouse, the clipboard and the form ---

$("choose").addEventListener("click", () => $("file").click());
$("add").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", ({ target }) => addFiles(target.files).then(() => (target.value = "")));
$("keys").addEventListener("click", () => $("help").showModal());
$("clear").addEventListener("click", startOver);
$("cut").addEventListener("click", ({ target }) => ((target.ariaPressed = String(target.ariaPressed !== "true")), drawStage()));
$("whole").addEventListener("click", () => (setBox(null), cropped()));
$("rerank").addEventListener("change", ask);
$("unfilter").addEventListener("click", unfilter);
$("views").addEventListener("click", ({ target }) => target.dataset.view && show(target.dataset.view));
$("more").addEventListener("click", more);

addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) addFiles(event.clipboardData.files);
});
let inside = 0;
const carried = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => carried(event) && (inside++, ($("over").hidden = false)));
addEventListener("dragleave", (event) => carried(event) && --inside <= 0 && ((inside = 0), ($("over").hidden = true)));
addEventListener("dragover", (event) => carried(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!carried(event)) return;
  event.preventDefault();
  inside = 0;
  $("over").hidden = true;
  addFiles(event.dataTransfer.files);
});
addEventListener("scroll", hidePeek, { passive: true });
let width = innerWidth;
addEventListener("resize", () => width !== innerWidth && ((width = innerWidth), state.view === "passages" && drawFound()));

$("login").addEventListener("cancel", (event) => event.preventDefault());
$("login").addEventListener("close", ({ target }) => target.returnValue || signIn()); // a browser cancels it all the same
$("login").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ token: $("token").value });
  try {
    await call("/api/session", { method: "POST", headers: { "content-type": "application/json" }, body });
    $("login").close("signed in");
    $("login-fault").textContent = $("token").value = "";
    start();
  } catch (fault) {
    $("login-fault").textContent = fault.message;
  }
});
$("leave").addEventListener("click", async () => {
  await call("/api/session", { method: "DELETE" }).catch(() => null);
  location.reload();
});

// --- the beginning ---

async function start() {
  Object.assign(state, { busy: true, fault: null });
  drawFound();
  try {
    const about = await call("/api/gallery");
    state.about = about;
    const { sightings, limits, until, who } = about, cameras = about.cameras.filter(({ name }) => name).length;
    $("about").textContent = [many(sightings, "sighting"), cameras > 1 && many(cameras, "camera"), onlyDay(), about.model]
      .filter(Boolean).join(" · ");
    $("keeping").hidden = !limits.keep;
    $("leave").hidden = who === "local";
    stamp.day = (until ?? 0) < DAY;
    $("times").firstElementChild.textContent = stamp.day ? "Time from the beginning" : "Time";
    for (const name of ["since", "until"]) {
      const limits = about.since === null ? {} : { min: stamp.input(about.since), max: stamp.input(about.until) };
      Object.assign($(name), { type: stamp.day ? "time" : "datetime-local", ...limits });
    }
    if (!past.length) {
      past.push({ items: [], unlike: [], off: new Set() });
      history.replaceState({ load: LOAD, place: 0 }, "");
    }
    ask();
    if (early.length) addFiles(early.splice(0));
  } catch (error) {
    Object.assign(state, { busy: false, fault: error.message, again: true });
    drawFound();
  }
}

start();
