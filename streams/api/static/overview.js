// Keeps the overview up to date: one event stream, and polling with ETags when the stream cannot be had.

const labels = JSON.parse(document.getElementById("labels").textContent);
const main = document.getElementById("main");
const pill = document.getElementById("connection");
const latest = new Map(); // KPI id -> its newest value
const sources = new Map(); // source -> its newest state
let now = null; // the newest processing instant, ms: ages count from it, since demos run on the log's clock

// -- building -----------------------------------------------------------------------------------------------------

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function drawing(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const icon = (name) => drawing("svg", { class: "icon", "aria-hidden": "true" }, drawing("use", { href: `#i-${name}` }));
const stateOf = ([kind, word]) => make("span", { class: `state ${kind}` }, icon(kind), word);
const part = (tile, name) => tile.querySelector(`[data-part="${name}"]`);
const tileOf = (kpi) => document.querySelector(`.tile[data-kpi="${kpi}"]`);

// An exact decimal text stays exact: Intl formats the text, not a float made of it.
function numberText(exact, places) {
  if (exact === null || exact === undefined || exact === "") return "–";
  const digits = places ?? (exact.split(".")[1] ?? "").length;
  return new Intl.NumberFormat(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(exact);
}

function dataOf(exact, places, properties = {}) {
  return make("data", { value: exact, ...properties }, numberText(exact, places));
}

function show(node, exact) {
  const places = node.dataset.places === undefined ? undefined : Number(node.dataset.places);
  const text = numberText(exact, places);
  if (node.textContent === text) return;
  const first = node.getAttribute("value") === "";
  node.setAttribute("value", exact ?? "");
  node.textContent = text;
  if (!first) flash(node);
}

function flash(node) {
  node.classList.remove("changed");
  void node.offsetWidth; // starts the animation again
  node.classList.add("changed");
}

function ageText(since) {
  const seconds = Math.max(0, Math.floor(((now ?? Date.now()) - Date.parse(since)) / 1000));
  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"]];
  for (const [size, unit, smaller, small] of units) {
    if (seconds >= size) {
      const rest = Math.floor((seconds % size) / smaller);
      return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
    }
  }
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min` : `${seconds} s`;
}

function clockText(at) {
  const options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: "UTC", hour12: false };
  return at ? `${new Intl.DateTimeFormat("en-GB", options).format(Date.parse(at)).replace(",", "")} UTC` : "never";
}

// -- tiles --------------------------------------------------------------------------------------------------------

function onKpi(value) {
  const before = latest.get(value.id);
  latest.set(value.id, value);
  for (const node of document.querySelectorAll(`[data-kpi-number="${value.id}"]`)) show(node, value.exact);
  const tile = tileOf(value.id);
  if (!tile) return;
  tile.dataset.state = value.freshness.state;
  showNote(tile, value.freshness);
  const figure = part(tile, "number");
  if (figure) show(figure, value.exact);
  if (part(tile, "money")) showMoney(part(tile, "money"), value.rows.filter((row) => row.currency));
  if (part(tile, "risk")) showRisk(part(tile, "risk"), value.at_risk.amounts);
  if (before?.exact !== value.exact || before?.rows[0]?.numerator !== value.rows[0]?.numerator) dirty(value.id);
}

function showNote(tile, freshness) {
  const [kind, word] = labels.states[freshness.state];
  part(tile, "note").replaceChildren(stateOf([kind, { ok: "Up to date", warn: "Stale" }[kind] ?? word]), " ", make("span", {}, freshness.note));
}

function showMoney(list, rows) {
  const known = new Map([...list.querySelectorAll("li[data-currency]")].map((item) => [item.dataset.currency, item]));
  const items = rows.map((row) => {
    const item = known.get(row.currency) ?? make("li", { "data-currency": row.currency },
      make("span", { class: "unit" }, row.currency), make("data", { class: "number", value: "" }));
    show(item.querySelector("data"), row.exact);
    return item;
  });
  list.replaceChildren(...(items.length ? items : [make("li", { class: "empty" }, "Nothing to bill")]));
}

function showRisk(list, amounts) {
  list.hidden = amounts.length === 0;
  list.replaceChildren(...amounts.map((row) => make("div", {},
    make("dt", {}, make("i", { class: "dot HELD" }), "Held by findings"),
    make("dd", {}, dataOf(row.exact), " ", make("span", { class: "unit" }, row.currency)))));
}

// -- what a tile is made of: asked for a moment after its number changed, at most once a second ---------------------------

const details = {
  unbilled_hours: [
    ["/v1/kpis/unbilled_hours/breakdown?by=state", showBilling],
    ["/v1/kpis/unbilled_hours/series?step=1d", showSpark],
  ],
  held_hours: [["/v1/kpis/held_hours/breakdown?by=hold_code", showHolds]],
  open_findings: [
    ["/v1/kpis/open_findings/breakdown?by=state", showSeverities],
    ["/v1/findings?status=OPEN&status=ACK&limit=15", showFindings],
  ],
};
const waiting = new Set();

function dirty(kpi) {
  if (!details[kpi] || waiting.has(kpi)) return;
  waiting.add(kpi);
  setTimeout(() => {
    waiting.delete(kpi);
    for (const [address, showIt] of details[kpi]) ask(address).then((body) => body && showIt(body), () => undefined);
  }, 1000);
}

async function ask(address) {
  const response = await fetch(address, { cache: "no-cache" }); // revalidates: unchanged answers cost a 304
  return response.ok ? response.json() : null;
}

function showBilling(rows) {
  const order = Object.keys(labels.billing);
  const known = rows.filter((row) => row.numerator > 0).sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  const total = known.reduce((sum, row) => sum + row.numerator, 0) || 1;
  let seen = 0;
  const bar = drawing("svg", { class: "bar", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  const legend = make("dl", { class: "legend" });
  for (const row of known) {
    const from = Math.floor((seen * 1000) / total);
    seen += row.numerator;
    const width = Math.floor((seen * 1000) / total) - from;
    bar.append(drawing("rect", { class: `seg ${row.state}`, x: from, width, height: 10 }));
    legend.append(make("div", {}, make("dt", {}, make("i", { class: `dot ${row.state}` }), labels.billing[row.state] ?? row.state),
      make("dd", {}, dataOf(row.exact, 2), " h")));
  }
  part(tileOf("unbilled_hours"), "billing").replaceChildren(bar, legend);
}

function showHolds(rows) {
  const some = rows.filter((row) => row.numerator > 0).slice(0, 4).map((row) =>
    make("div", {}, make("dt", {}, `${labels.holds[row.hold_code] ?? row.hold_code ?? "Other"} `, make("code", {}, row.hold_code ?? "")),
      make("dd", {}, dataOf(row.exact, 2), " h")));
  const none = make("div", { class: "empty" }, make("dt", {}, "Nothing is held"));
  part(tileOf("held_hours"), "holds").replaceChildren(...(some.length ? some : [none]));
}

function showSeverities(rows) {
  const counts = new Map(rows.map((row) => [row.state, row.numerator]));
  const chips = Object.entries(labels.severities).map(([code, [kind, word]]) => {
    const count = counts.get(code) ?? 0;
    return make("li", { class: `chip ${kind}${count ? "" : " none"}` }, icon(kind), make("b", {}, String(count)), ` ${word}`);
  });
  part(tileOf("open_findings"), "severities").replaceChildren(...chips);
}

function showSpark(points) {
  const figure = part(tileOf("unbilled_hours"), "spark");
  figure.hidden = points.length < 3;
  if (figure.hidden) return;
  const values = points.map((point) => Number(point.exact)); // a drawing needs no exact numbers
  const low = Math.min(...values), high = Math.max(...values);
  const place = (value, i) => `${((i * 1000) / (values.length - 1)).toFixed(1)},${(46 - (44 * (value - low)) / (high - low || 1)).toFixed(1)}`;
  const line = `M${values.map(place).join("L")}`;
  const range = `between ${numberText(low.toFixed(1), 1)} h and ${numberText(high.toFixed(1), 1)} h`;
  const name = `Unbilled hours since ${clockText(points[0].time)}, ${range}`;
  figure.replaceChildren(
    drawing("svg", { viewBox: "0 0 1000 50", preserveAspectRatio: "none", role: "img", "aria-label": name },
      drawing("path", { class: "area", d: `${line}L1000,50L0,50Z` }), drawing("path", { d: line })),
    make("figcaption", {}, make("span", {}, `since ${clockText(points[0].time).replace(/ \d\d:.*/, "")}`), make("span", {}, range)));
}

// -- tables -------------------------------------------------------------------------------------------------------

function showFindings(page) {
  const rows = page.items.map(findingRow);
  const none = make("tr", { class: "empty" }, make("td", { colspan: 6 }, icon("ok"), "No open findings: the systems agree, or are still within their grace"));
  document.querySelector("#findings tbody").replaceChildren(...(rows.length ? rows : [none]));
  document.getElementById("findings-count").textContent = `${rows.length} of ${page.total}`;
}

function findingRow(row) {
  const words = row.impact_s ? [`${numberText(String(row.impact_hours), 2)} h`] : [];
  if (row.impact_minor < 0) words.push("over-billed");
  if (row.estimated) words.push("estimated");
  const money = row.currency && row.impact_minor ? [dataOf(row.impact_exact), " ", make("span", { class: "unit" }, row.currency)] : [];
  return make("tr", { "data-id": row.finding_id },
    make("td", { class: `num impact${row.impact_minor < 0 ? " minus" : ""}` }, ...money, make("span", { class: "sub" }, words.join(", "))),
    make("td", {}, stateOf(labels.severities[row.severity])),
    make("th", { scope: "row" }, make("a", { href: `/v1/findings/${row.finding_id}` }, make("code", {}, row.code)),
      row.facet ? make("span", { class: "sub" }, row.facet) : null),
    make("td", { class: "text" }, row.explanation, make("span", { class: "sub" }, row.business_key)),
    make("td", {}, make("code", {}, row.queue)),
    make("td", { class: "num" }, make("time", { datetime: row.onset_at }, ageText(row.onset_at))));
}

function onSource(row) {
  sources.set(row.source, row);
  const sorted = [...sources.values()].sort((a, b) => (a.source < b.source ? -1 : 1));
  part(tileOf("sync_lag"), "lags").replaceChildren(...sorted.map((source) =>
    make("li", {}, make("span", { class: `state ${labels.states[source.state][0]}` }, icon(labels.states[source.state][0]), source.source),
      make("span", {}, source.behind))));
  document.querySelector("#sources tbody").replaceChildren(...sorted.map(sourceRow));
}

function sourceRow(row) {
  const mark = row.watermark_at ? make("time", { datetime: row.watermark_at }, clockText(row.watermark_at)) : "never";
  const count = (value) => make("td", { class: "num" }, dataOf(String(value), 0));
  return make("tr", { "data-source": row.source }, make("th", { scope: "row" }, row.source),
    make("td", {}, stateOf(labels.states[row.state])), make("td", {}, mark), make("td", { class: "num" }, row.behind),
    count(row.received), count(row.parked), count(row.dead_lettered));
}

function onFreshness(body) {
  now = Date.parse(body.as_of) || now;
  const banner = document.getElementById("overall");
  const words = { ok: "Every source is on time", warn: "A source is behind: what depends on it is greyed", unknown: "No number yet" };
  const [kind] = labels.states[body.state];
  banner.dataset.state = body.state;
  banner.replaceChildren(make("span", { class: `state ${kind}` }, icon(kind), make("strong", {}, words[kind])),
    " ", make("span", { "data-part": "note" }, body.note));
  for (const time of document.querySelectorAll("#findings time")) time.textContent = ageText(time.dateTime);
}

// -- the connection -----------------------------------------------------------------------------------------------

const connection = {
  connecting: ["wait", "Connecting"],
  live: ["live", "Live"],
  retrying: ["wait", "Reconnecting"],
  polling: ["wait", "Every 10 s"],
  offline: ["off", "Offline: numbers are from before"],
};

function connected(state) {
  if (pill.dataset.state === state) return;
  pill.dataset.state = state;
  const [name, word] = connection[state];
  pill.replaceChildren(icon(name), make("span", {}, word));
}

const handlers = { kpi: onKpi, source: onSource, freshness: onFreshness, finding: () => dirty("open_findings"), findings: () => dirty("open_findings") };
let polling = null;

function listen() {
  const stream = new EventSource("/v1/stream");
  stream.onopen = () => { clearInterval(polling); polling = null; connected("live"); };
  stream.onerror = () => {
    if (polling === null) {
      connected("retrying");
      polling = setInterval(poll, 10_000);
    }
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5_000); // a browser gives up on a refusal
  };
  for (const [name, handle] of Object.entries(handlers)) {
    stream.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  }
}

// A proxy may let requests through and streams not: the numbers then come every ten seconds.
async function poll() {
  try {
    const ids = [...document.querySelectorAll("[data-kpi]")].map((tile) => tile.dataset.kpi);
    for (const id of ids) onKpi(await ask(`/v1/kpis/${id}`));
    for (const row of (await ask("/v1/sources")).filter((source) => source.object === "*")) onSource(row);
    if (polling !== null) connected("polling");
  } catch {
    if (polling !== null) connected("offline");
  }
}

// -- for those who listen: the key figures in one sentence, at most once a minute -------------------------------------------

let said = "";
function announce() {
  const value = (id, places) => numberText(latest.get(id)?.exact, places);
  const sentence = `Unbilled ${value("unbilled_hours", 2)} hours, held ${value("held_hours", 2)} hours, ${value("open_findings", 0)} open findings`;
  if (sentence !== said) document.getElementById("announce").textContent = said = sentence;
}

for (const node of document.querySelectorAll("data[value]")) {
  const places = node.dataset.places ?? node.textContent.split(".")[1]?.length ?? 0;
  node.textContent = numberText(node.getAttribute("value"), Number(places));
}
for (const item of document.querySelectorAll(".money li:not(.empty)")) item.dataset.currency = item.querySelector(".unit").textContent;
listen();
setInterval(announce, 60_000);
