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

const LETTER = 6.6;
const PLACES = {
  "middle right": (x, y, w, h) => [x + 9, y - h / 2],
  "middle left": (x, y, w, h) => [x - 9 - w, y - h / 2],
  "top center": (x, y, w, h) => [x - w / 2, y - h - 8],
  "bottom center": (x, y, w, h) => [x - w / 2, y + 8],
};

/** Write names beside the points of a plot where they touch no other; the rest is told by pointing and by the table. */
async function placeLabels(element) {
  const points = element.data.findIndex((trace) => trace.mode === "markers+text");
  const { x, y, text } = figures.get(element.id).data[points];
  const area = element.querySelector(".nsewdrag").getBoundingClientRect();
  const pixel = (axis, size) => (value) => ((value - axis.range[0]) / (axis.range[1] - axis.range[0])) * size;
  const [left, up] = [pixel(element.layout.xaxis, area.width), pixel(element.layout.yaxis, area.height)];
  const spots = x.map((value, i) => [left(value), area.height - up(y[i])]);
  const taken = spots.map(([px, py]) => [px - 7, py - 7, 14, 14]);
  const chosen = text.map((name, i) => freePlace(spots[i], name.length * LETTER, area, taken));
  const shown = text.map((name, i) => (chosen[i] ? name : ""));
  await Plotly.restyle(element, { text: [shown], textposition: [chosen.map((place) => place ?? "middle right")] }, [points]);
}

/** Zooming and another width of the window ask for other places. */
function watchLabels() {
  for (const { element } of figures.values()) {
    if (element.id.endsWith("-cost")) element.on("plotly_relayout", () => placeLabels(element));
  }
}

/** The first place for a name that is free, which is then taken. */
function freePlace([x, y], width, area, taken) {
  for (const [name, corner] of Object.entries(PLACES)) {
    const box = [...corner(x, y, width, 13), width, 13];
    const inside = box[0] >= 0 && box[0] + width <= area.width && box[1] >= 0 && box[1] + 13 <= area.height;
    if (inside && !taken.some((other) => touches(box, other))) {
      taken.push(box);
      return name;
    }
  }
  return null;
}

function touches([x, y, w, h], [otherX, otherY, otherW, otherH]) {
  return x < otherX + otherW && otherX < x + w && y < otherY + otherH && otherY < y + h;
}
