/* Health: one word, then a row for each check; what is wrong comes first, with what to do about it. */

const MARKS = { ok: "✓", warn: "!", fail: "✗", skipped: "–", healthy: "✓", degraded: "!", unhealthy: "✗" };
const milliseconds = (ms) => (ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en-US"));

class Health extends Face {
  constructor() {
    super("Health");
    this.word = h("b", { className: "vastnb-health-word" });
    this.about = h("small", {});
    this.again = h("button", { type: "button", className: "vastnb-main", onclick: () => this.check() }, "Check again");
    this.rows = h("tbody", {});
    this.table = h("table", { className: "vastnb-checks", hidden: true },
      h("thead", {}, h("tr", {}, ["Status", "Check", "What was seen, and what to do", "p50, ms", "p95, ms"].map((name) => h("th", { scope: "col" }, name)))), this.rows);
    this.root.append(
      h("div", { className: "vastnb-health-top" }, h("div", {}, h("span", { role: "status" }, this.word), this.about, this.busyText), this.again),
      this.errorBox, this.table);
  }

  follows() { return { _told: () => this.drawReport(), _busy: () => { this.drawBusy(); this.drawButton(); } }; }

  attach(model) {
    super.attach(model);
    if (!model.get("_told") && !this.asked) this.check();
    this.asked = true;
  }

  /** One check at a time: the button keeps its focus meanwhile. */
  check() {
    if (!this.model.get("_busy")) this.order({ do: "check" });
  }

  drawButton() {
    this.again.setAttribute("aria-disabled", Boolean(this.model.get("_busy")));
    if (!this.model.get("_busy")) this.left();
  }

  drawReport() {
    const told = this.model.get("_told");
    this.table.hidden = !told;
    this.again.textContent = told ? "Check again" : "Check";
    this.word.className = `vastnb-health-word vastnb-is-${told?.word}`;
    this.word.replaceChildren(...(told ? [h("span", { "aria-hidden": "true" }, MARKS[told.word]), told.word] : ["not checked yet"]));
    this.about.textContent = told ? told.about.join(" · ") : "";
    this.rows.replaceChildren(...(told?.checks ?? []).map((check) => this.row(check)));
    if (told) this.left();
  }

  row({ name, status, seen, remedy, p50_ms, p95_ms }) {
    const time = (ms) => h("td", { className: "vastnb-time" }, ms == null ? "" : milliseconds(ms));
    return h("tr", { className: `vastnb-is-${status}` },
      h("td", {}, h("span", { className: "vastnb-mark", "aria-hidden": "true" }, MARKS[status]), status),
      h("th", { scope: "row" }, name),
      h("td", {}, h("span", { dir: "auto" }, seen), remedy ? h("div", { className: "vastnb-remedy", dir: "auto" }, remedy) : null),
      time(p50_ms), time(p95_ms));
  }
}

export default widget(() => new Health());
