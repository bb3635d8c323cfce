
const ARMED_AFTER = 600, BACK_AFTER = 20;
const JOB_FIELDS = [["name", "Name"], ["image", "Image"], ["hours", "Job, hours", 0.01], ["disk_gb", "Disk, GB", 8],
  ["download_gb", "Download, GB", 0], ["upload_gb", "Upload, GB", 0], ["bid_usd_per_hour", "Bid, $ an hour", 0]];
const MORE_FIELDS = [["max_hours", "Ends after, hours", 0.01], ["max_usd", "At most, $ in all", 0], ["max_usd_per_hour", "At most, $ an hour", 0],
  ["idle_minutes", "Ends if idle, minutes", 0], ["at_end", "At its end", ["destroy", "stop"]], ["runtype", "Reached by", ["ssh", "jupyter"]],
  ["ports", "Ports"], ["label", "Label"], ["env", "Environment, NAME=value", "lines"], ["onstart", "On-start script", "lines"]];
const DANGEROUS = new Set(["rent", "destroy"]), QUICK = new Set(["back", "leave", "next"]);

class Launch extends Face {
  constructor(model) {
    super("Rent a machine");
    this.fields = {};
    this.changes = {};
    this.saySoon = throttled(() => { this.say({ do: "set", values: this.changes }); this.changes = {}; });
    const fields = (all) => h("div", { className: "vastnb-filters" }, all.map((given) => this.field(...given)));
    this.title = h("h3", { tabIndex: -1 });
    this.about = h("p", { className: "vastnb-about" });
    this.badges = h("div", { className: "vastnb-badges" });
    this.choice = h("select", { onchange: () => this.say({ do: "pick", offer_id: Number(this.choice.value) }) });
    this.choiceLabel = h("span", {});
    this.choiceField = h("label", { className: "vastnb-field" }, this.choiceLabel, h("span", { className: "vastnb-ends" }, this.choice));
    this.steps = h("ol", { className: "vastnb-steps", "aria-label": "how far it is" });
    this.prices = h("table", { className: "vastnb-prices" });
    this.facts = h("dl", {});
    this.details = h("dl", {});
    this.more = this.fold("More", fields(MORE_FIELDS));
    this.endings = this.fold("Who ends it when", this.details);
    this.form = h("div", { className: "vastnb-form" }, fields(JOB_FIELDS), this.more.node);
    this.warnings = h("div", { className: "vastnb-warnings", role: "alert" });
    this.note = h("p", { className: "vastnb-note", role: "status" });
    this.line = h("input", { type: "text", readOnly: true, "aria-label": "how to reach it" });
    this.copyButton = h("button", { type: "button", onclick: () => this.copied() }, "Copy");
    this.copy = h("div", { className: "vastnb-line" }, this.line, this.copyButton);
    this.main = h("button", { type: "button", className: "vastnb-main", onclick: () => this.pressed() });
    this.others = h("span", { className: "vastnb-others" });
    this.countdown = h("small", {});
    this.root.classList.add("vastnb-launch");
    this.root.append(
      h("header", {}, this.title, this.badges), this.about, this.choiceField, this.steps, this.form,
      h("div", { className: "vastnb-quote" }, this.prices, h("div", {}, this.facts, this.endings.node)), this.copy, this.warnings, this.note, this.errorBox,
      h("div", { className: "vastnb-buttons" }, this.main, this.others, this.countdown, this.busyText));
    this.root.addEventListener("keydown", (e) => this.keyed(e));
  }

  follows() {
    return { _form: () => this.drawForm(), _view: () => this.drawView() };
  }

  attach(model) {
    super.attach(model);
    if (!this.askedOnce) this.say({ do: "shown" });
    this.askedOnce = true;
  }

  detached() { super.detached(); clearInterval(this.ticking); }

  left() {
    this.saySoon.now();
    super.left();
  }

  // ---------------------------------------------------------------- fields

  /** A field by its kind: a number from a least one, a choice, some lines, or a text. */
  field(name, label, kind) {
    const tell = (value) => { this.changes[name] = value; this.saySoon(); };
    let input;
    if (Array.isArray(kind)) input = h("select", { onchange: () => tell(input.value) }, kind.map((word) => h("option", { value: word }, word)));
    else if (kind === "lines") input = h("textarea", { rows: 3, spellcheck: false, oninput: () => tell(input.value) });
    else if (typeof kind === "number") input = h("input", { type: "number", min: kind, step: "any", oninput: () => tell(input.value === "" ? null : Number(input.value)) });
    else input = h("input", { type: "text", spellcheck: false, autocomplete: "off", oninput: () => tell(input.value) });
    const told = h("small", {});
    const node = h("label", { className: `vastnb-field ${kind === "lines" ? "vastnb-wide" : ""}` }, h("span", {}, label), input, told);
    this.fields[name] = { input, node, told, kind };
    return node;
  }

  /** Something that is shown on demand. Not a list: it stays open while something else is used. */
  fold(label, inside) {
    inside.hidden = true;
    const button = h("button", { type: "button", className: "vastnb-fold", "aria-expanded": "false", onclick: () => {
      inside.hidden = !inside.hidden;
      button.setAttribute("aria-expanded", String(!inside.hidden));
    } }, label);
    return { node: h("div", {}, button, inside), button };
  }

  drawForm() {
    const { values, usual, env, bids, open } = this.model.get("_form");
    for (const [name, { input, node, told, kind }] of Object.entries(this.fields)) {
      input.disabled = !open;
      if (name === "env") told.textContent = env.length ? `set: ${env.join(", ")}` : "";
      else if (input !== this.root.ownerDocument.activeElement && !(name in this.changes)) input.value = values[name] ?? (Array.isArray(kind) ? kind[0] : "");
      if (name !== "env" && !Array.isArray(kind)) input.placeholder = usual[name] ?? "";
      if (name === "bid_usd_per_hour") node.hidden = !bids;
    }
  }

  // ---------------------------------------------------------------- the card

  drawView() {
    const view = this.model.get("_view"), before = this.phase, focused = this.root.contains(document.activeElement);
    this.phase = view.phase;
    clearTimeout(this.silence);
    this.title.textContent = view.title;
    this.about.textContent = view.about;
    this.badges.replaceChildren(...view.badges.map(([words, kind]) => h("span", { className: `vastnb-badge ${kind ? `vastnb-${kind}` : ""}` }, words)));
    this.drawChoices(view.choices);
    this.steps.replaceChildren(...view.steps.map(([word, at]) => h("li", { className: `vastnb-${at}`, "aria-current": at === "now" && "step" }, word)));
    this.steps.hidden = !view.steps.length;
    this.drawPrices(view.prices);
    const pairs = (rows) => rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
    this.facts.replaceChildren(...pairs(view.facts));
    this.details.replaceChildren(...pairs(view.details));
    this.endings.node.hidden = !view.details.length;
    this.form.hidden = !["empty", "offer", "checking", "agreed"].includes(view.phase) || (view.phase === "empty" && !view.main);
    this.tell(this.warnings, view.warnings.join("\n"), view.warnings.map((words) => h("p", {}, words)));
    this.tell(this.note, view.note, [view.note]);
    this.copy.hidden = !view.copy;
    this.line.value = view.copy;
    this.drawButtons(view, before);
    const at = document.activeElement;
    if (focused && !(this.root.contains(at) && at.checkVisibility())) this.title.focus({ preventScroll: true });
    if (before !== view.phase) this.left();
  }

  /** What is read aloud is put in anew only if it is another one. */
  tell(node, words, inside) {
    if (node.words !== words) node.replaceChildren(...inside);
    [node.words, node.hidden] = [words, !words];
  }

  drawChoices({ label = "", options = [], chosen }) {
    this.choiceField.hidden = !options.length;
    this.choiceLabel.textContent = label;
    const known = JSON.stringify(options);
    if (known !== this.knownOptions) this.choice.replaceChildren(...options.map(([id, words]) => h("option", { value: id }, words)));
    this.knownOptions = known;
    this.choice.value = chosen ?? "";
    this.choice.disabled = this.phase !== "offer" && this.phase !== "agreed";
  }

  drawPrices(rows) {
    const hours = this.model.get("_form").values.hours;
    this.prices.hidden = !rows.length;
    this.prices.replaceChildren(
      h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "an hour"), h("th", { scope: "col" }, `for ${hours} h`))),
      h("tbody", {}, rows.map(([name, hourly, job]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, hourly), h("td", {}, job)))));
  }

  // ---------------------------------------------------------------- the buttons

  drawButtons({ main, others, phase }, before) {
    const doing = main?.do;
    this.main.hidden = !main;
    this.main.textContent = main?.words ?? "";
    this.main.classList.toggle("vastnb-danger", doing === "destroy");
    if (doing !== this.doing) this.arm(doing === "", DANGEROUS.has(doing));
    this.doing = doing;
    const known = JSON.stringify(others);
    if (known !== this.knownOthers) this.others.replaceChildren(...others.map(([what, words]) => h("button", { type: "button", onclick: () => this.press(what) }, words)));
    this.knownOthers = known;
    if (phase !== before) this.count(phase === "agreed" || phase === "leaving");
  }

  /** What spends or destroys takes no click that was meant for what stood there before. */
  arm(busy, dangerous) {
    clearTimeout(this.arming);
    const set = (waits) => this.main.setAttribute("aria-disabled", String(waits));
    set(busy || dangerous);
    if (dangerous) this.arming = setTimeout(() => set(false), ARMED_AFTER);
  }

  /** A question that nobody answers is taken back. */
  count(asked) {
    clearInterval(this.ticking);
    this.countdown.textContent = "";
    if (!asked) return;
    const end = performance.now() + BACK_AFTER * 1000;
    this.ticking = setInterval(() => {
      const rest = Math.ceil((end - performance.now()) / 1000);
      this.countdown.textContent = rest <= 10 ? `back in ${rest} s` : "";
      if (rest <= 0) { this.count(false); this.say({ do: "back" }); }
    }, 500);
  }

  pressed() {
    if (this.main.getAttribute("aria-disabled") === "true") return;
    const { main } = this.model.get("_view");
    this.press(main.do, main.token);
  }

  press(what, token) {
    this.saySoon.now();
    this.count(false);
    if (QUICK.has(what)) this.say({ do: what });
    else this.order(token ? { do: what, token } : { do: what });
  }

  copied() {
    const done = () => { this.copyButton.textContent = "Copied"; setTimeout(() => { this.copyButton.textContent = "Copy"; }, 1500); };
    if (navigator.clipboard) navigator.clipboard.writeText(this.line.value).then(done, () => this.line.select());
    else this.line.select();
  }

  keyed(event) {
    if (event.key === "Escape" && (this.phase === "agreed" || this.phase === "leaving")) this.press("back");
    if (event.key === "Enter" && event.target.tagName === "INPUT") event.preventDefault();
  }
}

export default widget((model) => new Launch(model));
