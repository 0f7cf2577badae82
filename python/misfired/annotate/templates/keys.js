// Keys press the buttons and links of the page that name them. Without this script, people click.
"use strict";
for (const hint of document.querySelectorAll("kbd")) hint.hidden = false;
let pressed = false;
document.addEventListener("keydown", (event) => {
  if (pressed || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  for (const each of document.querySelectorAll("[data-key]")) {
    if (each.dataset.key === key) {
      event.preventDefault();
      pressed = true;
      each.click();
      return;
    }
  }
});
// A second click while the answer is on its way would send it twice.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
// A page that the browser kept for its Back button is asked for again.
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
