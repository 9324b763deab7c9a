// The first page: how to push, and what is live, kept up to date.

import { ask, bitrate, byId, duration, element, origin, picture, plural, repeat, rtmpServer, rtmpsServer, setText, wireCopyButtons } from "./page.js";

const NAME = /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$/;
const data = document.body.dataset;
const byKey = data.publish === "keys";

// How to push

const SOURCES = {
  file: "-i FILE -c:v libx264 -g 60 -c:a aac",
  test: "-f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440 -c:v libx264 -pix_fmt yuv420p -g 60 -c:a aac",
};
let source = "file";

function showHowToPush() {
  const field = byId("name");
  const valid = NAME.test(field.value);
  field.setAttribute("aria-invalid", String(!valid));
  const key = byKey ? "YOUR-STREAM-KEY" : valid ? field.value : "my-stream";
  setText(byId("obs-server"), rtmpServer(data));
  setText(byId("obs-tls"), rtmpsServer(data));
  setText(byId("obs-key"), key);
  showCommand(`ffmpeg -re ${SOURCES[source]} -f flv ${rtmpServer(data)}/${key}`);
  const link = byId("then-link");
  link.href = `/watch/${encodeURIComponent(key)}`;
  setText(link, `${origin(data).http}/watch/${key}`);
}

/** Each option in a span with its value, so that a line breaks between options and not at their hyphens. */
function showCommand(text) {
  if (byId("command").textContent === text) return;
  const words = text.split(/ (?=-|rtmp:)/);
  byId("command").replaceChildren(...words.flatMap((word, index) => [index ? " " : "", element("span", { textContent: word })]));
}

function wireHowToPush() {
  byId("name-field").hidden = byKey;
  byId("then").hidden = byKey;
  byId("obs-key-row").hidden = byKey;
  byId("key-hint").hidden = !byKey;
  byId("obs-tls-row").hidden = !rtmpsServer(data);
  byId("name").addEventListener("input", showHowToPush);
  const tabs = [byId("tab-file"), byId("tab-test")];
  function select(tab) {
    source = tab.id.slice("tab-".length);
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    }
    byId("command-panel").setAttribute("aria-labelledby", tab.id);
    showHowToPush();
  }
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const next = tabs[1 - index];
      next.focus();
      select(next);
    });
  }
  showHowToPush();
}

// What is live

const rows = new Map();
/** How old a still picture of a stream may be before another is asked for, milliseconds. */
const STILL = 60000;

const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
};

/** What is to be seen of a stream: an icon until there is a picture of it, and where there is none. */
function makeStill(stream) {
  const image = element("img", { alt: "", width: 320, height: 180, loading: "lazy", decoding: "async", fetchPriority: "low" });
  image.addEventListener("load", () => image.classList.add("shown"));
  image.addEventListener("error", () => image.classList.remove("shown"));
  const link = element("a", { className: "still", href: stream.watch, tabIndex: -1, "aria-hidden": "true" }, icon("picture"), icon("note"), image);
  return { link, image, asked: -Infinity };
}

function showStill(still, stream) {
  const wanted = Boolean(stream.video);
  still.link.classList.toggle("sound-only", Boolean(stream.audio) && !wanted);
  if (!wanted) still.image.classList.remove("shown");
  if (!wanted || stream.state !== "live" || performance.now() - still.asked < STILL) return;
  still.asked = performance.now();
  still.image.src = `/live/${encodeURIComponent(stream.name)}/thumbnail.jpg?width=320&at=${Math.round(still.asked)}`;
}

function makeRow(stream) {
  const parts = {
    still: makeStill(stream),
    link: element("a", { href: stream.watch }),
    watch: element("a", { className: "button primary", href: stream.watch, textContent: "Watch" }),
    badge: element("span", { className: "badge" }),
    picture: element("span"),
    bitrate: element("span"),
    viewers: element("span"),
    uptime: element("span"),
    ladder: element("ul", { className: "ladder", "aria-label": "Renditions" }),
  };
  const item = element(
    "li", { className: "card stream", data: { name: stream.name } },
    parts.still.link,
    element("h2", {}, parts.link, parts.badge),
    element("p", { className: "facts muted" }, parts.picture, parts.bitrate, parts.viewers, parts.uptime),
    parts.ladder,
    parts.watch,
  );
  return { item, parts };
}

function fillRow({ parts }, stream) {
  setText(parts.link, stream.title);
  parts.watch.setAttribute("aria-label", `Watch ${stream.title}`);
  showStill(parts.still, stream);
  parts.badge.dataset.state = stream.state;
  setText(parts.badge, stream.state === "live" ? "Live" : "Reconnecting");
  setText(parts.picture, picture(stream.video));
  setText(parts.bitrate, bitrate(stream.bitrate));
  setText(parts.viewers, plural(stream.viewers, "viewer", "viewers"));
  setText(parts.uptime, duration(stream.uptime));
  showLadder(parts.ladder, stream.rungs);
}

function showLadder(list, rungs) {
  const words = JSON.stringify(rungs.map(({ name, running }) => [name, running]));
  if (list.dataset.words === words) return;
  list.dataset.words = words;
  list.replaceChildren(...rungs.map(({ name, running }) => element(
    "li", { textContent: name, title: running ? "" : "Not made at the moment", data: { running: String(running) } },
  )));
}

function showStreams(all) {
  const streams = [...all.filter((stream) => stream.state === "live"), ...all.filter((stream) => stream.state !== "live")];
  const list = byId("streams");
  const names = new Set(streams.map((stream) => stream.name));
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    row.item.remove();
    rows.delete(name);
  }
  for (const [index, stream] of streams.entries()) {
    if (!rows.has(stream.name)) rows.set(stream.name, makeRow(stream));
    const row = rows.get(stream.name);
    fillRow(row, stream);
    if (list.children[index] !== row.item) list.insertBefore(row.item, list.children[index] ?? null);
  }
  list.setAttribute("aria-busy", "false");
  byId("empty").hidden = streams.length > 0;
  setText(byId("live-count"), streams.length ? plural(streams.length, "stream", "streams") : "");
}

function showServer(state, words) {
  const node = byId("server-state");
  node.dataset.state = state;
  setText(node.querySelector(".words"), words);
}

let failures = 0;

async function refresh() {
  try {
    const live = await ask("/api/live");
    failures = 0;
    showStreams(live.streams);
    if (live.draining) showServer("draining", "Shutting down");
    else showServer("ready", `Up ${duration(live.now - live.since)}`);
  } catch {
    failures += 1;
    if (failures > 1) showServer("lost", "Server not reachable, trying again");
  }
}

wireHowToPush();
wireCopyButtons();
repeat(refresh, () => Math.min(1500 * 2 ** failures, 10000));
