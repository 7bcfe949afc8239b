// Small conveniences on every page; each page works without them.
"use strict";

// The "Compare" button shows how many boxes are ticked.
function countPicked() {
  const picked = document.querySelectorAll('input[form="compare"]:checked').length;
  for (const button of document.querySelectorAll('button[form="compare"]')) {
    button.textContent = picked ? `Compare ${picked}` : "Compare";
  }
}

document.addEventListener("change", ({ target }) => { if (target.form?.id === "compare") countPicked(); });
document.addEventListener("htmx:after:swap", countPicked);

// Marks of the timeline lead to their nodes; the table below has the same links for keyboards.
document.addEventListener("click", (event) => {
  const mark = event.target.closest?.("[data-href]");
  if (mark) location.assign(mark.dataset.href);
});

// Keys: j and k go through the rows of a page, Enter follows the one in focus, / searches, ? helps.
function rowLinks() {
  return [...document.querySelectorAll("main tbody tr")].map((row) => row.querySelector("a.title, a.id") || row.querySelector("a")).filter(Boolean);
}

document.addEventListener("keydown", (event) => {
  const isTyped = event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea");
  if (isTyped || document.documentElement.dataset.keys === "off") return;
  if (event.key === "?") location.assign(document.querySelector("a[rel=help]")?.href ?? "#");
  else if (event.key === "/") { event.preventDefault(); document.querySelector("input[type=search]")?.focus(); }
  else if (event.key === "j" || event.key === "k") {
    const links = rowLinks(), at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    links[at < 0 ? 0 : Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), links.length - 1)]?.focus();
  }
});
