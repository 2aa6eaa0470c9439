// A chart in Vega-Lite, drawn as SVG: the part of it that the data assistant writes. What has no drawing here is named, and shown as JSON.
import { readChart, ticks } from "./chart_data.js";
import { el, svg } from "./dom.js";
import { jsonView, parsed } from "./json_view.js";

const HEIGHT = 250;
const LETTER = 6.6; // pixels that a letter takes at most, nearly always
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

/** text: a specification. */
export function chartView(text) {
  const value = parsed(text);
  const name = "Chart (Vega-Lite)";
  const shown = value === undefined ? el("pre", { class: "json", tabindex: "0", role: "group", "aria-label": name }, text) : jsonView(value);
  let chart;
  try {
    chart = readChart(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return el("figure", { class: "drawn" }, el("figcaption", { class: "hint" }, `This page does not draw ${error.message}. It is this chart:`), shown);
  }
  const plot = el("div", { class: "plot" });
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width > 0) plot.replaceChildren(draw(chart, Math.floor(contentRect.width)));
  }).observe(plot);
  const legend = chart.series.length > 1 ? el("ul", { class: "legend", "aria-label": chart.colorTitle }, chart.series.map((each, index) => el("li", {}, el("i", { class: `s${index}` }), each))) : "";
  return el("figure", { class: "drawn" }, plot, legend, el("details", {}, el("summary", {}, name), shown));
}

function draw(chart, width) {
  const { mark, categories, points, bottom, top } = chart;
  const steps = ticks(bottom, top);
  const [lowest, highest] = [steps[0], steps.at(-1)];
  const longest = Math.min(16, Math.max(...categories.map((each) => each.length)));
  const scale = 10 + LETTER * Math.max(...steps.map((step) => compact.format(step).length));
  const turned = longest * LETTER > (width - scale) / categories.length - 4;
  const left = turned ? Math.max(scale, longest * LETTER * 0.77 - (width - scale) / categories.length / 2) : scale;
  const band = (width - left - 4) / categories.length;
  const foot = HEIGHT - (turned ? 30 + longest * 4.6 : 36);
  const x = (category) => left + band * (category + 0.5);
  const y = (value) => 20 + (foot - 20) * (1 - (value - lowest) / (highest - lowest));

  const grid = steps.flatMap((step) => [
    svg("line", { class: step === 0 ? "axis" : "grid", x1: left, x2: width, y1: y(step), y2: y(step) }),
    svg("text", { x: left - 5, y: y(step) + 4, "text-anchor": "end" }, compact.format(step)),
  ]);
  const every = Math.max(1, Math.ceil(14 / band));
  const labels = categories.map((words, index) => {
    if (index % every) return "";
    const at = turned ? { x: 0, y: 0, transform: `translate(${x(index) + 4} ${foot + 14}) rotate(-40)`, "text-anchor": "end" } : { x: x(index), y: foot + 16, "text-anchor": "middle" };
    return svg("text", at, words.length > 16 ? `${words.slice(0, 15)}…` : words);
  });
  const titles = [svg("text", { class: "title", x: 0, y: 10 }, chart.yTitle), svg("text", { class: "title", x: (left + width) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, chart.xTitle)];
  const hint = (shape, point) => {
    shape.append(svg("title", {}, `${categories[point.category]}${chart.series.length > 1 ? `, ${chart.series[point.series]}` : ""}: ${exact.format(point.value)}`));
    return shape;
  };
  const bars = () => points.map((point) => {
    const [from, upto] = [y(point.from), y(point.upto)];
    return hint(svg("rect", { class: `s${point.series}`, x: x(point.category) - band * 0.38, width: band * 0.76, y: Math.min(from, upto), height: Math.max(1, Math.abs(from - upto)) }), point);
  });
  const dots = () => points.map((point) => hint(svg("circle", { class: `s${point.series}`, cx: x(point.category), cy: y(point.upto), r: 3.5 }), point));
  const along = (line) => line.map((point) => `${x(point.category)},${y(point.upto)}`);
  const lines = () => chart.series.map((_, index) => svg("polyline", { class: `s${index}`, points: along(chart.line(index)).join(" ") }));
  const areas = () => chart.series.map((_, index) => {
    const back = chart.line(index).reverse().map((point) => `${x(point.category)},${y(point.from)}`);
    return svg("polygon", { class: `s${index}`, points: [...along(chart.line(index)), ...back].join(" ") });
  });
  const shapes = { bar: bars, line: () => [...lines(), ...dots()], point: dots, area: () => [...areas(), ...dots()] }[mark]();
  const values = points.map((point) => point.value);
  const words = `${{ bar: "Bars", line: "Lines", point: "Points", area: "Areas" }[mark]}: ${chart.yTitle} by ${chart.xTitle}, ${points.length} values from ${exact.format(Math.min(...values))} to ${exact.format(Math.max(...values))}.`;
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": words }, ...grid, ...shapes, ...labels, ...titles);
}
