
const HEADS = ["Machine", "GPU use, last hour", "Disk", "Costs", "Time", ""];
const [LOOK_GIVEN_UP_S, ERROR_PAUSE_S, AGE_TOLD_S] = [60, 30, 5];

/** The row of one machine: it stays the same as long as the machine is there, so that the focus does, too. */
class MachineRow {
  constructor(face, id) {
    [this.face, this.id, this.orders] = [face, id, ""];
    this.name = h("b", { dir: "auto" });
    this.what = h("small", { dir: "auto" });
    this.warnings = h("ul", { className: "vastnb-warnings" });
    this.state = h("span", { className: "vastnb-badge" });
    this.path = h("svg:path", {});
    this.picture = h("svg:svg", { viewBox: "-1 -1 62 18", role: "img" }, this.path);
    [this.use, this.disk, this.price, this.left] = Array.from({ length: 4 }, () => h("span", {}));
    [this.gpu, this.spent, this.age] = Array.from({ length: 3 }, () => h("small", {}));
    this.bar = h("i", {});
    this.gauge = h("span", { className: "vastnb-gauge", hidden: true }, this.bar);
    this.buttons = h("div", { className: "vastnb-orders", role: "group" });
    this.busy = h("div", { className: "vastnb-use" }, this.picture, this.use, this.gpu);
    this.opener = h("button", { type: "button", className: "vastnb-opener", "aria-expanded": "false", onclick: () => this.open(this.opened.hidden) }, "Jobs, files");
    const inside = [[h("div", {}, this.name, this.state), this.what, this.warnings, this.opener], [this.busy], [this.disk, this.gauge], [this.price, this.spent], [this.left, this.age], [this.buttons]];
    this.node = h("tr", { role: "row" }, inside.map((nodes, n) => h("td", { role: "cell", "data-head": HEADS[n] }, ...nodes)));
    this.asking = h("tr", { role: "row", className: "vastnb-asking", hidden: true });
    this.bench = new Bench(face, id);
    this.opened = h("tr", { role: "row", className: "vastnb-opened", hidden: true }, h("td", { role: "cell", colSpan: HEADS.length }, this.bench.node));
  }

  /** Its jobs are looked up when it is opened, and when somebody wants to. */
  open(wanted) {
    this.opened.hidden = !wanted;
    this.opener.setAttribute("aria-expanded", String(wanted));
    if (wanted) this.bench.look();
  }

  draw(row, doing) {
    const texts = { name: "name", what: "what", use: "use", gpu: "gpu", disk: "disk", age: "age", price: "usd_per_hour", spent: "usd", left: "left" };
    for (const [node, key] of Object.entries(texts)) if (this[node].textContent !== row[key]) this[node].textContent = row[key];
    this.name.title = row.name;
    this.what.title = row.what;
    this.state.textContent = doing ?? row.state;
    this.state.className = `vastnb-badge vastnb-tone-${doing ? "doing" : row.tone}`;
    this.left.title = row.ends;
    this.path.setAttribute("d", row.line);
    this.picture.setAttribute("aria-label", row.use ? `GPU use, now ${row.use}` : "GPU use");
    this.busy.hidden = !row.line && !row.use;
    this.gauge.hidden = row.full == null;
    this.bar.style.width = `${100 * Math.min(1, row.full ?? 0)}%`;
    this.bar.className = row.full >= 0.9 ? "vastnb-high" : "";
    this.warnings.replaceChildren(...row.warnings.map(([tone, words]) => h("li", { className: `vastnb-tone-${tone}`, dir: "auto" }, words)));
    this.node.classList.toggle("vastnb-gone", row.state === "gone");
    this.opener.setAttribute("aria-label", `jobs and files of ${row.name}`);
    this.opener.hidden = !row.opens && this.opened.hidden;
    this.drawOrders(row, doing);
  }

  drawOrders(row, doing) {
    const words = this.face.model.get("_words"), orders = row.orders.join();
    if (orders !== this.orders) {
      this.buttons.replaceChildren(...row.orders.map((order) => h("button", { type: "button", className: order === "destroy" ? "vastnb-danger" : "", "data-order": order,
        onclick: () => this.face.say({ do: "ask", id: this.id, order }) }, words[order])));
      this.orders = orders;
    }
    this.buttons.setAttribute("aria-label", `orders to ${row.name}`);
    for (const button of this.buttons.children) {
      button.disabled = Boolean(doing);
      button.setAttribute("aria-label", `${button.textContent} ${row.name}`);
    }
  }

  button(order) { return this.buttons.querySelector(`[data-order="${order}"]`); }

  /** What an order means, and two buttons; the focus is on the one that changes nothing, or on the number to be given. */
  ask(confirm) {
    this.asking.hidden = !confirm;
    if (!confirm) return this.asking.replaceChildren();
    const field = confirm.field && h("input", { type: "number", min: confirm.field.step, step: confirm.field.step, value: confirm.field.value, required: true, onkeydown: submits });
    const fetch = confirm.fetch ? h("input", { ...SOURCE, placeholder: "a folder on it, or nothing" }) : null;
    const to = fetch && h("input", PLACE);
    const keep = h("button", { type: "button", onclick: () => this.face.neverMind() }, "Cancel");
    const act = h("button", { type: "submit", className: confirm.order === "destroy" ? "vastnb-main vastnb-danger" : "vastnb-main" }, confirm.button);
    const title = h("b", { id: `${this.face.id}-${confirm.number}`, dir: "auto" }, confirm.title);
    this.asking.append(h("td", { role: "cell", colSpan: HEADS.length }, h("form", { role: "alertdialog", "aria-labelledby": title.id,
      onsubmit: (e) => { e.preventDefault(); act.disabled = true; this.face.confirmed(confirm, { value: field ? Number(field.value) : null, fetch: fetch?.value.trim(), to: to?.value.trim() }); } },
    title, h("ul", {}, confirm.lines.map((line) => h("li", { dir: "auto" }, line))),
    fetch && h("div", { className: "vastnb-ends" }, h("label", {}, "first bring home ", fetch), h("label", {}, "to ", to), h("small", {}, confirm.fetch)),
    h("div", { className: "vastnb-ends" }, field && h("label", {}, confirm.field.label, " ", field), act, keep))));
    (field ?? keep).focus();
  }
}

class Fleet extends Face {
  constructor() {
    super("Machines");
    this.id = `vastnb-${Math.random().toString(36).slice(2)}`;
    [this.rows, this.inSight, this.asked, this.known] = [new Map(), false, 0, null];
    this.badges = h("div", { className: "vastnb-badges" });
    this.now = h("button", { type: "button", onclick: () => { this.asked = performance.now(); this.order({ do: "now" }); } }, "Look now");
    this.outcomes = h("div", { className: "vastnb-outcome", role: "status", hidden: true });
    this.problem = h("div", { className: "vastnb-error", role: "alert", hidden: true });
    this.body = h("tbody", { role: "rowgroup" });
    const heads = h("tr", { role: "row" }, HEADS.map((head) => h("th", { role: "columnheader", scope: "col" }, head || h("span", { className: "vastnb-hidden" }, "orders"))));
    this.table = h("table", { className: "vastnb-fleet", role: "table", "aria-label": "Machines" }, h("thead", { role: "rowgroup" }, heads), this.body);
    this.empty = h("div", { className: "vastnb-none", hidden: true }, "Nothing is rented, nothing costs anything.");
    this.list = h("ol", {});
    this.happened = h("details", { className: "vastnb-happened", open: true, onpointerenter: () => this.eventsSeen(), onfocusin: () => this.eventsSeen() }, h("summary", {}, "What happened"), this.list);
    this.root.append(h("div", { className: "vastnb-top" }, this.badges, this.now), this.errorBox, this.problem, this.outcomes, h("div", { className: "vastnb-machines" }, this.table, this.empty), this.happened);
    this.root.addEventListener("keydown", (e) => { if (e.key === "Escape" && this.model.get("_confirm").number) this.neverMind(); });
    this.changed = () => this.tick();
  }

  follows() {
    return { _error: () => this.takeError(), _about: () => this.takeAbout(), _rows: () => this.drawRows(), _doing: () => { clearTimeout(this.silence); this.drawRows(); }, _confirm: () => this.drawConfirm(), _opened: () => this.drawOpened(), _outcomes: () => this.drawOutcomes(), _events: () => this.drawEvents() };
  }

  // ---------------------------------------------------------------- looking while somebody sees it

  attach(model) {
    super.attach(model);
    this.eye?.disconnect();
    this.eye = new IntersectionObserver((seen) => { this.inSight = seen.at(-1).isIntersecting; this.tick(); });
    this.eye.observe(this.root);
    document.addEventListener("visibilitychange", this.changed);
    this.tick();
  }

  detached() {
    super.detached();
    this.eye.disconnect();
    this.inSight = false;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.changed);
  }

  /** After a restart of the kernel nobody hears: then nothing is asked any more. */
  say(message) {
    try {
      super.say(message);
    } catch {
      this.lost = true;
      this.tellError({ name: "No kernel", message: "the kernel was restarted or has ended; what was seen last stays below", hint: "run this cell again" });
    }
  }

  isSeen() { return !this.lost && this.inSight && document.visibilityState === "visible" && this.root.isConnected; }

  /** Ask for a look if it is time for one; come again when it is. An answer that is long in coming is not waited for any more. */
  tick() {
    clearTimeout(this.timer);
    if (!this.isSeen()) return this.wasSeen && ((this.wasSeen = false), this.left());
    this.wasSeen = true;
    const now = performance.now(), wait = this.asked ? this.asked + LOOK_GIVEN_UP_S * 1000 - now : (this.due ?? 0) - now;
    if (wait <= 0) {
      this.asked = now;
      this.say({ do: "look" });
    }
    this.drawAbout();
    this.timer = setTimeout(this.changed, Math.min(AGE_TOLD_S * 1000, wait > 0 ? wait : Infinity));
  }

  /** A look that came to nothing is an answer, too; it is tried again later. */
  takeError() {
    this.drawError();
    if (this.model.get("_error")) [this.asked, this.due] = [0, performance.now() + ERROR_PAUSE_S * 1000];
  }

  takeAbout() {
    const about = this.model.get("_about"), now = performance.now();
    if (!about.turn) return this.drawAbout();
    [this.asked, this.due, this.lookedAt] = [0, now + about.due_s * 1000, now - about.age_s * 1000];
    this.known ??= this.model.get("_events")[0]?.number ?? 0;
    this.drawEvents();
    this.drawAbout();
    if (!this.kept && about.looked) queueMicrotask(() => this.left());
    this.kept ||= about.looked;
    this.tick();
  }

  drawAbout() {
    const about = this.model.get("_about"), age = about.looked ? (performance.now() - this.lookedAt) / 1000 : 0;
    const old = about.looked && age > 3 * about.interval_s, silent = this.asked && performance.now() - this.asked > 15000;
    const badge = (words, kind, title) => words && h("span", { className: `vastnb-badge ${kind ? `vastnb-${kind}` : ""}`, title: title ?? "" }, words);
    const told = age < 90 ? `${Math.floor(age / AGE_TOLD_S) * AGE_TOLD_S} s old` : `${Math.floor(age / 60)} min old`;
    this.badges.replaceChildren(...[
      about.turn && badge(about.source, about.practice && "practice"),
      ...about.sums.map((words) => badge(words)),
      ...about.waiting.map((words) => badge(words, "warn")),
      about.looked && badge(`as of ${about.at}`, "", "the service's clock"),
      old && badge(told, "warn"),
      silent && badge("no answer: the kernel is busy with a cell, or was restarted", "warn"),
      this.busyText].filter(Boolean));
    this.problem.hidden = !about.problem;
    const words = about.problem ? `${about.problem.name}: ${about.problem.message}` : "";
    if (this.problem.dataset.words !== words) {
      this.problem.dataset.words = words;
      this.problem.replaceChildren(h("pre", {}, words), ...[about.problem?.hint && h("div", {}, `→ ${about.problem.hint}`), about.looked && h("div", {}, "What was seen last stays below; the panel looks again by itself.")].filter(Boolean));
    }
    this.empty.hidden = !about.looked || this.model.get("_rows").length > 0;
    this.table.hidden = !this.model.get("_rows").length;
  }

  // ---------------------------------------------------------------- machines

  drawRows() {
    const rows = this.model.get("_rows"), doing = this.model.get("_doing"), here = new Set(rows.map((row) => row.id));
    for (const [id, row] of this.rows) if (!here.has(id)) { row.node.remove(); row.asking.remove(); row.opened.remove(); this.rows.delete(id); }
    rows.forEach((row, place) => {
      if (!this.rows.has(row.id)) this.rows.set(row.id, new MachineRow(this, row.id));
      const shown = this.rows.get(row.id), at = this.body.children[3 * place];
      if (at !== shown.node) this.body.insertBefore(shown.node, at ?? null), shown.node.after(shown.asking, shown.opened);
      shown.draw(row, doing[row.id]);
    });
    this.drawAbout();
  }

  drawOpened() {
    clearTimeout(this.silence);
    const opened = this.model.get("_opened");
    for (const [id, row] of this.rows) row.bench.draw(opened[id]);
  }

  drawConfirm() {
    const confirm = this.model.get("_confirm");
    for (const [id, row] of this.rows) if (confirm.id === id || !row.asking.hidden) row.ask(confirm.id === id ? confirm : null);
    this.confirm = confirm;
  }

  neverMind() {
    const { id, order } = this.confirm;
    this.say({ do: "never mind" });
    this.rows.get(id)?.ask(null);
    this.rows.get(id)?.button(order)?.focus();
  }

  confirmed(confirm, given) {
    this.order({ do: "do", number: confirm.number, ...given });
    this.now.focus();
  }

  drawOutcomes() {
    const all = this.model.get("_outcomes");
    this.outcomes.hidden = !all.length;
    this.outcomes.classList.toggle("vastnb-bad", all.some(({ bad }) => bad));
    this.outcomes.replaceChildren(...(all.length ? [h("div", {}, all.map(({ words, hint }) => h("div", { dir: "auto" }, words, hint && h("small", {}, ` → ${hint}`)))),
      h("button", { type: "button", "aria-label": "take the message away", onclick: () => this.say({ do: "seen" }) }, "×")] : []));
    if (all.length) queueMicrotask(() => this.left());
  }

  // ---------------------------------------------------------------- events

  /** Those that came since somebody last pointed at the list are marked as new. */
  drawEvents() {
    const events = this.model.get("_events");
    if (this.known === null) return;
    this.happened.hidden = !events.length;
    const moment = (at) => new Date(at * 1000).toISOString().slice(5, 16).replace("T", " ");
    this.list.replaceChildren(...events.map((event) => h("li", {}, h("small", {}, moment(event.at)), event.number > this.known && h("b", { className: "vastnb-badge vastnb-accent" }, "new"), h("span", { dir: "auto" }, event.message || event.kind))));
  }

  eventsSeen() {
    const newest = this.model.get("_events")[0]?.number ?? 0;
    if (newest === this.known) return;
    this.known = newest;
    this.drawEvents();
  }
}

export default widget(() => new Fleet());
