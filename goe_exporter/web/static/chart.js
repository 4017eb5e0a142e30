"use strict";

/* Draws the last hour as line charts. Values come from the JSON API; null is a gap in the line.
   All charts of the page share one selected moment, set by the pointer or the arrow keys. */

const HOUR = 3600;
const GAP_INTERVALS = 3;
const GAP_SECONDS = 15;
const CLOCK_STEP_SECONDS = 5;
const SPANS_MINUTES = [2, 5, 10, 15, 20, 30, 60];
const SVG = "http://www.w3.org/2000/svg";
const LEFT = 40;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;

const language = document.documentElement.lang;
const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });
const clockWithSeconds = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
const panel = document.querySelector("[data-history]");

const past = { times: [], series: new Map(), now: 0, merged: 0, moment: null, loading: false };

function seconds() {
  return performance.now() / 1000;
}

function lineKey(channel, part) {
  return part ? `${channel} ${part}` : channel;
}

/* Merges an answer of the API into the known rows; it replaces rows of the same time. */
function merge(answer) {
  const incoming = new Map();
  for (const [channel, values] of Object.entries(answer.series)) {
    if (Array.isArray(values)) incoming.set(channel, values);
    else for (const [part, list] of Object.entries(values)) incoming.set(lineKey(channel, part), list);
  }
  const oldest = answer.now_timestamp_seconds - HOUR;
  const renewed = answer.timestamps_seconds[0] ?? Infinity;
  const kept = past.times.map((time, row) => [time, row])
    .filter(([time]) => time >= oldest && time < renewed - 0.5);
  // The exporter was down or has restarted: an empty row leaves a gap in the line.
  const last = kept.at(-1)?.[0] ?? Infinity;
  const gap = Math.max(GAP_INTERVALS * answer.interval_seconds, GAP_SECONDS);
  if (Number.isFinite(renewed) && renewed - last > gap) kept.push([(last + renewed) / 2]);
  const series = new Map();
  for (const key of new Set([...past.series.keys(), ...incoming.keys()])) {
    const old = past.series.get(key);
    const added = incoming.get(key) ?? answer.timestamps_seconds.map(() => null);
    series.set(key, [...kept.map(([, row]) => old?.[row] ?? null), ...added]);
  }
  past.times = [...kept.map(([time]) => time), ...answer.timestamps_seconds];
  past.series = series;
  past.now = answer.now_timestamp_seconds;
  past.merged = seconds();
}

async function lastMinutes(minutes) {
  const url = address(panel.dataset.history);
  url.search = `minutes=${minutes}`;
  const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

/* Returns whether the exporter's clock was set: it advanced differently from the browser's
   monotonic clock. */
function stepped(answer) {
  const ahead = answer.now_timestamp_seconds - past.now - (seconds() - past.merged);
  return past.times.length > 0 && Math.abs(ahead) > CLOCK_STEP_SECONDS;
}

async function load() {
  if (past.loading) return;
  past.loading = true;
  const last = past.times.at(-1);
  const missing = last ? Math.ceil((seconds() - past.merged + past.now - last) / 60) + 1 : 60;
  try {
    let answer = await lastMinutes(Math.min(Math.max(missing, 1), 60));
    if (stepped(answer)) {
      answer = await lastMinutes(60);
      past.times = [];
      past.series = new Map();
    }
    merge(answer);
  } catch {
    return; // The page's own alarm shows that the exporter does not answer.
  } finally {
    past.loading = false;
  }
  drawAll();
}

/* Returns about `count` round values that enclose low and high. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => (first + place) * step);
}

/* Returns full minutes of the reader's clock between start and end, as many as fit into `pixels`. */
function clockTicks(start, end, pixels) {
  const maxTicks = Math.max(2, Math.floor(pixels / 80));
  const minutes = [1, 2, 5, 10, 15, 20, 30].find((each) => (end - start) / 60 / each <= maxTicks) ?? 30;
  const times = [];
  const date = new Date(start * 1000);
  date.setSeconds(0, 0);
  date.setMinutes(Math.ceil(date.getMinutes() / minutes) * minutes);
  for (let time = date / 1000; time <= end; time += 60 * minutes) {
    if (time >= start) times.push(time);
  }
  return times;
}

function node(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/* Formats a number as `Locale.number` does on the server. */
function number(value, decimals) {
  const { group, decimal } = panel.dataset;
  const digits = Math.abs(value).toFixed(decimals);
  const [whole, rest] = digits.split(".");
  const sign = value < 0 && Number(digits) ? "\u2212" : "";
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, group) + (rest ? decimal + rest : "");
}

function decimalsOf(level) {
  return String(Number(level.toFixed(3))).split(".")[1]?.length ?? 0;
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.plot = figure.querySelector(".plot");
    this.svg = figure.querySelector("svg");
    this.summary = figure.querySelector(".summary");
    this.when = figure.querySelector(".moment");
    this.divide = Number(figure.dataset.divide);
    this.minSpan = Number(figure.dataset.minSpan);
    this.decimals = Number(figure.dataset.decimals);
    this.lines = [...figure.querySelectorAll(".legend li")].map((item) => ({
      item,
      key: lineKey(item.dataset.channel, item.dataset.part),
      colour: item.className,
      name: item.querySelector(".name").textContent,
      reading: item.querySelector(".reading"),
    }));
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") choose(null); });
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => choose(null));
  }

  text(value) {
    return value === null ? panel.dataset.gap : `${number(value / this.divide, this.decimals)}\u00a0${this.figure.dataset.unit}`;
  }

  present() {
    return this.lines.filter(({ key, item }) => {
      const there = past.series.get(key)?.some((value) => value !== null) ?? false;
      item.hidden = !there;
      return there;
    });
  }

  draw() {
    const lines = this.present();
    this.figure.hidden = !lines.length;
    if (!lines.length) return;
    this.width = this.plot.clientWidth;
    const fontSize = parseFloat(getComputedStyle(this.figure).fontSize);
    this.height = Math.round(Number(this.figure.dataset.height) * fontSize);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    this.spanTime();
    const all = lines.flatMap(({ key }) => past.series.get(key)).filter((value) => value !== null);
    this.spanValues(all.map((value) => value / this.divide));
    this.svg.replaceChildren(...this.axes(), ...this.traces(lines));
    this.cursor = this.svg.appendChild(node("g", {}));
    this.summarize(lines);
    this.mark();
  }

  spanTime() {
    const covered = (past.now - (past.times[0] ?? past.now)) / 60;
    const minutes = SPANS_MINUTES.find((each) => each >= covered) ?? 60;
    this.start = past.now - minutes * 60;
    this.x = (time) => LEFT + ((time - this.start) / (minutes * 60)) * (this.width - LEFT - RIGHT);
  }

  spanValues(values) {
    const high = values.reduce((one, other) => Math.max(one, other), -Infinity);
    const low = values.reduce((one, other) => Math.min(one, other), Infinity);
    const floating = this.figure.dataset.unit === "°C" && values.length;
    const bottom = floating ? Math.min(low, (low + high - this.minSpan) / 2) : Math.min(0, low);
    const top = Math.max(floating ? high : Math.max(0, high), bottom + this.minSpan);
    this.levels = ticks(bottom, top, this.height > 150 ? 5 : 3);
    const [first, last] = [this.levels[0], this.levels.at(-1)];
    this.y = (value) => TOP + ((last - value) / (last - first)) * (this.height - TOP - BOTTOM);
  }

  axes() {
    const decimals = Math.max(...this.levels.map((level) => decimalsOf(level)));
    const parts = this.levels.flatMap((level) => {
      const y = this.y(level);
      return [
        node("line", { class: level ? "grid" : "axis", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }),
        node("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, number(level, decimals)),
      ];
    });
    for (const time of clockTicks(this.start, past.now, this.width - LEFT - RIGHT)) {
      const x = this.x(time);
      parts.push(node("line", { class: "grid", x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM }));
      const room = Math.min(x, this.width - 24);
      parts.push(node("text", { x: room, y: this.height - 6, "text-anchor": "middle" }, clock.format(time * 1000)));
    }
    return parts;
  }

  /* Returns the runs of values without a gap, each as a list of [x, y]. */
  runs(key) {
    const runs = [[]];
    past.series.get(key).forEach((value, row) => {
      if (value === null) runs.push([]);
      else if (past.times[row] >= this.start) {
        runs.at(-1).push([this.x(past.times[row]).toFixed(1), this.y(value / this.divide).toFixed(1)]);
      }
    });
    return runs.filter((run) => run.length);
  }

  traces(lines) {
    return lines.flatMap(({ key, colour }) => {
      const runs = this.runs(key);
      // A run of one point would be invisible: a line of zero length with round caps is a dot.
      const path = runs.map((run) => `M${run.map((point) => point.join(" ")).join("L")}${run.length === 1 ? "h0" : ""}`).join("");
      const trace = node("path", { class: `trace ${colour}`, d: path });
      if (colour !== "line-total") return [trace];
      const ground = this.y(0).toFixed(1);
      const area = runs.map((run) => `M${run[0][0]} ${ground}L${run.map((point) => point.join(" ")).join("L")}V${ground}Z`).join("");
      return [node("path", { class: `area ${colour}`, d: area }), trace];
    });
  }

  /* Writes the range of each line, or only of the total where there is one. */
  summarize(lines) {
    const total = lines.filter(({ colour }) => colour === "line-total");
    setText(this.summary, (total.length ? total : lines).map((line) => this.range(line)).join("; "));
  }

  range({ key, name }) {
    const all = past.series.get(key);
    const values = all.filter((value) => value !== null);
    return panel.dataset.summary
      .replace("{name}", name)
      .replace("{low}", this.text(values.reduce((one, other) => Math.min(one, other))))
      .replace("{high}", this.text(values.reduce((one, other) => Math.max(one, other))))
      .replace("{last}", this.text(all.at(-1)));
  }

  /* Shows the values at the selected moment, or the latest ones. The text for screen readers of the
     focused chart changes only if the reader `moved`, not with every poll. */
  mark(moved = false) {
    if (this.figure.hidden) return;
    const row = past.moment === null ? past.times.length - 1 : nearest(past.moment);
    const time = past.times[row];
    const when = past.moment === null || time === undefined ? "" : clockWithSeconds.format(time * 1000);
    setText(this.when, when);
    this.cursor.replaceChildren();
    const spoken = [];
    for (const { key, reading, item, colour, name } of this.lines) {
      if (item.hidden) continue;
      const value = past.series.get(key)?.[row] ?? null;
      setText(reading, this.text(value));
      spoken.push(`${name} ${this.text(value)}`);
      if (when && value !== null) {
        this.cursor.append(node("circle", { class: `bead ${colour}`, cx: this.x(time), cy: this.y(value / this.divide), r: 4 }));
      }
    }
    if (when) {
      const x = this.x(time);
      this.cursor.prepend(node("line", { class: "cursor", x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM }));
    }
    if (document.activeElement === this.plot && !moved) return;
    this.plot.setAttribute("aria-valuemax", Math.max(past.times.length - 1, 0));
    this.plot.setAttribute("aria-valuenow", Math.max(row, 0));
    if (spoken.length) this.plot.setAttribute("aria-valuetext", [time && clockWithSeconds.format(time * 1000), ...spoken].join(", "));
  }

  point(event) {
    const share = (event.clientX - this.plot.getBoundingClientRect().left - LEFT) / (this.width - LEFT - RIGHT);
    choose(this.start + Math.min(Math.max(share, 0), 1) * (past.now - this.start));
  }

  key(event) {
    const row = past.moment === null ? past.times.length - 1 : nearest(past.moment);
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -12, PageUp: 12, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") choose(null);
    else if (event.key in steps) {
      event.preventDefault();
      const target = Math.min(Math.max(row + steps[event.key], 0), past.times.length - 1);
      choose(past.times[target] ?? null);
    }
  }
}

/* Returns the row with the nearest time. */
function nearest(moment) {
  return past.times.reduce((best, time, row) =>
    Math.abs(time - moment) < Math.abs(past.times[best] - moment) ? row : best, 0);
}

function choose(moment) {
  past.moment = moment;
  charts.forEach((chart) => chart.mark(true));
}

const charts = panel ? [...panel.querySelectorAll(".chart")].map((figure) => new Chart(figure)) : [];

function drawAll() {
  charts.forEach((chart) => chart.draw());
  panel.querySelector(".empty").hidden = charts.some((chart) => !chart.figure.hidden);
}

if (panel) {
  load();
  document.addEventListener("refreshed", load);
  new ResizeObserver(() => { if (past.now) drawAll(); }).observe(panel);
}
