
const TESTS = { ">=": (a, b) => a >= b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, "<": (a, b) => a < b, "=": (a, b) => a === b };
const LOW = [">=", ">", "="], HIGH = ["<=", "<", "="];
const round = (value) => Number(value.toPrecision(12));
const usd = (value, digits = 2) => (value !== value ? "unknown price" : `$${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`);

/** A value as the query takes it: blanks become underscores, anything else that is not plain is quoted. */
const quoted = (word) => (/^[\w. +-]+$/.test(word) ? word.replaceAll(" ", "_") : word.includes('"') ? `'${word}'` : `"${word}"`);

class Selector extends Face {
  constructor(model) {
    super("Offers");
    [this.state, this.seq] = [{}, 0];
    const { controls, rentals } = model.get("_fixed");
    this.controls = controls;
    this.filterSoon = throttled(() => { this.filter(); this.ask(); });
    this.sayChosen = throttled(() => this.say({ do: "select", rows: [...this.table.chosen], version: this.version }));
    this.table = new Table(() => { this.sayChosen(); this.drawChosen(); });
    this.scatter = new Scatter((rows, more) => {
      this.table.chosen = new Set(more ? [...this.table.chosen, ...rows] : rows);
      this.table.changed();
    });
    this.fields = controls.filter((c) => c.label !== "Disk").map((c) => this.control(c));
    this.rental = h("select", { onchange: () => this.change() }, rentals.map((r) => h("option", { value: r }, r)));
    this.disk = this.number("disk, GB", 8, () => this.diskChanged());
    this.hours = this.number("hours", 0.5, () => this.change());
    this.text = h("input", { type: "text", spellcheck: false, autocomplete: "off", "aria-label": "query, as after %vast search", placeholder: "all that is verified and can be rented",
      onchange: () => this.say({ do: "line", line: this.text.value, seq: ++this.seq }) });
    this.copy = h("button", { type: "button", title: "copy the line", onclick: () => this.copied() }, "Copy");
    this.search = h("button", { type: "button", className: "vastnb-main", onclick: () => this.searchNow() }, "Search");
    this.badges = h("div", { className: "vastnb-badges" });
    this.empty = h("div", { className: "vastnb-empty", hidden: true });
    this.sum = h("span", { role: "status" });
    this.clear = h("button", { type: "button", onclick: () => { this.table.chosen = new Set(); this.table.changed(); } }, "Clear");
    this.menu = h("div", { className: "vastnb-list" });
    const labelled = (label, ...nodes) => h("label", { className: "vastnb-field" }, h("span", {}, label), h("span", { className: "vastnb-ends" }, ...nodes));
    this.line = h("div", { className: "vastnb-line" }, h("code", {}, "%vast search"), this.text, this.copy, this.search);
    this.market = [labelled("Rental", this.rental)];
    this.root.append(
      h("div", { className: "vastnb-filters" }, ...this.fields.map((f) => f.node), ...this.market, labelled("Disk, GB", this.disk), labelled("Job, hours", this.hours)),
      this.line, this.errorBox, this.badges,
      h("div", { className: "vastnb-main-part" }, h("div", { className: "vastnb-offers" }, this.table.scroller, this.empty), this.scatter.node),
      h("div", { className: "vastnb-foot" }, this.sum, this.clear,
        h("details", { className: "vastnb-pick vastnb-up" }, h("summary", {}, "Columns"), h("div", { className: "vastnb-pop" }, this.menu))));
    this.root.addEventListener("keydown", (e) => this.keyed(e));
  }

  follows() {
    return { _busy: () => { this.drawBusy(); this.drawAbout(); }, _question: () => this.takeQuestion(), _table: () => { this.takeTable(); this.left(); }, _selected: () => this.inUse() || this.takeChosen(), _models: () => this.drawLists() };
  }

  attach(model) {
    super.attach(model);
    clearInterval(this.clockAge);
    this.clockAge = setInterval(() => this.drawAbout(), 30000);
    if (model.get("_about").market && !model.get("_about").asked && !this.askedOnce) this.searchNow();
    this.askedOnce = true;
  }

  detached() { super.detached(); clearInterval(this.clockAge); }

  left() {
    this.sayChosen.now();
    super.left();
  }

  // ---------------------------------------------------------------- controls

  number(label, min, act) {
    return h("input", { type: "number", min, step: "any", "aria-label": label, oninput: act });
  }

  control(c) {
    if (c.kind === "choice") return this.picker(c);
    if (c.kind === "flag") {
      const box = h("input", { type: "checkbox", onchange: () => this.set(c, box.checked ? { "=": true } : {}) });
      return { c, node: h("label", { className: "vastnb-field", title: c.hint }, h("span", {}, c.label), h("span", { className: "vastnb-ends" }, box, "only")),
        draw: (ops) => { box.checked = Boolean(ops["="]); } };
    }
    const ends = c.ends.map((end) => {
      const input = this.number(`${c.label} ${end === "low" ? "at least" : "at most"}`, 0, () => this.bound(c, end, input.value));
      input.placeholder = end === "low" ? "min" : "max";
      return { signs: end === "low" ? LOW : HIGH, input };
    });
    const draw = (ops) => ends.forEach(({ signs, input }) => {
      const sign = signs.find((s) => s in ops);
      if (document.activeElement !== input) input.value = sign ? round(ops[sign] * c.scale) : "";
    });
    return { c, draw, node: h("label", { className: "vastnb-field", title: c.hint }, h("span", {}, c.unit ? `${c.label}, ${c.unit}` : c.label), h("span", { className: "vastnb-ends" }, ends.map((e) => e.input))) };
  }

  bound(c, end, written) {
    const { ...ops } = this.state[c.column] ?? {};
    const both = ops["="];
    for (const sign of end === "low" ? LOW : HIGH) delete ops[sign];
    if (both !== undefined) ops[end === "low" ? "<=" : ">="] = both;
    if (written !== "") ops[end === "low" ? ">=" : "<="] = round(Number(written) / c.scale);
    this.set(c, c.step === 1 && ops[">="] !== undefined && ops[">="] === ops["<="] ? { "=": ops[">="] } : ops);
  }

  set(c, ops) {
    if (Object.keys(ops).length) this.state[c.column] = ops;
    else delete this.state[c.column];
    this.change();
  }

  /** From now on answers to earlier questions are out of date. */
  change() {
    this.seq += 1;
    this.filterSoon();
  }

  diskChanged() {
    const disk = Number(this.disk.value);
    if (!(disk >= 8)) return;
    this.set(this.controls.find((c) => c.label === "Disk"), disk > 10 ? { ">=": disk } : {});
  }

  /** A list of what a text column holds, to tick: how many offers would fit, and from which price to which for one GPU. */
  picker(c) {
    const summary = h("summary", {});
    const find = h("input", { type: "search", placeholder: "find", "aria-label": `find in ${c.label}`, oninput: () => draw() });
    const list = h("div", { className: "vastnb-list", role: "group", "aria-label": c.label });
    const node = h("details", { className: "vastnb-pick vastnb-field", title: c.hint, ontoggle: () => {
      if (!node.open) return;
      find.value = "";
      draw();
      find.focus();
      if (c.column === "gpu_name" && this.model.get("_about").market && !Object.keys(this.model.get("_models")).length) this.order({ do: "models" });
    } }, summary, h("div", { className: "vastnb-pop" }, find, list));
    const draw = () => {
      const chosen = this.state[c.column]?.in ?? [];
      summary.replaceChildren(h("span", {}, c.label), h("b", {}, chosen.length ? chosen.slice(0, 2).join(", ") + (chosen.length > 2 ? ` +${chosen.length - 2}` : "") : "any"));
      if (!node.open) return;
      const wanted = find.value.toLowerCase().replaceAll("_", " "), focused = list.contains(document.activeElement) && document.activeElement.value;
      list.replaceChildren(...this.counted(c, chosen).filter(({ word }) => word.toLowerCase().includes(wanted)).map(({ word, told }) => {
        const box = h("input", { type: "checkbox", value: word, checked: chosen.includes(word), onchange: () => {
          const now = (this.state[c.column]?.in ?? []).filter((w) => w !== word);
          this.set(c, box.checked || now.length ? { in: box.checked ? [...now, word] : now } : {});
        } });
        return h("label", {}, box, h("span", {}, word), h("small", {}, told));
      }));
      if (focused) [...list.querySelectorAll("input")].find((box) => box.value === focused)?.focus();
    };
    return { c, node, draw };
  }

  counted(c, chosen) {
    const column = this.columns[c.column], price = this.columns.usd_per_gpu_hour?.values, found = new Map(chosen.map((word) => [word, [0, Infinity, 0]]));
    for (const row of column ? this.fitting(c.column) : []) {
      if (column.absent(row)) continue;
      const word = column.text(row), seen = found.get(word) ?? [0, Infinity, 0];
      found.set(word, [seen[0] + 1, Math.min(seen[1], price?.[row] ?? Infinity), Math.max(seen[2], price?.[row] ?? 0)]);
    }
    const range = ([, low, high]) => (high > 0 ? ` · ${usd(low)}${high - low >= 0.01 ? `–${usd(high)}` : ""}` : "");
    const here = [...found].sort((a, b) => b[1][0] - a[1][0]).map(([word, seen]) => ({ word, told: `${seen[0]}${range(seen)}` }));
    const others = c.column === "gpu_name" ? Object.entries(this.model.get("_models")).filter(([word]) => !found.has(word)) : [];
    return [...here, ...others.map(([word, seen]) => ({ word, told: `not here${range(seen)}` }))];
  }

  // ---------------------------------------------------------------- the question

  /** The query in words: what the controls cannot show comes first, so that an `any` in it takes nothing back. */
  query() {
    const parts = [this.rest];
    for (const { column, ask, kind } of this.controls) {
      const ops = this.state[column] ?? {};
      if (kind === "choice" && ops.in) parts.push(ops.in.length === 1 ? `${ask}=${quoted(ops.in[0])}` : `${ask} in [${ops.in.map(quoted).join(",")}]`);
      else for (const [sign, value] of Object.entries(ops)) parts.push(ask + sign + value);
    }
    return parts.filter(Boolean).join(" ");
  }

  ask() {
    const question = { query: this.query(), rental: this.rental.value, disk_gb: Math.max(8, Number(this.disk.value) || 10), hours: Number(this.hours.value) || 1 };
    this.text.value = this.lineOf(question);
    this.asked = question;
    this.say({ do: "ask", seq: this.seq, ...question });
    this.drawAbout();
  }

  lineOf({ query, rental, disk_gb }) {
    return [query, rental !== "on-demand" && `--type ${rental}`, disk_gb !== 10 && `--storage ${disk_gb}`].filter(Boolean).join(" ");
  }

  /** What the kernel made of a question; the answer to one that is no longer the last is passed over. */
  takeQuestion() {
    const question = this.model.get("_question");
    if (question.seq < this.seq) return;
    [this.seq, this.asked, this.rest, this.state] = [question.seq, question, question.rest, structuredClone(question.state)];
    const { buffer, byteOffset, byteLength } = question.fits;
    this.fits = byteLength ? new Uint8Array(buffer, byteOffset, byteLength) : null;
    this.text.value = this.lineOf(question);
    this.rental.value = question.rental;
    for (const [input, value] of [[this.disk, question.disk_gb], [this.hours, question.hours]]) if (document.activeElement !== input) input.value = value;
    if (this.columns) this.filter();
    this.drawAbout();
  }

  searchNow() {
    this.filterSoon.now();
    this.order({ do: "search", line: this.text.value, seq: ++this.seq });
  }

  /** Whether the filters ask for something else than what is on the screen is the answer to. */
  changed() {
    const { asked } = this.model.get("_about");
    return !asked || ["query", "rental", "disk_gb"].some((name) => asked[name] !== this.asked[name]);
  }

  copied() {
    const line = `%vast search ${this.text.value}`.trim();
    const done = () => { this.copy.textContent = "Copied"; setTimeout(() => { this.copy.textContent = "Copy"; }, 1500); };
    if (navigator.clipboard) navigator.clipboard.writeText(line).then(done, () => this.text.select());
    else this.text.select();
  }

  keyed(event) {
    const list = event.key === "Escape" && this.root.querySelector("details[open]");
    if (list) {
      list.open = false;
      list.firstChild.focus();
    }
    if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.target.type === "checkbox") return;
    event.preventDefault();
    if (event.target.type === "search") event.target.nextSibling.querySelector("input")?.click();
    else if (this.model.get("_about").market) this.searchNow();
    else event.target.dispatchEvent(new Event("change"));
  }

  // ---------------------------------------------------------------- the offers

  takeTable() {
    const table = this.model.get("_table");
    this.count = table.rows;
    this.columns = Object.fromEntries(table.columns.map((c) => [c.name, unpack(c)]));
    this.names ??= this.model.get("_columns");
    this.table.setColumns(this.names.filter((name) => name in this.columns).map((name) => this.columns[name]));
    const { usd_per_hour: price, dlperf, gpu_name: gpu, num_gpus: gpus } = this.columns;
    this.scatter.setColumns(price, dlperf, (row) => `${gpus?.text(row) ?? 1} × ${gpu.text(row)} · $${price.text(row)}/h · DLPerf ${dlperf.text(row)}`);
    this.drawMenu(table.choices);
    if (table.version !== this.version) this.takeChosen();
    this.version = table.version;
    this.filter();
  }

  drawMenu(choices) {
    const known = choices.map((c) => c.name).join();
    if (known === this.known) return;
    this.known = known;
    this.menu.replaceChildren(...choices.map(({ name, head, meaning }) => {
      const box = h("input", { type: "checkbox", checked: this.names.includes(name), onchange: () => {
        this.names = this.names.filter((other) => other !== name).concat(box.checked ? name : []);
        this.say({ do: "columns", names: this.names });
      } });
      return h("label", { title: meaning }, box, h("span", {}, head), h("small", {}, name === head ? "" : name));
    }));
  }

  takeChosen() {
    this.table.chosen = new Set(this.model.get("_selected"));
    this.table.draw();
    this.drawChosen();
  }

  /** The rows that meet everything, but for what is asked of the column `except`. What is not known meets nothing: no comparison with NaN holds. */
  fitting(except) {
    const tests = Object.entries(this.state).filter(([name]) => name !== except && this.columns[name]).map(([name, ops]) => {
      const column = this.columns[name], { values } = column;
      if (ops.in) {
        const wanted = new Set(ops.in.map((word) => column.words.indexOf(word)));
        return (row) => wanted.has(values[row]);
      }
      const bounds = Object.entries(ops).map(([sign, value]) => [TESTS[sign], Math.fround(Number(value))]);
      return (row) => bounds.every(([test, bound]) => test(values[row], bound));
    });
    const rows = [];
    for (let row = 0; row < this.count; row++) if ((!this.fits || this.fits[row]) && tests.every((test) => test(row))) rows.push(row);
    return rows;
  }

  filter() {
    this.table.setShown(this.fitting());
    this.drawLists();
    this.drawChosen();
    this.drawAbout();
  }

  drawLists() {
    for (const field of this.fields) field.draw(this.state[field.c.column] ?? {});
  }

  drawChosen() {
    const { chosen, shown } = this.table;
    if (this.columns) this.scatter.draw(shown, chosen);
    const sum = (name) => [...chosen].reduce((total, row) => total + (this.columns[name]?.values[row] ?? NaN), 0);
    const [hourly, job] = chosen.size ? [sum("usd_per_hour"), sum("job_usd")] : [];
    const inSight = new Set(chosen.size ? shown : []), hidden = [...chosen].filter((row) => !inSight.has(row)).length;
    this.clear.hidden = !chosen.size;
    this.sum.textContent = !chosen.size ? "None chosen." : [`${chosen.size} chosen`, `${usd(hourly, 3)} an hour`,
      this.columns.job_usd && `${usd(job)} for ${this.model.get("_table").hours} h`, hidden && `${hidden} of them filtered out`].filter(Boolean).join(" · ");
  }

  drawAbout() {
    const about = this.model.get("_about"), question = this.model.get("_question");
    if (!this.columns) return;
    const changed = about.market && this.changed(), shown = this.table.shown.length, searched = !about.market || about.asked;
    const old = about.fetched_at ? Math.floor((Date.now() - Date.parse(about.fetched_at)) / 60000) : 0;
    const badge = (words, kind, title) => words && h("span", { className: `vastnb-badge ${kind ? `vastnb-${kind}` : ""}`, title: title ?? "" }, words);
    const count = shown === this.count ? `${shown.toLocaleString("en-US")} offers` : `${shown.toLocaleString("en-US")} of ${this.count.toLocaleString("en-US")} offers fit`;
    this.badges.replaceChildren(...[
      badge(about.source, about.practice && "practice"),
      searched && badge(count),
      about.complete && badge("complete", "", "all that the market has for this query"),
      about.complete === false && badge("incomplete", "warn", "The service caps its answers; these are the cheapest. A narrower query comes whole."),
      about.seen_at && badge(`as of ${about.seen_at}`, old > 1 && "warn", "the service's clock"),
      old > 1 && badge(`${old} min old`, "warn"),
      ...about.notes.map((note) => badge(note, "warn")),
      ...question.unanswerable.map((words) => badge(`no column for ${words}`, "warn")),
      searched && changed && badge("filters changed: Search asks the market", "accent"),
      this.busyText].filter(Boolean));
    const fresh = searched && !changed;
    this.search.textContent = fresh ? "Refresh" : "Search";
    this.search.classList.toggle("vastnb-main", !fresh);
    for (const node of this.market) node.hidden = !about.market;
    this.search.hidden = !about.market;
    this.empty.hidden = shown > 0 || this.model.get("_busy") !== "";
    const why = about.empty.length && !changed ? about.empty : this.count ? [`None of the ${this.count} offers here fits.`] : [];
    this.empty.replaceChildren(h("b", {}, searched ? "No offers." : "Not searched yet."), ...why.map((line) => h("div", {}, line)));
  }
}

export default widget((model) => new Selector(model));
