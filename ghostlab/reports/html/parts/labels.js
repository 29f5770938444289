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
