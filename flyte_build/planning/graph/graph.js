"use strict";
const svg = document.querySelector("svg");
const all = selector => [...svg.querySelectorAll(selector)];
const environments = all(".env"), tiles = all(".tile-group"), lines = all(".edge, .extends");
const layersOf = e => e.dataset.layers.split(" ");
function show(chosenEnvironments, chosenLayers) {
  const on = new Set([...chosenEnvironments, ...tiles.filter(t => chosenLayers.has(t.dataset.layer))]);
  const names = new Set(chosenEnvironments.map(e => e.dataset.name));
  lines.filter(l => names.has(l.dataset.from) || names.has(l.dataset.to)).forEach(l => on.add(l));
  const some = on.size > 0;
  svg.classList.toggle("dim", some);
  [...environments, ...tiles, ...lines].forEach(x => x.classList.toggle("on", on.has(x)));
}
const clear = () => find(input.value);
let part = false;
const input = document.querySelector("input"), said = document.querySelector("#said");
function find(words) {
  const wanted = words.trim().toLowerCase();
  if (!wanted) { said.textContent = part ? "drag to see the rest" : ""; show([], new Set()); return; }
  const layers = tiles.filter(t => t.querySelector("title").textContent.toLowerCase().includes(wanted));
  const keys = new Set(layers.map(t => t.dataset.layer));
  const found = environments.filter(
    e => e.dataset.name.toLowerCase().includes(wanted) || layersOf(e).some(k => keys.has(k)));
  said.textContent = `${found.length} environments, ${layers.length} layers`;
  show(found, keys);
}
input.addEventListener("input", () => find(input.value));
environments.forEach(e => {
  e.addEventListener("mouseenter", () => show([e], new Set(layersOf(e))));
  e.addEventListener("mouseleave", clear);
});
tiles.forEach(t => {
  const key = t.dataset.layer;
  t.addEventListener("mouseenter", () => show(environments.filter(e => layersOf(e).includes(key)), new Set([key])));
  t.addEventListener("mouseleave", clear);
});

// The picture is moved by its viewBox. At first all of it is in sight, whatever the window's shape; where that is a
// phone's and it would be too small to be read, what is run, as large as it was drawn.
const stage = document.querySelector("main"), whole = svg.getAttribute("viewBox").split(" ").map(Number);
let view = [...whole];
function set(x, y, w) {
  const least = whole[2] / 40, wide = Math.min(Math.max(w, least), whole[2]), high = wide * whole[3] / whole[2];
  const within = (at, part, all) => Math.min(Math.max(at, -part / 2), all - part / 2);
  view = wide === whole[2] && w >= whole[2] ? [...whole] : [within(x, wide, whole[2]), within(y, high, whole[3]), wide, high];
  svg.setAttribute("viewBox", view.map(n => n.toFixed(2)).join(" "));
}
// Where a point of the window is in the picture, and how many of its units a pixel is.
function at(px, py) {
  const frame = stage.getBoundingClientRect(), scale = Math.max(view[2] / frame.width, view[3] / frame.height);
  const left = frame.left + (frame.width - view[2] / scale) / 2, top = frame.top + (frame.height - view[3] / scale) / 2;
  return [view[0] + (px - left) * scale, view[1] + (py - top) * scale, scale];
}
function zoom(factor, px, py) {
  const frame = stage.getBoundingClientRect();
  const [x, y] = at(px ?? frame.left + frame.width / 2, py ?? frame.top + frame.height / 2);
  set(x - (x - view[0]) * factor, y - (y - view[1]) * factor, view[2] * factor);
}
stage.addEventListener("wheel", e => { e.preventDefault(); zoom(Math.exp(e.deltaY / 400), e.clientX, e.clientY); }, {passive: false});
const fingers = new Map();
stage.addEventListener("pointerdown", e => { fingers.set(e.pointerId, e); stage.setPointerCapture(e.pointerId); });
stage.addEventListener("pointermove", e => {
  const before = fingers.get(e.pointerId);
  if (!before) return;
  const others = [...fingers.values()].filter(f => f.pointerId !== e.pointerId);
  if (others.length) {
    const apart = f => Math.hypot(f.clientX - others[0].clientX, f.clientY - others[0].clientY);
    if (apart(e)) zoom(apart(before) / apart(e), (e.clientX + others[0].clientX) / 2, (e.clientY + others[0].clientY) / 2);
  } else {
    const [, , scale] = at(0, 0);
    set(view[0] - (e.clientX - before.clientX) * scale, view[1] - (e.clientY - before.clientY) * scale, view[2]);
  }
  fingers.set(e.pointerId, e);
});
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, e => fingers.delete(e.pointerId));
function fit() {
  part = false;
  clear();
  set(0, 0, Infinity);
}
const PHONE = 700;
function first() {
  const frame = stage.getBoundingClientRect();
  fit();
  if (!frame.width || frame.width > PHONE || frame.width >= whole[2]) return;
  const wide = frame.width, high = wide * whole[3] / whole[2];
  const boxes = environments.map(e => e.querySelector(".card").getBBox());
  const top = boxes.reduce((a, b) => b.y < a.y || (b.y === a.y && b.x < a.x) ? b : a, boxes[0] || {x: 0, y: 0, width: wide});
  // The frame shows more than the viewBox where it is higher than that: its upper edge is the picture's, or the card's.
  const over = Math.max(0, (frame.height - high) / 2), from = Math.max(0, Math.min(top.y - 44, whole[3] - frame.height));
  set(Math.max(0, Math.min(top.x + top.width / 2 - wide / 2, whole[2] - wide)), from + over, wide);
  part = true;
  clear();
}
let moved = false;
for (const kind of ["pointerdown", "wheel", "keydown", "click"]) document.addEventListener(kind, () => { moved = true; }, {capture: true, passive: true});
addEventListener("resize", () => { if (!moved) first(); });
first();
document.querySelector("#in").addEventListener("click", () => zoom(1 / 1.4));
document.querySelector("#out").addEventListener("click", () => zoom(1.4));
document.querySelector("#fit").addEventListener("click", fit);
stage.addEventListener("keydown", e => {
  const step = view[2] / 12;
  const keys = {
    "+": () => zoom(1 / 1.4), "=": () => zoom(1 / 1.4), "-": () => zoom(1.4), "0": fit,
    ArrowLeft: () => set(view[0] - step, view[1], view[2]), ArrowRight: () => set(view[0] + step, view[1], view[2]),
    ArrowUp: () => set(view[0], view[1] - step, view[2]), ArrowDown: () => set(view[0], view[1] + step, view[2]),
  };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
