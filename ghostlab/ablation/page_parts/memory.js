/** What a reader has opened, sorted and switched on stays so when a live page reloads itself. */
const KEY = `ghostlab ${location.pathname}`;

function remember() {
  const sorted = [...document.querySelectorAll(".results [aria-sort]")].map((header) => [
    header.closest("section").id, header.cellIndex, header.getAttribute("aria-sort"),
  ]);
  const open = [...document.querySelectorAll(".open[aria-expanded=true]")].map((one) => one.getAttribute("aria-controls"));
  const details = [...document.querySelectorAll("details")].map((one) => one.open);
  const curves = [...document.querySelectorAll("[data-curves] input")].map((box) => [box.id, box.checked]);
  sessionStorage.setItem(KEY, JSON.stringify({ sorted, open, details, curves }));
}

function recall() {
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (!kept) return;
  for (const [section, column, direction] of kept.sorted) {
    const table = document.querySelector(`#${section} .results`);
    if (table && table.tHead.rows[0].cells[column]) sortTable(table, column, direction);
  }
  for (const button of document.querySelectorAll(".open")) setOpen(button, kept.open.includes(button.getAttribute("aria-controls")));
  document.querySelectorAll("details").forEach((one, i) => { one.open = Boolean(kept.details[i]); });
  const checked = new Map(kept.curves);
  for (const box of document.querySelectorAll("[data-curves] input")) box.checked = checked.get(box.id) ?? box.checked;
  document.querySelectorAll("[data-curves]").forEach(updateCurves);
}
