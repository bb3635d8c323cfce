
/** In a form's field: JupyterLab keeps the browser from doing so. */
function submits(event) {
  if (event.key === "Enter") event.preventDefault(), event.target.form.requestSubmit();
}

const SOURCE = { type: "text", spellcheck: false };
const PLACE = { ...SOURCE, value: ".", title: "a folder here; from where the notebook is" };

/** A machine that was opened: its jobs, and bringing files home. What it says comes from strangers, too: all of it is text. */
class Bench {
  constructor(face, id) {
    [this.face, this.id] = [face, id];
    this.again = h("button", { type: "button", onclick: () => this.look() }, "Look again");
    [this.jobsBusy, this.filesBusy] = [0, 1].map(() => h("span", { className: "vastnb-busy", role: "status" }));
    [this.jobsProblem, this.filesProblem] = [0, 1].map(() => h("div", { className: "vastnb-error", role: "alert", hidden: true }));
    this.jobs = h("ul", { className: "vastnb-jobs" });
    [this.source, this.to] = [h("input", { ...SOURCE, required: true, placeholder: "folder or file there", onkeydown: submits }), h("input", { ...PLACE, onkeydown: submits })];
    this.measure = h("button", { type: "submit" }, "See the price");
    this.answer = h("div", { className: "vastnb-answer", role: "status" });
    this.form = h("form", { className: "vastnb-fetch", onsubmit: (e) => { e.preventDefault(); this.say({ do: "measure", source: this.source.value.trim(), to: this.to.value.trim() }); } },
      h("label", {}, h("b", {}, "Bring home"), " ", this.source), h("label", {}, "to ", this.to), this.measure, this.filesBusy);
    this.node = h("div", { className: "vastnb-bench" },
      h("div", { className: "vastnb-bench-head" }, h("b", {}, "Jobs"), this.jobsBusy, this.again), this.jobsProblem, this.jobs,
      this.form, this.filesProblem, this.answer);
  }

  say(message) {
    clearTimeout(this.face.silence); // of several questions the last one waits for an answer
    this.face.order({ id: this.id, ...message });
  }

  look() { this.say({ do: "jobs" }); }

  draw(parts = {}) {
    const { jobs = {}, files = {} } = parts;
    this.jobsBusy.textContent = jobs.busy ? `${jobs.busy}…` : "";
    this.again.disabled = Boolean(jobs.busy);
    this.drawProblem(this.jobsProblem, jobs.problem);
    if (this.drawnJobs !== JSON.stringify([jobs.rows, jobs.log, jobs.more])) this.drawJobs(jobs);
    for (const button of this.jobs.querySelectorAll("button")) button.disabled = Boolean(jobs.busy);
    this.drawFiles(files);
  }

  drawProblem(node, problem) {
    node.hidden = !problem;
    node.replaceChildren(...(problem ? [h("pre", {}, `${problem.name}: ${problem.message}`), ...(problem.hint ? [h("div", {}, `→ ${problem.hint}`)] : [])] : []));
  }

  // ---------------------------------------------------------------- jobs

  drawJobs(jobs) {
    this.drawnJobs = JSON.stringify([jobs.rows, jobs.log, jobs.more]);
    const focus = this.jobs.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const none = jobs.looked && !jobs.rows.length && h("li", { className: "vastnb-soft" }, "No jobs. run(…, detach=True) makes one, and so does %vast run --detach.");
    this.jobs.replaceChildren(...[none, ...(jobs.rows ?? []).map((job) => this.job(job, jobs.log?.job === job.id ? jobs.log : null)),
      jobs.more > 0 && h("li", { className: "vastnb-soft" }, `and ${jobs.more} older: vastnb.instance(…).jobs() has all`)].filter(Boolean));
    if (focus) [...this.jobs.querySelectorAll("button")].find((button) => button.dataset.key === focus)?.focus();
  }

  job(job, log) {
    const read = (words, errors) => this.button(job, words, () => this.say(log?.errors === errors ? { do: "no log" } : { do: "log", job: job.id, errors }), { "aria-pressed": String(log?.errors === errors) });
    return h("li", {},
      h("div", { className: "vastnb-job" }, h("span", { className: `vastnb-badge vastnb-tone-${job.tone}` }, job.state), h("code", { dir: "auto", title: job.command }, job.command),
        h("small", {}, [job.code, job.when].filter(Boolean).join(" · ")),
        h("span", { className: "vastnb-orders", role: "group" }, [job.out && read(`Output, ${job.out}`, false), job.err && read(`Errors, ${job.err}`, true), job.state === "running" && this.stopper(job)].filter(Boolean))),
      log && h("pre", { className: "vastnb-log", tabIndex: 0, "aria-label": `the last lines of job ${job.id}` }, log.text));
  }

  button(job, words, act, more = {}) {
    return h("button", { type: "button", "data-key": `${job.id} ${words.split(",")[0]}`, title: `job ${job.id}`, ...more, onclick: act }, words);
  }

  /** What it has done so far may be lost: it asks once more. */
  stopper(job) {
    const stop = this.button(job, "Stop job", () => {
      if (stop.classList.contains("vastnb-danger")) return this.say({ do: "stop job", job: job.id });
      stop.className = "vastnb-danger";
      stop.textContent = "Really stop it";
    }, { onblur: () => { stop.className = ""; stop.textContent = "Stop job"; } });
    return stop;
  }

  // ---------------------------------------------------------------- files

  drawFiles(files) {
    this.measure.disabled = Boolean(files.busy);
    this.filesBusy.textContent = files.busy ? `${files.stopping ? "Stopping" : files.busy}…` : "";
    this.drawProblem(this.filesProblem, files.problem);
    const shown = JSON.stringify([files.offer, files.said, files.copying]);
    if (this.drawnFiles === shown) return;
    this.drawnFiles = shown;
    const giveUp = (words) => h("button", { type: "button", onclick: (e) => { e.currentTarget.disabled = true; this.say({ do: "give up" }); } }, words);
    const bring = files.offer && h("button", { type: "button", className: "vastnb-main", onclick: () => { bring.disabled = true; this.say({ do: "bring", number: files.offer.number }); } }, "Bring it home");
    this.answer.replaceChildren(...(files.offer ? [h("span", { title: `to ${files.offer.place}` }, files.offer.words), bring, giveUp("Cancel")] : files.copying ? [giveUp("Stop copying")] : files.said ? [h("span", { dir: "auto" }, files.said)] : []));
    bring?.focus();
  }
}
