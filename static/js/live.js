// A live run: its event stream refreshes parts of the page; without one the page polls.
// Only a short line is announced, never a table.
"use strict";

const stream = () => document.getElementById("stream");
const pause = document.getElementById("pause");
const POLL = 5000, SOON = 400, PACE = 3000, QUIET = 5000;
let paused = false, polling = 0, due = 0, spoken = 0, waiting = 0;

function refresh(delay) {
  if (paused || due) return;
  due = setTimeout(() => { due = 0; htmx.trigger("#live", "refresh"); }, delay);
}

function redraw() {
  if (!paused) document.dispatchEvent(new CustomEvent("branchtrack:redraw"));
}

// The server redraws lanes less often.
function reach(branch, step) {
  const lane = document.querySelector(`.timeline [data-branch="${CSS.escape(branch)}"]`);
  if (!lane) return;
  const { low, high } = lane.closest(".timeline").dataset;
  const share = `${(Math.min(Math.max((step - low) / (high - low), 0), 1) * 100).toFixed(2)}%`;
  lane.querySelector(".stretch")?.setAttribute("x2", share);
  lane.querySelector(".pulse")?.setAttribute("cx", share);
}

function announce(text) {
  if (!text || paused) return;
  clearTimeout(waiting);
  const delay = Math.max(0, spoken + QUIET - Date.now());
  waiting = setTimeout(() => {
    spoken = Date.now();
    document.getElementById("announce").textContent = text;
  }, delay);
}

function poll(on) {
  clearInterval(polling);
  polling = on ? setInterval(() => { refresh(0); redraw(); htmx.trigger(stream(), "reconnect"); }, POLL) : 0;
}

// On the document, because a new metric brings a new stream.
document.addEventListener("changed", ({ detail }) => {
  const { say, kinds } = JSON.parse(detail.data);
  announce(say);
  refresh(SOON);
  if (kinds.includes("launch") || kinds.includes("segment") || !document.querySelector(".chart .area")) redraw();
});

document.addEventListener("progress", ({ detail }) => {
  if (paused) return;
  const { heads, points } = JSON.parse(detail.data);
  for (const [branch, head] of Object.entries(heads)) {
    const pace = document.querySelector(`[data-pace="${CSS.escape(branch)}"]`);
    const rate = head.rate ? ` · ${Number(head.rate.toPrecision(3))} steps/s` : "";
    if (pace) pace.textContent = `step ${head.step.toLocaleString("en")}${rate}`;
    reach(branch, head.step);
  }
  document.dispatchEvent(new CustomEvent("branchtrack:points", { detail: points }));
  if (Object.keys(points).length && !document.querySelector(".chart .area")) redraw();
  refresh(PACE);
});

document.addEventListener("htmx:sse:after:connection", () => poll(false));
for (const name of ["htmx:response:error", "htmx:sse:error", "htmx:error"]) {
  document.addEventListener(name, ({ target }) => { if (target === stream() && !polling) poll(true); });
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Updates paused: continue" : "Pause updates";
  if (!paused) { refresh(0); redraw(); }
});
