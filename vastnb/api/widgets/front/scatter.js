
const CHART = { width: 280, height: 320, left: 38, right: 8, top: 20, bottom: 38 };

/** Where `value` lies between `low` and `high`, 0 to 1, by powers of ten. */
const share = (value, low, high) => (Math.log10(value) - Math.log10(low)) / (Math.log10(high) - Math.log10(low));

/** The offers as points, price to the right and performance upwards, and the line of those that nothing beats at their price. */
class Scatter {
  constructor(onPick) {
    this.onPick = onPick;
    const path = (name) => h("svg:path", { class: `vastnb-${name}` });
    [this.dots, this.best, this.picked, this.near, this.frame] = ["dots", "best", "picked", "near", "frame"].map(path);
    this.ticks = h("svg:g", { class: "vastnb-ticks" });
    this.titles = h("svg:g", { class: "vastnb-titles" });
    this.svg = h("svg:svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", onpointermove: (e) => this.moved(e),
      onpointerdown: (e) => this.pressed(e), onpointerup: (e) => this.released(e), onpointerleave: () => this.point(null) },
    this.ticks, this.titles, this.best, this.dots, this.picked, this.near, this.frame);
    this.caption = h("figcaption", { "aria-hidden": "true" });
    this.node = h("figure", {}, this.svg, this.caption);
  }

  setColumns(x, y, name) {
    [this.x, this.y, this.name] = [x, y, name];
    this.node.hidden = !x || !y;
    if (this.node.hidden) return;
    const text = (x, y, anchor, words) => h("svg:text", { x, y, "text-anchor": anchor }, words);
    this.titles.replaceChildren(text(0, 11, "start", "DLPerf, deep learning score"),
      text((CHART.left + CHART.width) / 2, CHART.height - 4, "middle", `${x.head}, ${x.unit}`));
  }

  draw(rows, chosen) {
    if (this.node.hidden) return;
    const [x, y] = [this.x.values, this.y.values];
    const known = rows.filter((row) => x[row] > 0 && y[row] > 0);
    const ends = (values) => known.reduce(([low, high], row) => [Math.min(low, values[row]), Math.max(high, values[row])], [Infinity, 0]);
    const wider = ([low, high]) => (high > 0 ? [low / 1.15, high * 1.15] : [0.1, 1]);
    [this.xs, this.ys] = [wider(ends(x)), wider(ends(y))];
    this.points = known.map((row) => [row, this.across(x[row]), this.up(y[row])]);
    const place = new Map(this.points.map((p) => [p[0], p]));
    const dotted = (points) => points.map(([, a, b]) => `M${a.toFixed(1)} ${b.toFixed(1)}h0`).join("");
    this.dots.setAttribute("d", dotted(this.points));
    this.picked.setAttribute("d", dotted([...chosen].map((row) => place.get(row)).filter(Boolean)));
    this.best.setAttribute("d", this.frontier());
    this.drawTicks();
    this.titles.setAttribute("visibility", known.length ? "visible" : "hidden");
    this.svg.setAttribute("aria-label", `Price and performance of ${known.length} offers; ${chosen.size} chosen. The table holds the same offers.`);
    this.point(null);
  }

  across(value) { return CHART.left + share(value, ...this.xs) * (CHART.width - CHART.left - CHART.right); }
  up(value) { return CHART.height - CHART.bottom - share(value, ...this.ys) * (CHART.height - CHART.top - CHART.bottom); }

  /** From cheap to dear, each step one that is faster than all before. */
  frontier() {
    const [x, y] = [this.x.values, this.y.values];
    let top = 0;
    const steps = [...this.points].sort((a, b) => x[a[0]] - x[b[0]] || y[b[0]] - y[a[0]]).filter(([row]) => y[row] > top && (top = y[row]));
    return steps.map(([, a, b], i) => (i ? `H${a.toFixed(1)}V${b.toFixed(1)}` : `M${a.toFixed(1)} ${b.toFixed(1)}`)).join("");
  }

  drawTicks() {
    const ticks = (low, high) => {
      const all = [];
      for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) all.push(...[1, 2, 5].map((n) => n * power));
      const inside = all.filter((tick) => tick >= low && tick <= high);
      return inside.length > 6 ? inside.filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6)) : inside;
    };
    const words = (tick) => Number(tick.toPrecision(1)).toLocaleString("en-US", { maximumFractionDigits: 3 });
    const [bottom, right] = [CHART.height - CHART.bottom, CHART.width - CHART.right];
    const line = (d, at, anchor, tick) => [h("svg:path", { d }), h("svg:text", { ...at, "text-anchor": anchor }, words(tick))];
    this.ticks.replaceChildren(...(this.points.length ? [
      ...ticks(...this.xs).flatMap((t) => line(`M${this.across(t)} ${CHART.top}V${bottom}`, { x: this.across(t), y: bottom + 15 }, "middle", t)),
      ...ticks(...this.ys).flatMap((t) => line(`M${CHART.left} ${this.up(t)}H${right}`, { x: CHART.left - 5, y: this.up(t) + 4 }, "end", t))] : []));
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    return [(event.clientX - box.left) * (CHART.width / box.width), (event.clientY - box.top) * (CHART.height / box.height)];
  }

  nearest([a, b]) {
    let found = null, least = 14 ** 2;
    for (const point of this.points ?? []) {
      const far = (point[1] - a) ** 2 + (point[2] - b) ** 2;
      if (far < least) [found, least] = [point, far];
    }
    return found;
  }

  point(point) {
    this.near.setAttribute("d", point ? `M${point[1]} ${point[2]}h0` : "");
    this.caption.textContent = point ? this.name(point[0]) : this.points.length ? "Click a point, or drag over several." : "";
  }

  moved(event) {
    const here = this.at(event);
    if (this.start) {
      const [[a, b], [c, d]] = [this.start, here];
      this.frame.setAttribute("d", `M${a} ${b}H${c}V${d}H${a}Z`);
    } else this.point(this.nearest(here));
  }

  pressed(event) {
    this.start = this.at(event);
    this.svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  released(event) {
    if (!this.start) return;
    const [[a, b], [c, d]] = [this.start, this.at(event)];
    this.start = null;
    this.frame.setAttribute("d", "");
    const inside = ([, x, y]) => (x - a) * (x - c) <= 0 && (y - b) * (y - d) <= 0;
    const near = this.nearest([c, d]);
    const dragged = Math.abs(a - c) + Math.abs(b - d) > 8;
    const rows = dragged ? this.points.filter(inside).map(([row]) => row) : near ? [near[0]] : [];
    this.onPick(rows, event.ctrlKey || event.metaKey || event.shiftKey);
  }
}
