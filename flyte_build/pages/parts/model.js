// What the page shows, worked out of the run's document. No element is touched here.
const DONE = new Set(["succeeded", "failed", "aborted", "timed out"]);
const MARKS = {succeeded: "✓", failed: "✗", "timed out": "✗", killed: "✗", aborted: "■", running: "▶", queued: "·", paused: "‖", reused: "↺"};
const stateOf = a => a.source && a.phase === "succeeded" ? "reused" : a.phase;
const kindOf = state => state === "timed out" || state === "killed" ? "failed" : state;
const nameOf = a => a.short_name ? a.short_name : a.task ? a.task.slice(a.task.lastIndexOf(".") + 1) : a.name;

function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), m = Math.floor(whole / 60);
  return m < 60 ? `${m} min ${whole % 60} s` : `${Math.floor(m / 60)} h ${m % 60} min`;
}

// How an attempt went: "2: ✗ 1.2 s, ValueError: no".
function attemptOf(t, now) {
  const took = duration((t.ended || now) - t.started), mark = MARKS[t.phase] || "";
  return `${t.number}: ${mark ? mark + " " : ""}${took}${t.error ? ", " + t.error : ""}`;
}

function bytes(size) {
  for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) if (size >= unit) return `${(size / unit).toFixed(1)} ${name}`;
  return `${size} B`;
}

// The actions as a tree in the order they were called, as a flat list with each one's level and number of descendants.
function treeOf(run) {
  const known = new Map(run.actions.map(a => [a.name, a]));
  const below = new Map();
  const roots = [];
  for (const a of run.actions) {
    if (a.parent && a.parent !== a.name && known.has(a.parent)) {
      if (!below.has(a.parent)) below.set(a.parent, []);
      below.get(a.parent).push(a);
    } else roots.push(a);
  }
  const order = (x, y) => x.queued - y.queued || (x.name < y.name ? -1 : 1);
  const flat = [], seen = new Set();
  const waiting = roots.sort(order).reverse().map(a => [a, 0]);
  while (waiting.length) {
    const [action, level] = waiting.pop();
    if (seen.has(action.name)) continue;
    seen.add(action.name);
    const children = (below.get(action.name) || []).sort(order);
    flat.push({action, level, children: children.length});
    for (let i = children.length - 1; i >= 0; i--) waiting.push([children[i], level + 1]);
  }
  return flat;
}

// Rows to draw: of the tree, less what is folded away, what is filtered out, and above each hit its ancestors.
function rowsOf(tree, folded, words, states) {
  const wanted = words.trim().toLowerCase();
  const hits = new Set();
  const filtered = wanted || states.size;
  if (filtered) {
    const path = [];
    for (const node of tree) {
      path.length = node.level;
      path.push(node.action.name);
      const a = node.action;
      const text = `${a.task} ${a.short_name || ""} ${a.queue || ""} ${a.name} ${a.environment} ${a.group} ${a.error ? a.error.code + " " + a.error.message : ""}`.toLowerCase();
      if ((!wanted || text.includes(wanted)) && (!states.size || states.has(kindOf(stateOf(a))))) path.forEach(n => hits.add(n));
    }
  }
  const out = [];
  let hiddenBelow = Infinity;
  for (const node of tree) {
    if (node.level > hiddenBelow) continue;
    hiddenBelow = Infinity;
    if (filtered && !hits.has(node.action.name)) continue;
    out.push(node);
    if (!filtered && folded.has(node.action.name)) hiddenBelow = node.level;
  }
  return out;
}

// From when to when the timeline goes; what runs still, goes until now.
function spanOf(run, now) {
  const starts = run.actions.map(a => a.queued).filter(t => t > 0);
  const start = Math.min(run.started || Infinity, ...starts);
  const ends = run.actions.map(a => a.ended || (DONE.has(a.phase) ? a.queued : now));
  const end = Math.max(run.ended || 0, ...ends, start + 0.001);
  return Number.isFinite(start) ? [start, end] : [0, 1];
}

// Which task calls which, how often, and how those calls are.
function callsOf(run) {
  const nodes = new Map(), edges = new Map();
  const known = new Map(run.actions.map(a => [a.name, a]));
  const keyOf = a => a.task || a.name;
  for (const a of run.actions) {
    const key = keyOf(a);
    if (!nodes.has(key)) nodes.set(key, {key, name: nameOf(a), environment: a.environment, calls: 0, states: {}, seconds: 0});
    const node = nodes.get(key), state = kindOf(stateOf(a));
    node.calls++;
    node.states[state] = (node.states[state] || 0) + 1;
    if (a.started && a.ended) node.seconds += a.ended - a.started;
    const parent = known.get(a.parent);
    if (parent && parent !== a) {
      const edge = `${keyOf(parent)}\n${key}`;
      edges.set(edge, (edges.get(edge) || 0) + 1);
    }
  }
  const list = [...edges].map(([pair, count]) => ({from: pair.split("\n")[0], to: pair.split("\n")[1], count}));
  const depth = new Map([...nodes.keys()].map(k => [k, 0]));
  // Longest way from a root; a task that calls itself does not push itself down.
  for (let round = 0; round < nodes.size; round++) {
    let moved = false;
    for (const e of list) if (e.from !== e.to && depth.get(e.to) < depth.get(e.from) + 1 && depth.get(e.from) + 1 < nodes.size) {
      depth.set(e.to, depth.get(e.from) + 1);
      moved = true;
    }
    if (!moved) break;
  }
  return {nodes: [...nodes.values()].map(n => ({...n, depth: depth.get(n.key)})), edges: list};
}

function summary(run) {
  const counts = {};
  for (const a of run.actions) {
    const state = kindOf(stateOf(a));
    counts[state] = (counts[state] || 0) + 1;
  }
  return counts;
}
