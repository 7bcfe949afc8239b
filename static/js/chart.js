// Charts drawn with uPlot in place of the server's own drawings, from values that the server sends.
// It holds no state that the server does not have; live points arrive as events.
"use strict";

const drawn = new Map(); // element -> {data, plot}
const make = (name, inner = {}) => Object.assign(document.createElement(name), inner);
const probe = document.body.appendChild(make("span", { hidden: true }));
const SMALL = `11.5px ${getComputedStyle(probe).fontFamily}`;

// Variables hold light-dark(); only an element's own colour is resolved by the browser.
function colour(name, alpha = 1) {
  probe.style.color = `var(${name})`;
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}

function digits(value) {
  const size = Math.abs(value);
  // As the server writes numbers: 4e-3, never 0.004.
  if (size && (size < 0.01 || size >= 1e6)) return label(value);
  return (size >= 1000 ? Math.round(value).toLocaleString("en") : size >= 1 || (size && size < 0.1) ? value.toPrecision(4) : value.toFixed(3)).replace(/^-/, "−");
}

function label(value) {
  const isFar = value && (Math.abs(value) < 0.01 || Math.abs(value) >= 1e6);
  return (isFar ? value.toExponential(3).split("e").map(Number).join("e") : value.toLocaleString("en", { maximumSignificantDigits: 6 })).replace(/^-/, "−");
}

// The same round ticks as the server's, so that the grid lines up with the timeline above.
function places(low, high, wanted) {
  const rough = high / wanted - low / wanted, power = 10 ** Math.floor(Math.log10(rough));
  if (!(rough > 1e-300)) return [low];
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n <= high / step + 1e-9; n += 1) ticks.push(Number((n * step).toPrecision(12)));
  return ticks.length > 1 || wanted > 9 ? ticks : places(low, high, wanted + 1);
}

// What is equal is sent once: the extremes of stretches of one point, averages without smoothing.
function complete(data) {
  for (const line of data.lines) {
    line.band = Boolean(line.high);
    line.high ??= [...line.low];
    line.smooth ??= [...line.low];
  }
  return data;
}

function joined(data) {
  const tables = data.lines.map((line) => [line.xs, line.low, line.high, line.smooth]);
  return tables.length ? uPlot.join(tables) : [[], []];
}

function seriesOf(data) {
  const ratio = devicePixelRatio || 1, few = !data.fill && data.lines.length <= 16;
  const series = [{}], bands = [];
  for (const line of data.lines) {
    const common = { points: { show: false }, spanGaps: false, width: 1 }, first = series.length;
    series.push({ ...common, show: few, stroke: line.band ? undefined : colour(line.colour, data.weight > 0 ? 0.28 : 0) });
    series.push({ ...common, show: few && line.band });
    if (few && line.band) bands.push({ series: [first + 1, first], fill: colour(line.colour, 0.6 / Math.max(3, data.lines.length)) });
    const look = data.fill ? { width: 1, fill: colour(line.colour, 0.22), fillTo: 0 } : { width: 2, dash: line.dash.map((part) => part * ratio) };
    series.push({ ...common, stroke: colour(line.colour), ...look });
  }
  return { series, bands };
}

// Marks on the curves: the fork, changes, values that are not numbers, names.
function decorate(plot, data) {
  const { ctx, bbox } = plot, ratio = devicePixelRatio || 1;
  const at = (x, y) => [plot.valToPos(x, "x", true), plot.valToPos(y, "y", true)];
  const inside = (x) => x >= bbox.left - 1 && x <= bbox.left + bbox.width + 1;
  ctx.save();
  ctx.lineWidth = 1.5 * ratio;
  ctx.fillStyle = colour("--muted");
  ctx.font = SMALL.replace("11.5", 11.5 * ratio);
  ctx.textAlign = "left";
  ctx.fillText(data.note, bbox.left + 6 * ratio, bbox.top + bbox.height - 6 * ratio, bbox.width);
  for (const place of [data.fork, ...data.guides]) {
    const isFork = place === data.fork, [x] = at(place, 0);
    if (place === null || !inside(x)) continue;
    ctx.strokeStyle = colour(isFork ? "--muted" : "--accent"); ctx.setLineDash(isFork ? [3 * ratio, 3 * ratio] : []);
    ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    if (isFork && !data.fill) ctx.fillText("fork", x + 6 * ratio, bbox.top + 10 * ratio);
  }
  const ends = [];
  for (const line of data.lines) {
    ctx.fillStyle = ctx.strokeStyle = colour(line.colour);
    ctx.setLineDash([]);
    for (const x of line.gaps) {
      const [left] = at(x, 0), top = bbox.top + 4 * ratio, half = 4 * ratio;
      if (!inside(left)) continue;
      ctx.beginPath();
      for (const side of [half, -half]) { ctx.moveTo(left - side, top - half); ctx.lineTo(left + side, top + half); }
      ctx.stroke();
    }
    for (const [x, y] of line.marks) {
      const [left, top] = at(x, y), half = 6 * ratio;
      if (!inside(left)) continue;
      ctx.beginPath();
      ctx.moveTo(left, top - half); ctx.lineTo(left + half, top); ctx.lineTo(left, top + half); ctx.lineTo(left - half, top);
      ctx.closePath(); ctx.fill();
    }
    // A point between gaps is no line.
    for (const [nth, y] of line.smooth.entries()) {
      const [left, top] = at(line.xs[nth], y), beside = line.smooth[nth - 1] ?? line.smooth[nth + 1] ?? null;
      if (y !== null && beside === null && inside(left)) { ctx.beginPath(); ctx.arc(left, top, 3 * ratio, 0, 7); ctx.fill(); }
    }
    let last = line.smooth.length - 1;
    while (last >= 0 && line.smooth[last] === null) last -= 1;
    if (line.named && last >= 0) ends.push([...at(line.xs[last], line.smooth[last]), line]);
  }
  nameEnds(ctx, bbox, ratio, ends);
  ctx.restore();
}

// Names stand to the right of the curves, as in charts/plots.py.
function nameEnds(ctx, bbox, ratio, ends) {
  const left = bbox.left + bbox.width + 8 * ratio, wide = ctx.canvas.width - left, tall = 14 * ratio;
  if (wide < 60 * ratio) return;
  const room = Math.floor(bbox.height / tall), bottom = bbox.top + bbox.height - 4 * ratio, isCut = ends.length > room;
  ends.sort((a, b) => b[0] - a[0]);
  const kept = (isCut ? ends.slice(0, room - 1) : ends).sort((a, b) => a[1] - b[1]);
  const heights = kept.map(([, top], nth) => Math.max(top, bbox.top + nth * tall));
  for (let nth = 1; nth < heights.length; nth += 1) heights[nth] = Math.max(heights[nth], heights[nth - 1] + tall);
  for (let nth = heights.length - 1, last = isCut ? bottom - tall : bottom; nth >= 0; nth -= 1, last -= tall) last = heights[nth] = Math.min(heights[nth], last);
  ctx.font = `600 ${SMALL.replace("11.5", 11.5 * ratio)}`;
  kept.forEach(([, , line], nth) => {
    let text = line.name;
    while (text.length > 2 && ctx.measureText(text).width > wide) text = `${text.slice(0, -2)}…`;
    ctx.fillStyle = colour(line.colour);
    ctx.fillText(text, left, heights[nth] + 4 * ratio);
  });
  if (isCut) {
    ctx.fillStyle = colour("--muted");
    ctx.fillText(`+ ${ends.length - kept.length} more`, left, bottom + 4 * ratio);
  }
}

function upright({ range, log }, height) {
  return log ? logPlaces(range[2], range[3]) : places(range[2], range[3], Math.max(2, Math.floor(height / 45)));
}

function logPlaces(low, high) {
  if (high / low < 20) return places(low, high, 5).filter((one) => one > 0);
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), every = Math.ceil((last - first) / 12);
  const powers = Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, nth) => first + nth * every);
  const ticks = powers.flatMap((power) => (last - first > 4 ? [1] : [1, 2, 5]).map((factor) => Number(`${factor}e${power}`)));
  return ticks.filter((one) => one >= low && one <= high);
}

// The values at the pointer: each line's value at or before its position.
function tell(plot, data, tip, element) {
  const { left, idx } = plot.cursor;
  const guide = element.closest(".plots")?.querySelector(".timeline .cursor");
  const off = left === null || left === undefined || left < 0 || idx === null;
  tip.hidden = off || plot !== tell.owner;
  if (guide && data.x === "step") {
    guide.toggleAttribute("hidden", off);
    if (!off) for (const name of ["x1", "x2"]) guide.setAttribute(name, `${(left / plot.over.clientWidth) * 100}%`);
  }
  if (tip.hidden) return;
  const x = plot.posToVal(left, "x");
  const axis = { since: "steps since fork", time: "hours" }[data.x] || data.x;
  tip.replaceChildren(`${axis} ${label(data.x === "step" || data.x === "since" ? Math.round(x) : x)}`);
  for (const line of data.lines) {
    const place = below(line.xs, x);
    if (place < 0 || x > line.xs[line.xs.length - 1] + 1e-9) continue;
    const row = make("div"), key = make("i"), value = make("b");
    key.style.borderColor = colour(line.colour);
    if (line.dash.length) key.style.borderTopStyle = line.dash[0] > 3 ? "dashed" : "dotted";
    const [low, high, smooth] = [line.low[place], line.high[place], line.smooth[place]];
    value.textContent = low === null ? data.log ? "NaN or ≤ 0" : "NaN" : low === high ? digits(low) : `${digits(low)}–${digits(high)}`;
    row.append(key, `${line.name} `, value, data.weight > 0 && smooth !== null ? ` (mean ${digits(smooth)})` : "");
    tip.append(row);
  }
  const wide = plot.over.clientWidth, flip = left > wide - tip.offsetWidth - 24;
  tip.style.left = `${plot.over.offsetLeft + left + (flip ? -tip.offsetWidth - 12 : 12)}px`;
  tip.style.top = "16px";
}

function below(xs, x) {
  let low = 0, high = xs.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle + 1; else high = middle - 1;
  }
  return high;
}

// Dragging selects the page's range, so that the view has a link; a double click shows all of it.
function zoom(plot, data) {
  const { left, width } = plot.select;
  if (width < 8) return;
  const steps = [left, left + width].map((place) => Math.round(plot.posToVal(place, "x") + data.origin));
  go({ from: Math.max(0, steps[0]), to: Math.max(steps[0] + 1, steps[1]) });
}

function go(range) {
  // Charts of one branch beside other things have no address of their own.
  const wall = document.querySelector(".wall"), alone = wall && !document.getElementById("choice");
  const url = new URL(alone ? wall.dataset.url : location.href, location.href);
  for (const name of ["from", "to"]) {
    url.searchParams.delete(name);
    if (range && name in range) url.searchParams.set(name, range[name]);
  }
  if (alone) { wall.dataset.url = url.href; load(wall); return; }
  if (url.href === location.href) return;
  const event = new CustomEvent("branchtrack:go", { detail: url, cancelable: true });
  if (document.dispatchEvent(event)) location.assign(url);
}

function draw(element, data) {
  const area = element.querySelector(".area");
  if (!area || !data.lines.length) return area?.firstChild || area?.append(data.note);
  drawn.get(element)?.plot.destroy();
  element.querySelector(".tip")?.remove();
  const tip = element.appendChild(make("div", { className: "tip", hidden: true }));
  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--muted"), font: SMALL, grid, ticks: { show: false }, values: (_, all) => all.map(label) };
  const steps = data.x === "step" || (data.x === "since" && data.origin > 0), { series, bands } = seriesOf(data);
  const options = {
    width: element.clientWidth,
    height: element.clientHeight,
    padding: [28, parseFloat(getComputedStyle(area).paddingRight), 0, 0],
    legend: { show: false },
    cursor: {
      y: false, points: { show: false }, drag: { x: steps, y: false, setScale: false },
      sync: { key: "x", scales: ["x", null], setSeries: false },
    },
    scales: { x: { time: false, range: () => data.range.slice(0, 2) }, y: { distr: data.log ? 3 : 100, fwd: (y) => y / 4, bwd: (y) => y * 4, range: () => data.range.slice(2) } },
    axes: [
      { ...axis, size: data.foot, gap: 6, values: data.foot > 20 ? axis.values : () => [], splits: () => places(data.range[0], data.range[1], element.clientWidth < 700 ? 4 : 8) },
      { ...axis, size: area.offsetLeft, gap: 8, filter: (_, all) => all, splits: () => upright(data, element.clientHeight) },
    ],
    series,
    bands,
    hooks: {
      draw: [(plot) => decorate(plot, data)],
      setCursor: [(plot) => tell(plot, data, tip, element)],
      setSelect: [(plot) => zoom(plot, data)],
    },
  };
  const plot = new uPlot(options, joined(data), element);
  plot.over.addEventListener("mouseenter", () => { tell.owner = plot; });
  if (steps) plot.over.addEventListener("dblclick", () => go());
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", data.label);
  element.classList.add("drawn");
  drawn.set(element, { data, plot });
}

function saves(wall, data) {
  const row = make("p", { className: "save" });
  for (const kind of ["svg", "csv", "png"]) {
    const url = new URL(wall.dataset.url, location.href);
    url.pathname += `.${kind.replace("png", "svg")}`;
    url.searchParams.set("metric", data.metric);
    row.append(make("a", { href: url, textContent: kind.toUpperCase() }), " ");
  }
  row.lastElementChild.addEventListener("click", savePng);
  return row;
}

// The server's picture, which has a name and both axes, in two pixels for each, and in the colours of this page.
async function savePng(event) {
  event.preventDefault();
  const url = new URL(event.target.href), picture = new Image(), canvas = make("canvas");
  if (colour("--bg") !== "rgba(255, 255, 255, 1)") url.searchParams.set("theme", "dark");
  picture.src = url;
  await picture.decode();
  [canvas.width, canvas.height] = [picture.width * 2, picture.height * 2];
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  make("a", { href: canvas.toDataURL(), download: `${url.searchParams.get("metric")}.png` }).click();
}

function panel(wall, data) {
  const element = make("div", { className: "chart" }), axis = make("div", { className: "axis" });
  const name = make("p", { className: "y-name", title: data.metric });
  element.style.minHeight = `${data.height}px`;
  name.append(make("b", { textContent: data.metric }));
  if (data.weight > 0) name.append(make("span", { textContent: `EMA ${data.weight}` }));
  axis.append(name, saves(wall, data));
  element.append(axis, make("div", { className: "area" }));
  return element;
}

// Charts of other metrics, branches or steps are sent whole.
let height = 0;
async function load(wall) {
  wall.classList.add("drawn");
  // What is below does not jump meanwhile.
  if (!wall.firstElementChild) wall.style.minHeight = `${height}px`;
  const answer = await fetch(wall.dataset.url, { headers: { Accept: "application/json" } });
  if (!wall.isConnected) return;
  if (!answer.ok) wall.textContent = `The charts could not be read: ${answer.status}.`;
  const { charts } = answer.ok ? await answer.json() : { charts: [] };
  if (!charts.length) return;
  const panels = charts.map((data) => panel(wall, data));
  wall.replaceChildren(...panels);
  forget();
  panels.forEach((element, nth) => draw(element, complete(charts[nth])));
  wall.style.minHeight = "";
  height = wall.offsetHeight;
}

const forget = () => drawn.forEach(({ plot }, element) => element.isConnected || (plot.destroy(), drawn.delete(element)));
const drawAll = () => drawn.forEach(({ data }, element) => draw(element, data));

function drawNew() {
  forget();
  for (const wall of document.querySelectorAll(".wall:not(.drawn)")) load(wall);
  for (const plots of document.querySelectorAll("[data-charts]:not(.drawn)")) fill(plots);
}

async function fill(plots) {
  plots.classList.add("drawn");
  const answer = await fetch(plots.dataset.charts, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const { charts } = await answer.json();
  plots.querySelectorAll(".chart").forEach((element, nth) => draw(element, complete(charts[nth])));
}

let reload = 0;
function redraw(delay) {
  reload ||= setTimeout(() => { reload = 0; document.querySelectorAll(".wall").forEach(load); }, delay);
}

function extend(data, line, x, value) {
  // As on the server, a logarithmic axis has no place for 0 and below.
  const y = data.log && value <= 0 ? null : value;
  if (line.xs.length && x <= line.xs[line.xs.length - 1]) return false;
  const before = line.smooth.findLast((value) => value !== null);
  line.xs.push(x);
  line.low.push(y);
  line.high.push(y);
  if (value === null) line.gaps.push(x);
  if (y !== null) data.range.splice(2, 2, Math.min(data.range[2], y), Math.max(data.range[3], y));
  const old = data.weight * line.norm, norm = old + 1 - data.weight;
  line.smooth.push(y === null ? y : (old * (before ?? 0) + (1 - data.weight) * y) / norm);
  if (y !== null) line.norm = norm;
  return true;
}

// New points of live branches: {branch: {metric: [[step, value]]}}.
document.addEventListener("branchtrack:points", ({ detail }) => {
  if (new URLSearchParams(location.search).get("to")) return;
  const grown = new Set();
  let last = 0;
  for (const { data } of drawn.values()) {
    if (!data.height) continue;
    // Steps alone do not say where on another axis they are.
    if (data.x !== "step") { redraw(5000); return; }
    for (const line of data.lines) {
      for (const [x, y] of detail[line.name]?.[data.metric] || []) if (extend(data, line, x, y)) grown.add(data);
      last = Math.max(last, line.xs[line.xs.length - 1] ?? 0);
    }
  }
  if (!grown.size) return;
  const shown = Number(document.querySelector(".timeline")?.dataset.high ?? 0);
  for (const { data, plot } of drawn.values()) {
    data.range[1] = Math.max(data.range[1], last, shown);
    plot.setData(joined(data));
  }
});

document.addEventListener("htmx:after:swap", drawNew);
document.addEventListener("branchtrack:redraw", () => redraw(0));

document.addEventListener("mousemove", (event) => {
  const timeline = event.target.closest?.(".timeline");
  const first = timeline && drawn.get(timeline.closest(".plots").querySelector(".chart"));
  if (!first || first.data.x !== "step") return;
  tell.owner = first.plot;
  first.plot.setCursor({ left: event.clientX - timeline.getBoundingClientRect().left, top: 10 });
});

let width = 0;
new ResizeObserver(() => {
  if (width && width !== document.body.clientWidth) drawAll();
  width = document.body.clientWidth;
}).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawNew();
