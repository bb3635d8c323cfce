/* What all widgets share. Words of strangers are text nodes and properties, never HTML: nothing here parses any. */

const SVG = "http://www.w3.org/2000/svg";

/** An element: `on...` listens, names with a dash and those of SVG are attributes, the rest are properties; strings become text. */
function h(tag, given = {}, ...children) {
  const [name, svg] = tag.startsWith("svg:") ? [tag.slice(4), true] : [tag, false];
  const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (svg || key.includes("-") || key === "role") node.setAttribute(key, value === true ? "" : value);
    else node[key] = value;
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

/** `act`, at most ten times a second, the last call never lost; `now` does at once what waits. */
function throttled(act) {
  let last = 0, timer = 0;
  const run = () => {
    clearTimeout(timer);
    [last, timer] = [performance.now(), 0];
    act();
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(run, Math.max(0, 100 - (performance.now() - last)));
  };
  return Object.assign(soon, { now: () => timer && run() });
}

/** The base of the widgets: an element that outlives its views, because the notebook draws an output anew when it is updated. */
class Face {
  constructor(label) {
    this.drawn = new Map();
    this.busyText = h("span", { className: "vastnb-busy", role: "status" });
    this.errorBox = h("div", { className: "vastnb-error", role: "alert", hidden: true });
    this.root = h("section", { className: "vastnb", "aria-label": label, "data-lm-suppress-shortcuts": "true" });
    for (const event of ["focusout", "pointerleave", "focusin", "pointerdown"]) this.root.addEventListener(event, (e) => this.moved(e));
  }

  /** Lists close when something else is used. The notebook keeps a new picture of the widget once nobody uses it: that draws it anew. */
  moved(event) {
    if (event.type === "focusin") this.focused = event.target;
    if (event.type === "focusout") queueMicrotask(() => { if (this.root.isConnected && !this.root.matches(":focus-within")) this.focused = null; });
    const at = event.relatedTarget ?? (event.type === "focusout" ? null : event.target);
    for (const list of this.root.querySelectorAll("details[open]")) if (event.type !== "pointerleave" && at && !list.contains(at)) list.open = false;
    if (event.type === "focusout" ? !this.root.contains(at) : event.type === "pointerleave") this.left();
  }

  left() {
    if (!this.root.matches(":focus-within")) this.say({ do: "left" });
  }

  inUse() { return this.root.matches(":focus-within, :hover"); }

  /** Follow `model`; the view before this one, if there was any, is gone. Only what has changed since is drawn. */
  attach(model) {
    this.model = model;
    const follow = { _busy: () => this.drawBusy(), _error: () => this.drawError(), ...this.follows() };
    for (const [name, draw] of Object.entries(follow)) {
      const changed = () => {
        if (this.drawn.get(name) === model.get(name)) return;
        this.drawn.set(name, model.get(name));
        draw();
      };
      model.on(`change:${name}`, changed);
      changed();
    }
    if (this.focused) this.refocus(this.focused, 500);
  }

  /** The new place is put on the page a few microtasks later; no key must get lost meanwhile. */
  refocus(node, tries) {
    if (this.root.isConnected) node.focus({ preventScroll: true });
    else if (tries) queueMicrotask(() => this.refocus(node, tries - 1));
  }

  say(message) {
    this.model.send(message);
  }

  /** Ask for something that takes time; a kernel that does not begin with it is busy or gone. */
  order(message) {
    this.say(message);
    this.silence = setTimeout(() => this.tellError({ name: "No answer", message: "the kernel is busy with a cell, or was restarted", hint: "after a restart run this cell again" }), 5000);
  }

  drawBusy() {
    const words = this.model.get("_busy");
    const since = performance.now();
    clearInterval(this.clock);
    if (words) clearTimeout(this.silence);
    const tell = () => {
      const seconds = Math.round((performance.now() - since) / 1000);
      this.busyText.textContent = words && (seconds < 3 ? `${words}…` : `${words}… ${seconds} s`);
    };
    if (words) this.clock = setInterval(tell, 1000);
    this.root.setAttribute("aria-busy", Boolean(words));
    tell();
  }

  drawError() {
    clearTimeout(this.silence);
    this.tellError(this.model.get("_error"));
  }

  tellError(error) {
    this.errorBox.hidden = !error;
    this.errorBox.replaceChildren(...(error ? [
      h("pre", {}, `${error.name}: ${error.message}`), error.hint && h("div", {}, `→ ${error.hint}`)].filter(Boolean) : []));
  }

  detached() {
    clearInterval(this.clock);
    clearTimeout(this.silence);
  }
}

/** What anywidget calls. The element of a widget is used again when its old place on the page is gone. */
function widget(make) {
  const faces = new WeakMap();
  return {
    render({ model, el }) {
      const layout = model.get("layout"); // only a name of it in marimo
      const key = layout instanceof Object ? layout : el;
      let face = faces.get(key);
      if (!face || face.root.isConnected) {
        face = make(model);
        faces.set(key, face);
      }
      el.append(face.root);
      face.attach(model);
      return () => { if (face.model === model) face.detached(); };
    },
  };
}
