/** Figures by the id of their element. @type {Map<string, {element: HTMLElement, data: object[], layout: object}>} */
const figures = new Map();
const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };

/** Names of style properties ("--ink") under keys that end in "color" become their present values. */
function painted(value, key = "") {
  if (typeof value === "string") {
    const named = /color$/.test(key) && value.startsWith("--");
    return named ? getComputedStyle(document.documentElement).getPropertyValue(value).trim() : value;
  }
  if (Array.isArray(value)) return value.map((one) => painted(one, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, painted(inner, name)]));
}

/** Smaller letters, and shorter names of rows. */
function makeNarrow({ yaxis, meta }) {
  yaxis.tickfont = { ...yaxis.tickfont, size: 10 };
  if (meta?.narrow) yaxis.ticktext = meta.narrow;
}

function readFigures() {
  for (const element of document.querySelectorAll(".plot")) {
    const figure = JSON.parse(document.getElementById(`${element.id}-data`).textContent);
    if (matchMedia("(pointer: coarse)").matches) figure.layout.dragmode = false;
    if (matchMedia("(max-width: 40rem)").matches) makeNarrow(figure.layout);
    figures.set(element.id, { element, ...figure });
  }
}

async function draw(id) {
  const { element, data, layout } = figures.get(id);
  await Plotly.react(element, painted(data), { ...painted(layout), uirevision: "same" }, CONFIG);
  if (id.endsWith("-cost")) await placeLabels(element);
}

function drawAll() {
  return Promise.all([...figures.keys()].map(draw));
}

/** Show the curves of the given rows only. */
function showCurves(section, rows) {
  for (const id of [`${section}-top1`, `${section}-loss`].filter((one) => figures.has(one))) {
    for (const trace of figures.get(id).data) trace.visible = rows.has(String(trace.meta));
    draw(id);
  }
}

/** Put the rows of a plot of effects into the order of the table. */
function orderForest(section, rows) {
  const figure = figures.get(`${section}-forest`);
  if (!figure) return;
  const { tickvals, ticktext } = figure.layout.yaxis;
  const labels = new Map();
  for (const trace of figure.data) trace.meta.forEach((row, i) => labels.set(row, ticktext[tickvals.indexOf(trace.y[i])]));
  const shown = rows.filter((row) => labels.has(row));
  for (const trace of figure.data) trace.y = trace.meta.map((row) => shown.indexOf(row));
  figure.layout.yaxis.tickvals = shown.map((_, place) => place);
  figure.layout.yaxis.ticktext = shown.map((row) => labels.get(row));
  draw(`${section}-forest`);
}

function savePlot(button) {
  const element = button.closest("figure").querySelector(".plot");
  Plotly.downloadImage(element, { format: "svg", filename: element.id, width: 900, height: element.clientHeight });
}
