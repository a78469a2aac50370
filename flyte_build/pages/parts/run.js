// The page's elements. Texts of tasks are set as text, never as markup; a report is shut into a frame of an origin of its own.
const ROW = 28;
const $ = id => document.getElementById(id);
const make = (tag, attributes = {}, ...inside) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(key, value);
  element.append(...inside.filter(x => x !== null && x !== undefined));
  return element;
};
const folded = new Set(), shown = new Set();
let tree = [], rows = [], chosen = null, words = "", told = "";
const now = () => RUN.ended || (LIVE ? Date.now() / 1000 : Math.max(...RUN.actions.map(a => a.ended || a.started || a.queued), RUN.started));

function header() {
  $("name").textContent = `${RUN.task || "run"} `;
  $("name").append(make("span", {class: kindOf(RUN.phase)}, `${MARKS[RUN.phase] || ""} ${RUN.phase}`));
  const when = new Date(RUN.started * 1000).toLocaleString();
  const counts = Object.entries(summary(RUN)).map(([state, n]) => `${n} ${state}`).join(", ");
  $("facts").textContent = [RUN.name, when, duration((RUN.ended || now()) - RUN.started), counts, RUN.resumed ? `resumes ${RUN.resumed}` : ""].filter(Boolean).join(" · ");
  if (LIVE) $("facts").prepend(make("a", {href: "../"}, "all runs"), " · ");
  $("told").hidden = !RUN.told;
  $("told").textContent = RUN.told || "";
  $("command").hidden = !RUN.command;
  $("command").replaceChildren(make("code", {}, RUN.command || ""));
  const counted = summary(RUN);
  $("states").replaceChildren(...Object.keys(counted).sort().map(state => {
    const button = make("button", {"aria-pressed": shown.has(state)}, make("span", {class: state, "aria-hidden": "true"}, `${MARKS[state] || "·"} `), `${state} ${counted[state]}`);
    button.onclick = () => { shown.has(state) ? shown.delete(state) : shown.add(state); header(); refresh(); };
    return button;
  }));
}

function refresh() {
  tree = treeOf(RUN);
  rows = rowsOf(tree, folded, words, shown);
  $("space").style.height = `${rows.length * ROW}px`;
  $("said").textContent = words || shown.size ? `${rows.length} of ${tree.length} actions` : "";
  axis();
  draw();
}

function axis() {
  // As wide as the rows are beside their scroll bar, so that both mean the same instants.
  const box = $("rows"), style = document.body.style;
  if (box.clientWidth) {
    style.setProperty("--wide", `${box.clientWidth}px`);
    style.setProperty("--bar", `${box.offsetWidth - box.clientWidth}px`);
  }
  const [from, to] = spanOf(RUN, now()), marks = Math.max(2, Math.min(5, Math.floor($("axis").clientWidth / 110)));
  $("axis").replaceChildren(...Array.from({length: marks}, (_, i) => {
    const part = i / (marks - 1);
    return make("span", {style: `left:${part * 100}%;transform:translateX(${-part * 100}%)`}, i ? `+${duration((to - from) * part)}` : "0");
  }));
}

// Only what is in sight is drawn: a thousand rows cost as much as thirty.
function draw() {
  const box = $("rows"), [from, to] = spanOf(RUN, now());
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 6);
  const last = Math.min(rows.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 6);
  $("space").replaceChildren(...rows.slice(first, last).map((node, i) => row(node, first + i, from, to - from)));
  const active = rows.findIndex(n => n.action.name === chosen);
  if (active >= first && active < last) box.setAttribute("aria-activedescendant", `row-${active}`);
  else box.removeAttribute("aria-activedescendant");
}

function row(node, at, from, length) {
  const a = node.action, state = stateOf(a), kind = kindOf(state);
  const fold = make("span", {class: "fold", "aria-hidden": "true"}, node.children ? (folded.has(a.name) ? "▸" : "▾") : "");
  fold.onclick = event => { event.stopPropagation(); toggle(a.name); };
  const label = make("span", {class: "label", style: `padding-left:${Math.min(node.level, 12) * 14}px`}, fold,
    make("span", {class: `mark ${kind}`, "aria-hidden": "true"}, MARKS[kind] || "·"),
    make("span", {class: "task"}, nameOf(a) + (a.group ? ` [${a.group}]` : "")), make("span", {class: "env"}, a.environment || a.kind));
  const track = make("span", {class: "track"});
  const x = t => (t - from) / length * 100;
  const bar = (start, end, name, title) => track.append(make("span", {class: `bar ${name}`, title, style: `left:${x(start)}%;width:${Math.max(0, x(end) - x(start))}%`}));
  const begun = a.attempts.length ? a.attempts[0].started : a.started;
  if (begun && begun > a.queued) track.append(make("span", {class: "wait", title: `waited ${duration(begun - a.queued)}`, style: `left:${x(a.queued)}%;width:${x(begun) - x(a.queued)}%`}));
  const until = a.ended || (DONE.has(a.phase) ? a.queued : now());
  if (a.attempts.length) a.attempts.forEach((t, i) => {
    const over = i + 1 < a.attempts.length;
    bar(t.started, t.ended || until, over ? "retried" : kind, `attempt ${attemptOf(t, until)}`);
  });
  else bar(a.started || a.queued, until, kind, state);
  const end = x(until), took = duration(a.started ? until - a.started : until - a.queued);
  // Behind the bar, else before it, else, where it takes all the room, upon its end.
  const beside = end > 78 ? (x(a.queued) > 22 ? `right:${100 - x(a.queued)}%` : null) : `left:${end}%`;
  track.append(make("span", {class: beside ? "took" : "took within", style: beside || `right:${100 - end}%`}, state === "reused" ? a.source : took));
  const element = make("div", {class: "row", role: "treeitem", id: `row-${at}`, "aria-level": node.level + 1, "aria-setsize": rows.length, "aria-posinset": at + 1,
    "aria-selected": a.name === chosen, "aria-expanded": node.children ? !folded.has(a.name) : null, style: `top:${at * ROW}px`,
    "aria-label": `${nameOf(a)}, ${state}, ${took}`}, label, track);
  element.onclick = () => choose(a.name);
  return element;
}

function toggle(name) { folded.has(name) ? folded.delete(name) : folded.add(name); refresh(); }

function choose(name, scroll = false) {
  chosen = name;
  // What is chosen takes its room first: on a narrow screen the rows have less of it then.
  $("detail").hidden = false;
  const at = rows.findIndex(n => n.action.name === name), box = $("rows");
  if (scroll && at >= 0) {
    if (at * ROW < box.scrollTop) box.scrollTop = at * ROW;
    if ((at + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (at + 1) * ROW - box.clientHeight;
  }
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  axis();
  draw();
  detail();
}

async function detail() {
  const box = $("detail"), a = RUN.actions.find(x => x.name === chosen);
  box.hidden = !a;
  if (!a) return;
  const more = "logs" in a || !LIVE ? a : await fetch(`${LIVE}/${encodeURIComponent(a.name)}`)
    .then(async r => r.ok ? r.json() : {trouble: await r.text()}).catch(() => ({trouble: "the server does not answer"}));
  // What has been read stays where it was: nothing is drawn anew that says what it said, and scrolled texts stay scrolled.
  const key = JSON.stringify([a, more]);
  if (chosen !== a.name || (key === told && a.ended)) return;
  const places = told.startsWith(`[{"name":${JSON.stringify(a.name)},`) ? [box, ...box.querySelectorAll("pre")].map(e => [e.scrollTop, e.scrollTop + e.clientHeight >= e.scrollHeight - 4]) : [];
  const held = box.contains(document.activeElement) && document.activeElement.className === "close";
  told = key;
  const close = make("button", {class: "close", "aria-label": "Close"}, "✕");
  close.onclick = () => { chosen = null; told = ""; box.hidden = true; axis(); draw(); $("rows").focus(); };
  const facts = [["state", make("span", {class: kindOf(stateOf(a))}, stateOf(a) + (a.source ? ` (${a.source})` : ""))], ["environment", a.environment], ["action", a.name],
    ["waited", begunOf(a) ? duration(begunOf(a) - a.queued) : duration(now() - a.queued)], ["took", a.started ? duration((a.ended || now()) - a.started) : "–"],
    ["attempts", a.attempts.length > 1 ? make("ol", {class: "attempts"}, ...a.attempts.map(t => make("li", {}, attemptOf(t, now())))) : null],
    ["queue", a.queue], ["interruptible", a.interruptible ? "yes" : null], ["image", a.image ? make("code", {}, a.image) : null]];
  box.replaceChildren(close, make("h2", {}, a.task || a.name),
    make("dl", {}, ...facts.filter(f => f[1]).flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)])));
  if (more.trouble) box.append(make("p", {class: "doc", role: "alert"}, more.trouble));
  if (a.doc) box.append(make("p", {class: "doc"}, a.doc));
  if (a.error) box.append(make("h3", {}, a.error.code || "Error"), make("pre", {class: "error", tabindex: "0"}, a.error.message));
  for (const [title, values] of [["Inputs", more.inputs], ["Outputs", more.outputs]]) {
    const list = Object.entries(values || {});
    if (list.length) box.append(make("h3", {}, title), make("dl", {}, ...list.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, make("code", {}, v))])));
  }
  if (more.report) box.append(make("h3", {}, "Report"), make("iframe", {sandbox: "allow-scripts", title: `Report of ${nameOf(a)}`, srcdoc: more.report}));
  else if (more.report_path) box.append(make("h3", {}, "Report"), make("p", {}, `${more.report_path} (too large to be shown here)`));
  for (const log of more.logs || []) {
    box.append(make("h3", {}, more.logs.length > 1 ? `Log of attempt ${log.number}` : "Log"));
    const cut = log.size > new Blob([log.text]).size + 16 ? `… the last part of ${bytes(log.size)}\n` : "";
    box.append(make("pre", {tabindex: "0"}, cut + (log.text || "(nothing was printed)")));
  }
  if (more.later) box.append(make("p", {class: "doc"}, more.later));
  [box, ...box.querySelectorAll("pre")].forEach((e, i) => { if (places[i]) e.scrollTop = i && places[i][1] && places[i][0] ? e.scrollHeight : places[i][0]; });
  if (held) close.focus();
}
const begunOf = a => a.attempts.length ? a.attempts[0].started : a.started;

function graph() {
  const {nodes, edges} = callsOf(RUN), W = 250, H = 58, GX = 80, GY = 18, columns = new Map();
  for (const n of nodes) { if (!columns.has(n.depth)) columns.set(n.depth, []); columns.get(n.depth).push(n); }
  const place = new Map();
  for (const [depth, list] of columns) list.forEach((n, i) => place.set(n.key, [depth * (W + GX), i * (H + GY)]));
  const width = columns.size * (W + GX), height = Math.max(...[...columns.values()].map(l => l.length)) * (H + GY);
  const svg = (tag, attributes, ...inside) => { const e = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v); e.append(...inside); return e; };
  const picture = svg("svg", {width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${nodes.length} tasks and who calls whom`});
  for (const e of edges) {
    const [x1, y1] = place.get(e.from), [x2, y2] = place.get(e.to);
    const d = e.from === e.to ? `M${x1 + W - 20},${y1} c0,-16 40,-16 20,14` : `M${x1 + W},${y1 + H / 2} C${x1 + W + GX / 2},${y1 + H / 2} ${x2 - GX / 2},${y2 + H / 2} ${x2},${y2 + H / 2}`;
    picture.append(svg("path", {d}), svg("text", {class: "quiet", x: x2 - 8, y: y2 + H / 2 - 6, "text-anchor": "end"}, e.count > 1 ? `${e.count}×` : ""));
  }
  for (const n of nodes) {
    const [x, y] = place.get(n.key), states = Object.entries(n.states).map(([s, c]) => `${c} ${s}`).join(", ");
    const worst = ["failed", "running", "aborted", "queued", "succeeded", "reused"].find(s => n.states[s]) || "queued";
    const cut = (text, most) => text.length > most ? `${text.slice(0, most - 1)}…` : text;
    const node = svg("g", {class: "node", tabindex: "0", role: "button", "aria-label": `${n.name}: ${states}`, transform: `translate(${x},${y})`}, svg("title", {}, `${n.key}\n${states}\n${duration(n.seconds)} altogether`), svg("rect", {width: W, height: H}),
      svg("circle", {class: `dot ${worst}`, cx: 16, cy: 20, r: 5}), svg("text", {x: 30, y: 25}, cut(n.name, 28)), svg("text", {class: "quiet", x: 30, y: 44}, cut(`${n.environment} · ${states}`, 36)));
    const open = () => { words = $("find").value = n.name; view("time"); refresh(); };
    node.addEventListener("click", open);
    node.addEventListener("keydown", e => { if (e.key === "Enter") open(); });
    picture.append(node);
  }
  $("graph").replaceChildren(picture);
}

function images() {
  $("images").replaceChildren(...Object.entries(RUN.images).sort().flatMap(([environment, digest]) => {
    const layers = RUN.layers[digest] || [];
    const table = make("table", {}, make("tr", {}, make("th", {}, "layer"), make("th", {}, "size"), make("th", {}, "digest")),
      ...layers.map(l => make("tr", {}, make("td", {}, l.title), make("td", {class: "n"}, bytes(l.size)), make("td", {}, make("code", {}, l.digest.slice(0, 19))))));
    return [make("h2", {}, environment), make("p", {}, make("code", {}, digest)), layers.length ? table : make("p", {}, "its layers are not known on this machine")];
  }));
}

function view(name) {
  for (const one of ["time", "graph", "images"]) {
    $(one).hidden = one !== name;
    $(`tab-${one}`).setAttribute("aria-selected", one === name);
  }
  if (name === "graph") graph();
  if (name === "images") images();
  if (name === "time") { axis(); draw(); }
}

$("rows").addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
addEventListener("resize", () => { axis(); draw(); });
for (const one of ["time", "graph", "images"]) $(`tab-${one}`).onclick = () => view(one);
$("find").addEventListener("input", event => { words = event.target.value; $("rows").scrollTop = 0; refresh(); });
addEventListener("keydown", event => {
  if (event.key === "/" && document.activeElement !== $("find")) { event.preventDefault(); $("find").focus(); return; }
  if (event.key === "Escape") { words = $("find").value = ""; shown.clear(); header(); refresh(); $("rows").focus(); return; }
  if (document.activeElement !== $("rows") || !rows.length) return;
  const at = rows.findIndex(n => n.action.name === chosen), node = rows[at];
  const steps = {ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, Home: 0, End: rows.length - 1, PageDown: at + 20, PageUp: at - 20};
  if (event.key in steps) {
    event.preventDefault();
    choose(rows[Math.max(0, Math.min(rows.length - 1, steps[event.key]))].action.name, true);
  } else if (node && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
    event.preventDefault();
    if (node.children && (event.key === "ArrowLeft") !== folded.has(node.action.name)) toggle(node.action.name);
  } else if (node && event.key === "Enter") $("detail").querySelector("button")?.focus();
});

async function follow() {
  const over = () => RUN.phase !== "running";
  while (!over()) {
    await new Promise(done => setTimeout(done, document.hidden ? 5000 : 1000));
    try {
      const answer = await fetch(LIVE);
      if (!answer.ok) {
        $("said").textContent = await answer.text();
        continue;
      }
      RUN = await answer.json();
      header();
      refresh();
      if (!$("graph").hidden) graph();
      if (chosen) detail();
    } catch { $("said").textContent = "the server does not answer"; }
  }
}

header();
refresh();
// An address may name a view or an action; else what failed first is what people come for.
const asked = decodeURIComponent(location.hash.slice(1));
const failure = RUN.actions.filter(a => kindOf(a.phase) === "failed").at(-1);
if (["time", "graph", "images"].includes(asked)) view(asked);
else if (RUN.actions.some(a => a.name === asked)) choose(asked, true);
else if (failure) choose(failure.name, true);
if (LIVE) follow();
