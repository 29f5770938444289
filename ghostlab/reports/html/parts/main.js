const ACTIONS = { sort: sortBy, copy: copyCommand, save: savePlot };

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.classList.contains("open")) setOpen(button, button.getAttribute("aria-expanded") !== "true");
  for (const [name, action] of Object.entries(ACTIONS)) if (button.classList.contains(name)) action(button);
  if (button.dataset.all) {
    for (const box of button.closest("[data-curves]").querySelectorAll("input")) box.checked = button.dataset.all === "true";
    updateCurves(button.closest("[data-curves]"));
  }
});
document.addEventListener("change", (event) => {
  const group = event.target.closest("[data-curves]");
  if (group) updateCurves(group);
});

function updateCurves(group) {
  const rows = new Set([...group.querySelectorAll("input:checked")].map((box) => box.value));
  showCurves(group.dataset.curves, rows);
}

readFigures();
drawAll().then(watchLabels);
for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", drawAll);
addEventListener("hashchange", openTarget);
if ("live" in document.documentElement.dataset) {
  document.getElementById("as-of").textContent = new Date(document.lastModified).toLocaleTimeString();
  addEventListener("pagehide", remember);
  if (!recall()) openTarget();
} else openTarget();
