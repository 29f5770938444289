/** Copy the command beside a button; where the browser does not allow that, select it. */
async function copyCommand(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    say(button, "Copied");
  } catch {
    getSelection().selectAllChildren(code);
    say(button, "Selected");
  }
}

function say(button, text) {
  document.getElementById("said").textContent = text;
  button.textContent = text;
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/** What a reader has opened, sorted and switched on stays so when a live page reloads itself. */
const KEY = `ghostlab ${location.pathname}`;

function remember() {
  const sorted = [...document.querySelectorAll(".results [aria-sort]")].map((header) => [
    header.closest("section").id, header.textContent, header.getAttribute("aria-sort"),
  ]);
  const open = [...document.querySelectorAll(".open[aria-expanded=true]")].map((one) => one.getAttribute("aria-controls"));
  const details = [...document.querySelectorAll("details")].map((one) => one.open);
  const curves = [...document.querySelectorAll("[data-curves] input")].map((box) => [box.id, box.checked]);
  const focus = reachable().indexOf(document.activeElement);
  sessionStorage.setItem(KEY, JSON.stringify({ sorted, open, details, curves, focus }));
}

/** Whether there was something to recall. */
function recall() {
  const kept = JSON.parse(sessionStorage.getItem(KEY));
  if (!kept) return false;
  for (const [section, column, direction] of kept.sorted) {
    const headers = [...document.querySelectorAll(`#${section} .results > thead th`)];
    const header = headers.find((one) => one.textContent === column);
    if (header) sortTable(header.closest("table"), header.cellIndex, direction);
  }
  for (const button of document.querySelectorAll(".open")) setOpen(button, kept.open.includes(button.getAttribute("aria-controls")));
  document.querySelectorAll("details").forEach((one, i) => { one.open = Boolean(kept.details[i]); });
  const checked = new Map(kept.curves);
  for (const box of document.querySelectorAll("[data-curves] input")) box.checked = checked.get(box.id) ?? box.checked;
  document.querySelectorAll("[data-curves]").forEach(updateCurves);
  reachable()[kept.focus]?.focus({ preventScroll: true });
  return true;
}

/** All that the keyboard reaches, in order. */
function reachable() {
  return [...document.querySelectorAll("a, button, input, summary, [tabindex]")];
}

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
