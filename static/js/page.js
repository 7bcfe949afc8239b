// Small conveniences on every page; each page works without them.
"use strict";

// The "Compare" button shows how many boxes are ticked.
function countPicked() {
  const picked = document.querySelectorAll('input[name="pick"]:checked').length;
  for (const button of document.querySelectorAll('button[form="compare"]')) {
    button.textContent = picked ? `Compare ${picked}` : "Compare";
  }
}

document.addEventListener("change", ({ target }) => { if (target.name === "pick") countPicked(); });
document.addEventListener("htmx:after:swap", countPicked);

// Marks of the timeline lead to their nodes; the table below has the same links for keyboards.
document.addEventListener("click", (event) => {
  const mark = event.target.closest?.("[data-href]");
  if (mark) location.assign(mark.dataset.href);
});
