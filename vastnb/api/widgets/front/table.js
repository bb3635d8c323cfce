
const ROW = 28, HEIGHT = 330;
const ARRAYS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array, u2: Uint16Array };

/** A column as the kernel packed it: `values`, how to write and how to compare one, and whether it is known. */
function unpack(column) {
  const { buffer, byteOffset, byteLength } = column.data;
  const values = new ARRAYS[column.type](buffer.slice(byteOffset, byteOffset + byteLength));
  const number = new Intl.NumberFormat("en-US", column.format);
  const write = {
    number: (v) => number.format(v),
    flag: (v) => (v ? "yes" : "no"),
    time: (v) => new Date(v * 1000).toISOString().slice(0, 16).replace("T", " "),
    text: (v) => column.words[v],
  }[column.kind];
  const absent = { number: (v) => v !== v, time: (v) => v !== v, flag: (v) => v === 2, text: (v) => v === 0 }[column.kind];
  let ranks = values;
  if (column.kind === "text") {
    const order = column.words.map((_, i) => i).sort((a, b) => (column.words[a] ?? "").localeCompare(column.words[b] ?? ""));
    const rank = new Int32Array(order.length);
    order.forEach((word, place) => { rank[word] = place; });
    ranks = Int32Array.from(values, (v) => rank[v]);
  }
  const text = (row) => (absent(values[row]) ? "–" : write(values[row]));
  return { ...column, values, ranks, absent: (row) => absent(values[row]), text, left: column.kind === "text" };
}

const pen = document.createElement("canvas").getContext("2d");

/** The room a column needs, from its heads and its extremes: measuring every cell would take longer than drawing the table. */
function widthOf(column) {
  let [low, high] = [0, 0];
  column.values.forEach((v, row) => {
    if (column.absent(low) || v < column.values[low]) low = row;
    if (column.absent(high) || v > column.values[high]) high = row;
  });
  const cells = column.kind === "text" ? column.words.slice(1, 1000) : column.values.length ? [column.text(low), column.text(high)] : [];
  const wide = (font, words) => {
    pen.font = `${font} 12px ${getComputedStyle(document.body).fontFamily}`;
    return words.reduce((most, word) => Math.max(most, pen.measureText(word).width), 0);
  };
  return Math.min(160, 12 + Math.max(wide("600", [column.head]), wide("400", [`↑ ${column.unit}`, ...cells])));
}

/** A grid of any length: only the rows in sight are in the page. Rows are numbers; what is chosen is a set of them. */
class Table {
  constructor(onChoose) {
    this.chosen = new Set();
    this.shown = [];
    this.sort = null;
    this.active = 0;
    this.onChoose = onChoose;
    this.id = `vastnb-${Math.random().toString(36).slice(2)}`;
    this.cols = h("colgroup");
    this.head = h("tr", { role: "row" });
    this.body = h("tbody", { onclick: (e) => this.clicked(e) });
    [this.above, this.below] = [h("tbody"), h("tbody")];
    this.node = h("table", { role: "grid", tabIndex: 0, "aria-label": "Offers", "aria-multiselectable": "true", onkeydown: (e) => this.key(e) },
      this.cols, h("thead", {}, this.head), this.above, this.body, this.below);
    this.scroller = h("div", { className: "vastnb-scroll", onscroll: () => { this.top = this.scroller.scrollTop; this.draw(); } }, this.node);
    new ResizeObserver(() => { this.scroller.scrollTop = this.top ?? 0; }).observe(this.scroller);
  }

  setColumns(columns) {
    this.columns = columns;
    const widths = [28, ...columns.map(widthOf)];
    this.cols.replaceChildren(...widths.map((width) => {
      const col = h("col");
      col.style.width = `${width}px`;
      return col;
    }));
    this.node.style.minWidth = `${widths.reduce((a, b) => a + b)}px`;
    this.drawHead();
  }

  drawHead() {
    const order = (c) => (this.sort?.name !== c.name ? "none" : this.sort.down ? "descending" : "ascending");
    const arrow = { none: "", ascending: "↑ ", descending: "↓ " };
    this.head.replaceChildren(
      h("th", { role: "columnheader", "aria-label": "chosen" }),
      ...this.columns.map((c) => h("th", { role: "columnheader", className: c.left ? "vastnb-left" : "", "aria-sort": order(c), title: c.meaning },
        h("button", { type: "button", onclick: () => this.sortBy(c.name) }, c.head, h("small", {}, `${arrow[order(c)]}${c.unit}` || "\u00a0")))));
  }

  sortBy(name) {
    this.sort = this.sort?.name === name ? { name, down: !this.sort.down } : { name, down: false };
    this.drawHead();
    this.setShown(this.shown, true);
    [...this.head.children][this.columns.findIndex((c) => c.name === name) + 1]?.firstChild.focus();
  }

  /** Show these rows. Those whose value is not known come last, whichever the direction. */
  setShown(rows, toTop = false) {
    const by = this.sort && this.columns.find((c) => c.name === this.sort.name);
    this.shown = rows;
    if (by) {
      const known = rows.filter((row) => !by.absent(row)), sign = this.sort.down ? -1 : 1;
      known.sort((a, b) => sign * (by.ranks[a] - by.ranks[b]) || a - b);
      this.shown = [...known, ...rows.filter((row) => by.absent(row))];
    }
    this.active = Math.max(0, Math.min(this.active, this.shown.length - 1));
    if (toTop) this.scroller.scrollTop = this.active = 0;
    this.node.setAttribute("aria-rowcount", this.shown.length + 1);
    this.draw();
  }

  draw() {
    if (!this.columns) return;
    const last = this.shown.length - Math.floor(HEIGHT / ROW) + 2;  // where it may stand is behind that after a filter
    const first = Math.max(0, Math.min(Math.floor(this.scroller.scrollTop / ROW), last) - 3);
    const rows = this.shown.slice(first, first + Math.ceil(HEIGHT / ROW) + 6);
    this.body.replaceChildren(...rows.map((row, i) => this.row(row, first + i)));
    const space = (body, count) => {
      const tr = h("tr", { "aria-hidden": "true" });
      tr.style.height = `${count * ROW}px`;
      body.replaceChildren(...(count > 0 ? [tr] : []));
    };
    space(this.above, first);
    space(this.below, this.shown.length - first - rows.length);
    this.node.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
  }

  row(row, place) {
    const chosen = this.chosen.has(row);
    return h("tr", { role: "row", id: `${this.id}-${place}`, className: place === this.active ? "vastnb-active" : "", "aria-rowindex": place + 2,
      "aria-selected": String(chosen), "data-place": place },
      h("td", { role: "gridcell", className: "vastnb-tick" }, h("span", { "aria-hidden": "true" }, chosen ? "✓" : "")),
      ...this.columns.map((c) => h("td", { role: "gridcell", className: c.left ? "vastnb-left" : "", title: c.left ? c.text(row) : "" }, c.text(row))));
  }

  clicked(event) {
    const place = Number(event.target.closest("tr").dataset.place);
    const toggles = event.ctrlKey || event.metaKey || event.target.closest("td").classList.contains("vastnb-tick");
    this.choose(place, event.shiftKey ? "to" : toggles ? "toggle" : "only");
  }

  /** `only` this row, `toggle` it, or all from the last one `to` it. */
  choose(place, how) {
    const row = this.shown[place];
    if (row === undefined) return;
    const alone = this.chosen.size === 1 && this.chosen.has(row);
    if (how === "to") {
      const [from, to] = [this.active, place].sort((a, b) => a - b);
      for (const between of this.shown.slice(from, to + 1)) this.chosen.add(between);
    } else if (how === "only") this.chosen = new Set(alone ? [] : [row]);
    else if (!this.chosen.delete(row)) this.chosen.add(row);
    this.active = place;
    this.changed();
  }

  changed() {
    this.draw();
    this.onChoose(this.chosen);
  }

  key(event) {
    if (event.target !== this.node) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2), last = this.shown.length - 1;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const control = event.ctrlKey || event.metaKey;
    if (event.key in moves && !control) {
      const place = Math.max(0, Math.min(last, this.active + moves[event.key]));
      if (event.shiftKey) this.choose(place, "to");
      this.goTo(place);
    } else if (event.key === " ") this.choose(this.active, "toggle");
    else if (event.key === "Enter") this.choose(this.active, "only");
    else if (event.key === "a" && control) { this.chosen = new Set(this.shown); this.changed(); }
    else if (event.key === "Escape") { this.chosen = new Set(); this.changed(); }
    else return;
    event.preventDefault();
  }

  goTo(place) {
    const box = this.scroller, head = this.head.offsetHeight, top = place * ROW;
    this.active = place;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW > box.scrollTop + box.clientHeight - head) box.scrollTop = top + ROW + head - box.clientHeight;
    this.top = box.scrollTop;
    this.draw();
  }
}
