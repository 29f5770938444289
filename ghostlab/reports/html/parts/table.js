const compare = new Intl.Collator(undefined, { numeric: true }).compare;

/** What a line of a table is sorted by in a column: a number, text, or null where nothing is known. */
function sortValue(line, column) {
  const { value } = line.rows[0].cells[column].dataset;
  if (value === "") return null;
  return column === 0 ? value : Number(value);
}

/** Sort a table; what is not known is last in both directions. */
function sortTable(table, column, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const lines = [...table.tBodies].map((line) => [sortValue(line, column), line]);
  lines.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (column === 0 ? compare(a, b) : a - b);
  });
  table.append(...lines.map(([, line]) => line));
  for (const header of table.tHead.rows[0].cells) header.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", direction);
  orderForest(table.closest("section").id, lines.map(([, line]) => Number(line.dataset.row)));
}

/** Numbers begin with the largest, names and verdicts with the first. */
function sortBy(button) {
  const header = button.closest("th");
  const first = header.classList.contains("number") ? "descending" : "ascending";
  const turned = { ascending: "descending", descending: "ascending" }[header.getAttribute("aria-sort")];
  sortTable(header.closest("table"), header.cellIndex, turned ?? first);
}

function setOpen(button, open) {
  button.setAttribute("aria-expanded", String(open));
  document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
}

/** Open the row that a link of the page leads to. */
function openTarget() {
  const button = document.querySelector("tbody.line:target button.open");
  if (!button) return;
  setOpen(button, true);
  button.focus({ preventScroll: true });
}
