// A live run: its event stream refreshes parts of the page; without one the page polls. Tabs that
// show the same share one stream where the browser has locks. Only a short line is announced.
"use strict";

const stream = () => document.getElementById("stream");
const pause = document.getElementById("pause");
const POLL = 5000, SOON = 400, PACE = 60000, QUIET = 5000;
let paused = false, polling = 0, due = 0, soon = 0, spoken = 0, waiting = 0;
let address = "", last = "", source = null, channel = null, leave = null;

// Tabs do not all ask at once. A slow refresh that is due gives way to a soon one.
function refresh(delay) {
  const at = Date.now() + delay * (1 + Math.random());
  if (paused || (due && soon <= at)) return;
  clearTimeout(due);
  soon = at;
  due = setTimeout(() => { due = 0; if (!paused && !going) htmx.trigger("#live", "refresh"); }, at - Date.now());
}

const unheard = (is) => document.body.classList.toggle("unheard", is);
const redrawAll = () => paused || document.dispatchEvent(new CustomEvent("branchtrack:redraw"));

// The server redraws lanes less often.
function reach(branch, step) {
  const lane = document.querySelector(`.timeline [data-branch="${CSS.escape(branch)}"]`);
  if (!lane) return;
  const { low, high } = lane.closest(".timeline").dataset;
  if (step > high && !new URLSearchParams(location.search).get("to")) refresh(SOON);
  const share = `${(Math.min(Math.max((step - low) / (high - low), 0), 1) * 100).toFixed(2)}%`;
  lane.querySelector(".stretch")?.setAttribute("x2", share);
  lane.querySelector(".pulse")?.setAttribute("cx", share);
}

function value(branch, points) {
  const place = document.querySelector(`[data-value="${CSS.escape(branch)}"]`);
  const [step, newest] = points?.[points.length - 1] || [];
  if (!place || step === undefined) return;
  const at = Object.assign(document.createElement("small"), { textContent: `at ${step.toLocaleString("en")}` });
  place.replaceChildren(newest === null ? "NaN" : digits(newest), " ", at);
}

function announce(text) {
  if (!text || paused) return;
  clearTimeout(waiting);
  const say = () => { spoken = Date.now(); document.getElementById("announce").textContent = text; };
  waiting = setTimeout(say, Math.max(0, spoken + QUIET - Date.now()));
}

function poll(on) {
  clearInterval(polling);
  polling = on ? setInterval(() => { refresh(0); redrawAll(); connect(); }, POLL) : 0;
}

function changed({ say, kinds }) {
  announce(say);
  refresh(SOON);
  if (kinds.includes("launch") || kinds.includes("segment") || !document.querySelector(".chart")) redrawAll();
}

function progress({ heads, points }) {
  if (paused) return;
  for (const [branch, head] of Object.entries(heads)) {
    const pace = document.querySelector(`[data-pace="${CSS.escape(branch)}"]`);
    const rate = head.rate ? ` · ${digits(head.rate)} steps/s` : "";
    if (pace) pace.textContent = `step ${head.step.toLocaleString("en")}${pace.dataset.of}${rate}`;
    reach(branch, head.step);
  }
  for (const [branch, metrics] of Object.entries(points)) value(branch, metrics[stream().dataset.first]);
  document.dispatchEvent(new CustomEvent("branchtrack:points", { detail: points }));
  const isDrawn = document.querySelector(".chart");
  if (Object.keys(points).length && !isDrawn) redrawAll();
  // The stream has what changes while training goes on; all else comes with an event.
  refresh(isDrawn ? Number(stream().dataset.pace || PACE) : SOON);
}

function hear([name, data, id]) {
  unheard(!name);
  last = id ?? last;
  poll(false);
  ({ changed, progress })[name]?.(JSON.parse(data));
}

function open(url) {
  const from = new URL(url, location.href);
  from.searchParams.set("after", last);
  source = new EventSource(from);
  for (const name of ["changed", "progress"]) {
    source.addEventListener(name, ({ data, lastEventId }) => {
      hear([name, data, lastEventId]);
      channel?.postMessage([name, data, lastEventId]);
    });
  }
  source.onopen = () => { poll(false); unheard(false); };
  // A broken connection is opened again by the browser, a refused one is not.
  source.onerror = ({ target }) => {
    if (target.readyState !== EventSource.CLOSED) { unheard(true); channel?.postMessage([]); return; }
    leave?.();
    if (!polling) poll(true);
  };
}

function disconnect() {
  source?.close();
  channel?.close();
  leave?.();
  address = "";
  source = channel = leave = null;
}

// The tab that has the lock of an address reads its stream for all tabs.
function connect() {
  const now = stream();
  if (!now || document.hidden || (address === now.dataset.url && source?.readyState !== EventSource.CLOSED)) return;
  disconnect();
  address = now.dataset.url;
  last ||= now.dataset.after;
  const url = address;
  if (!navigator.locks) { open(url); return; }
  channel = new BroadcastChannel(`branchtrack:${url}`);
  channel.onmessage = ({ data }) => hear(data);
  const end = new AbortController();
  let released;
  leave = () => { end.abort(); released?.(); };
  const lead = () => new Promise((done) => { released = done; if (!end.signal.aborted) open(url); else done(); });
  navigator.locks.request(url, { signal: end.signal }, lead).catch(() => {});
}

document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
document.addEventListener("htmx:after:swap", () => { unheard(false); connect(); });

// Other choices of the same page replace its live part alone, one after the other.
let going = null, then = null, failed = false, shown = location.search;
async function show(url, isNew) {
  [shown, last] = [url.search, ""];
  if (going) { then = [url, isNew]; return; }
  [going, failed] = [url, false];
  await htmx.ajax("GET", url.pathname + url.search, { source: "#live", target: "#live", swap: "outerMorph" });
  const next = then;
  going = then = null;
  if (failed) return;
  if (isNew) history.pushState(null, "", url);
  if (next) show(...next);
  else if (location.search !== shown) show(new URL(location.href));
  else if (url.hash) document.getElementById(url.hash.slice(1))?.scrollIntoView();
}

function visit(url, event) {
  if (url.pathname !== location.pathname || url.origin !== location.origin || !document.getElementById("choice")) return;
  event.preventDefault();
  if (url.search !== shown) show(url, true);
}

document.addEventListener("branchtrack:go", (event) => visit(event.detail, event));
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("#live a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || link.target) return;
  const url = new URL(link.href);
  if (url.search !== shown) visit(url, event);
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get" || !form.closest("#live")) return;
  const url = new URL(form.action);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, text]) => text !== "")).toString();
  visit(url, event);
});
addEventListener("popstate", () => { if (location.search !== shown && document.getElementById("choice")) show(new URL(location.href)); });
// What went wrong is said on a page of its own.
for (const name of ["htmx:response:error", "htmx:error"]) addEventListener(name, () => { unheard(true); if (going) [failed] = [true, location.assign(going)]; });

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Updates paused: continue" : "Pause updates";
  if (!paused) { refresh(0); redrawAll(); }
});
connect();
