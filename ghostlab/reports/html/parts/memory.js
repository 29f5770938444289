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
