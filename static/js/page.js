// Small conveniences on every page; each page works without them.
"use strict";

// "Compare" says how many boxes are ticked; a branch counts once however often it is ticked.
function countPicked() {
  const picked = new Set([...document.querySelectorAll('input[name="pick"]:checked')].map((box) => box.value));
  for (const button of document.querySelectorAll('button[form="compare"]')) {
    button.textContent = picked.size ? `Compare ${picked.size}` : "Compare";
  }
}

// A branch is ticked in the timeline and in each of its rows: they follow each other.
document.addEventListener("change", (event) => {
  if (event.target.name !== "pick") return;
  for (const box of document.querySelectorAll('input[name="pick"][type="checkbox"]')) {
    if (box.value === event.target.value) box.checked = event.target.checked;
  }
  countPicked();
});
document.addEventListener("htmx:after:swap", countPicked);

// Marks of the timeline lead to their nodes; the table below has the same links for keyboards.
document.addEventListener("click", (event) => {
  const mark = event.target.closest?.("[data-href]");
  if (mark) location.assign(mark.dataset.href);
});
