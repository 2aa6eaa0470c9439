// What a Vega-Lite specification says, as far as it is drawn here: one mark, values in it, x in words, y in numbers, a colour for each series.
const MARKS = { bar: "bar", line: "line", point: "point", circle: "point", area: "area" };
const MOST_VALUES = 1000;
const MOST_SERIES = 8;

/** Throws RangeError, whose message names what is not drawn. */
export function readChart(spec) {
  if (spec === null || typeof spec !== "object" || Array.isArray(spec)) refuse("what is no object in JSON");
  only(spec, "the whole", ["$schema", "mark", "data", "encoding", "title", "name", "description", "width", "height"]);
  const said = typeof spec.mark === "string" ? { type: spec.mark } : (spec.mark ?? {});
  only(said, "mark", ["type", "point", "tooltip"]);
  const mark = Object.hasOwn(MARKS, said.type) ? MARKS[said.type] : refuse(`the mark “${said.type}”`);
  const rows = spec.data?.values;
  if (!Array.isArray(rows)) refuse("data from elsewhere");
  if (!rows.length || rows.length > MOST_VALUES) refuse(`${rows.length} values`);
  const encoding = spec.encoding ?? {};
  only(encoding, "encoding", ["x", "y", "color", "tooltip"]);
  const x = channel(encoding.x, "x", ["nominal", "ordinal"]);
  const y = channel(encoding.y, "y", ["quantitative"]);
  const color = encoding.color ? channel(encoding.color, "color", ["nominal", "ordinal"]) : null;

  const told = rows.filter((row) => row !== null && typeof row === "object" && Number.isFinite(row[y.field]));
  if (!told.length) refuse("a chart without numbers");
  const categories = [...new Set(told.map((row) => label(row[x.field])))];
  if (x.sort !== null) categories.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (x.sort === "descending") categories.reverse();
  const series = color ? [...new Set(told.map((row) => label(row[color.field])))] : [y.title];
  if (series.length > MOST_SERIES) refuse(`${series.length} series`);

  const stacked = mark === "bar" || mark === "area";
  const heights = new Map(); // of what stands on each other: above zero and below it
  const points = told.map((row) => {
    const category = categories.indexOf(label(row[x.field]));
    const value = row[y.field];
    const side = `${category} ${value < 0}`;
    const from = stacked ? (heights.get(side) ?? 0) : 0;
    heights.set(side, from + value);
    return { category, series: color ? series.indexOf(label(row[color.field])) : 0, value, from, upto: from + value };
  });
  const ends = points.map((point) => point.upto);
  const line = (index) => points.filter((point) => point.series === index).sort((a, b) => a.category - b.category);
  return { mark, categories, series, points, line, bottom: Math.min(0, ...ends), top: Math.max(0, ...ends), xTitle: x.title, yTitle: y.title, colorTitle: color?.title ?? "" };
}

/** Round numbers from at most `bottom` to at least `top`, about five. */
export function ticks(bottom, top) {
  const rough = (top - bottom || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.floor(bottom / step);
  const last = Math.max(first + 1, Math.ceil(top / step));
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

function channel(said, name, types) {
  if (!said) refuse(`a chart without ${name}`);
  only(said, name, ["field", "type", "title", "sort"]);
  if (typeof said.field !== "string") refuse(`${name} without a field`);
  if (!types.includes(said.type)) refuse(`${name} of the type “${said.type}”`);
  if (![undefined, null, "ascending", "descending"].includes(said.sort)) refuse(`${name} in that order`);
  return { field: said.field, sort: said.sort, title: label(said.title ?? said.field) };
}

function only(said, where, known) {
  const other = Object.keys(said).find((name) => !known.includes(name));
  if (other !== undefined) refuse(`“${other}” of ${where}`);
}

function refuse(what) {
  throw new RangeError(what);
}

const label = (value) => (value === null || value === undefined ? "(none)" : String(value));
