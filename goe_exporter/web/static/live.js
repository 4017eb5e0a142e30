"use strict";

/* Keeps the page current. The server renders; this script fetches the page again once per refresh
   interval and applies the differences in text and attributes, node by node. */

const MARGIN_SECONDS = 0.25;
const TIMEOUT_MILLISECONDS = 8000;
const MAX_RETRY_SECONDS = 30;
const FAILURES_BEFORE_ALARM = 2;
const MAX_AGE_INTERVALS = 3;
const ABSENT = "–";
/* Status of an answer → name of the message; 0 stands for no answer. */
const TROUBLES = { 0: "silent", 401: "refused", 403: "refused", 429: "busy", 502: "silent", 503: "silent", 504: "silent" };

const live = {
  tag: "",
  received: Date.now(),
  failures: 0,
  status: 0,
  unchanged: 0,
  timer: 0,
  request: null,
};

function interval() {
  return Number(document.body.dataset.interval);
}

function sinceReceived() {
  return Math.max(0, (Date.now() - live.received) / 1000);
}

/* Formats a duration as `units.duration` does on the server. */
function duration(seconds) {
  for (const [unit, symbol] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * unit) return `${Math.round(seconds / unit)}\u00a0${symbol}`;
  }
  return `${Math.round(seconds)}\u00a0s`;
}

/* Returns a URL on this site without user and password, which fetch rejects. */
function address(path) {
  const url = new URL(path, location.href);
  url.username = url.password = "";
  return url;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/* Makes `old` equal to `fresh`. Elements with `data-own` are left to the scripts. */
function patch(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE || "own" in old.dataset) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const keyed = keyedChildren(old, fresh);
  let present = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const known = keyed.get(keyOf(child));
    if (known && known !== present) old.insertBefore(known, present);
    const match = known ?? nextAlike(present, child);
    while (!known && match && present !== match) present = removed(present);
    if (match) {
      patch(match, child);
      present = match.nextSibling;
    } else {
      old.insertBefore(document.importNode(child, true), present);
    }
  }
  while (present) present = removed(present);
}

/* Returns the children of `old` that `fresh` has too, by key, and removes those that it has not. */
function keyedChildren(old, fresh) {
  const wanted = new Set([...fresh.children].map(keyOf));
  const keyed = new Map();
  for (const child of [...old.children]) {
    const key = keyOf(child);
    if (key && wanted.has(key)) keyed.set(key, child);
    else if (key) child.remove();
  }
  return keyed;
}

/* Returns the first of `node` and its following siblings that corresponds to `fresh`. Text is not
   searched for, otherwise the elements before it would be treated as removed. */
function nextAlike(node, fresh) {
  if (fresh.nodeType !== Node.ELEMENT_NODE) return node?.nodeType === fresh.nodeType ? node : null;
  while (node && (node.nodeName !== fresh.nodeName || keyOf(node) !== keyOf(fresh))) node = node.nextSibling;
  return node;
}

function keyOf(node) {
  return node.dataset?.key ?? "";
}

/* Removes a node and returns its next sibling. */
function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/* Updates all ages, and shows why there are no new values. */
function showAges() {
  const since = sinceReceived();
  const ages = [...document.querySelectorAll("[data-age]")].map((element) => {
    const age = Number(element.dataset.age) + since;
    setText(element, duration(age));
    return age;
  });
  const youngest = ages.length ? Math.min(...ages) : since;
  const alarm = document.getElementById("lost");
  const lost = live.failures >= FAILURES_BEFORE_ALARM || (live.failures > 0 && since > 2 * interval());
  if (alarm.hidden === lost) alarm.hidden = !lost;
  if (!lost) return;
  const trouble = TROUBLES[live.status] ?? "foreign";
  const reason = alarm.dataset[trouble].replace("{}", live.status);
  setText(alarm.querySelector("[role=alert]"), reason);
  const age = alarm.querySelector("[data-text]");
  setText(age, age.dataset.text.replace("{}", duration(youngest)));
  const answers = trouble === "refused" || trouble === "busy";
  if (!answers && youngest > MAX_AGE_INTERVALS * interval()) withhold(reason);
}

/* Hides values that are too old to be shown as current; the next answer restores everything. */
function withhold(reason) {
  live.tag = "";
  document.body.dataset.withheld = "";
  const name = document.querySelector(".hero h1")?.textContent;
  if (name) setText(document.querySelector("title"), `${reason} – ${name}`);
  for (const element of document.querySelectorAll("[data-reading], [data-state]")) setText(element, ABSENT);
}

function schedule(seconds) {
  clearTimeout(live.timer);
  if (!document.hidden) live.timer = setTimeout(refresh, seconds * 1000);
}

async function refresh() {
  live.request?.abort();
  const request = new AbortController();
  live.request = request;
  const timeout = setTimeout(() => request.abort(), TIMEOUT_MILLISECONDS);
  let next;
  let status = 0;
  try {
    const headers = live.tag ? { "If-None-Match": live.tag } : {};
    const answer = await fetch(address(location.href), { cache: "no-store", headers, signal: request.signal });
    const text = await answer.text();
    status = answer.status;
    next = status === 304 ? stillTheSame() : show(answer, text);
  } catch {
    if (live.request !== request) return;
    live.status = status;
    live.failures += 1;
    next = Math.min(2 ** (live.failures - 1), MAX_RETRY_SECONDS);
  } finally {
    clearTimeout(timeout);
  }
  if (live.request !== request) return;
  live.request = null;
  showAges();
  schedule(next);
}

/* The poll has not ended yet: returns increasing retry delays, at most one refresh interval. */
function stillTheSame() {
  live.failures = 0;
  live.unchanged += 1;
  return Math.min(interval() * 2 ** (live.unchanged - 3), interval(), 60);
}

/* Shows a page of the exporter, including the 404 page for an unknown charger; throws for anything
   else. Another kind of page, or a page of another version of the exporter, is loaded instead. */
function show(answer, text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const { edition } = fresh.body.dataset;
  if (edition === undefined) throw new Error("foreign");
  if (edition !== document.body.dataset.edition) {
    location.reload();
    return interval();
  }
  live.tag = answer.headers.get("ETag") ?? "";
  live.received = Date.now();
  live.failures = live.unchanged = 0;
  setText(document.querySelector("title"), fresh.title);
  const focused = document.activeElement;
  patch(document.body, fresh.body);
  // An element that is moved loses the focus.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  document.dispatchEvent(new Event("refreshed"));
  // Spreads the requests of pages that were opened at the same time.
  const spread = Math.random() * Math.min(interval() / 10, 2);
  return Number(document.body.dataset.due) + MARGIN_SECONDS + spread;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(live.timer);
    live.request?.abort();
    live.request = null;
  } else {
    refresh();
  }
});
addEventListener("online", () => schedule(0));
setInterval(() => { if (!document.hidden) showAges(); }, 1000);
schedule(Number(document.body.dataset.due) + MARGIN_SECONDS);
