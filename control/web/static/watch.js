// The player's page: waits for the stream, plays it, says how it goes, and starts again by itself after any fault.

import { ask, byId, codec, duration, element, origin, picture, plural, rtmpServer, rtmpsServer, setText, uncarried, wireCopyButtons } from "./page.js";
import { lacks, nothingPlayable } from "./decoding.js";
import { JUMP, playbackRate } from "./governor.js";
import { KINDS, makePlayer } from "./players.js";
import { Quality } from "./quality.js";
import { wireControls } from "./controls.js";
import { showStats } from "./stats.js";
import { LIVE, Timeline } from "./timeline.js";

const data = document.body.dataset;
const video = byId("video");
const TICK = 250;
/** Without a new picture for this long: say so; and for this long: start afresh. Milliseconds. */
const STALLED = 900;
const STUCK = 6000;
/** How it plays is reported this long after the first picture, when the server knows the viewer; then as often as that. Milliseconds. */
const FIRST_REPORT = 4000;
const NEXT_REPORT = 60000;

/** What the server knows this page's player by, and nobody else: made anew with each page, kept nowhere. */
const session = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const quality = new Quality();
const timeline = new Timeline(byId("timeline"), wind);

const WORDS = {
  connecting: ["Connecting", ""],
  waiting: ["The stream is offline", "Waiting. It starts by itself as soon as it goes live."],
  stalled: ["Buffering", ""],
  away: ["The publisher lost its connection", "Waiting for it to come back."],
  lost: ["The server cannot be reached", "Trying again."],
  uncarried: ["This stream cannot be played here", ""],
  failed: ["This stream cannot be played here", ""],
};

const page = {
  kind: readKind(),
  /** the name of the quality that the viewer wants, "" for whatever the line carries */
  quality: "",
  player: null,
  /** undefined: not asked yet, null: offline, else the server's facts about the stream */
  stream: undefined,
  reachable: true,
  state: "connecting",
  attempts: 0,
  notBefore: 0,
  /** paused by the viewer */
  held: false,
  /** behind live because the viewer wants it so */
  past: false,
  time: 0,
  /** the latest that was shown */
  furthest: 0,
  advanced: 0,
  started: 0,
  report: 0,
  /** the codecs of the stream that is played, or of which nothing can be */
  codecs: "",
};

function readKind() {
  const wanted = new URLSearchParams(location.search).get("player");
  return wanted in KINDS ? wanted : "ll-hls";
}

// What the page shows

function show(state, text = "") {
  page.state = state;
  const [title, more] = WORDS[state] ?? ["", ""];
  byId("player").dataset.state = state === "away" ? "waiting" : state;
  setText(byId("veil-title"), title);
  setText(byId("veil-text"), text || more);
  byId("retry").hidden = state !== "failed";
  showFacts();
}

function showFacts() {
  // What was known before the server went away says nothing about now.
  const stream = page.reachable ? page.stream : null;
  const badge = byId("badge");
  badge.dataset.state = stream?.state ?? "offline";
  setText(badge, { live: "Live", away: "Reconnecting" }[stream?.state] ?? (stream === null ? "Offline" : "Connecting"));
  if (!stream) byId("to-live").dataset.live = "false";
  setText(byId("viewers"), stream ? `${plural(stream.viewers, "viewer", "viewers")}` : "");
  setText(byId("uptime"), stream ? `Live for ${duration(stream.uptime)}` : "");
  if (stream?.title) showTitle(stream.title);
  const sound = stream?.audio ? ` · ${codec(stream.audio.codec)}` : "";
  const lacking = lacks(stream, page.player?.left ?? []);
  const left = lacking.map(({ kind }) => (kind === "video" ? " · not seen here" : " · not heard here"));
  setText(byId("tracks"), stream ? picture(stream.video) + sound + left.join("") : "");
  // Where nothing plays the veil says why.
  const words = page.player ? lacking.map((each) => each.words).join(" ") : "";
  setText(byId("lacking"), words);
  byId("lacking").hidden = !words;
  const unseen = !stream?.video || lacking.some(({ kind }) => kind === "video");
  byId("player").classList.toggle("sound-only", Boolean(page.player && stream?.audio && unseen));
}

/** What the stream is called; the address has its name. */
function showTitle(title) {
  if (byId("title").textContent === title) return;
  setText(byId("title"), title);
  document.title = `${title} · mediaserver`;
  video.setAttribute("aria-label", title);
}

// Whether it is live

async function look() {
  try {
    const answer = await ask(`/api/live/${encodeURIComponent(data.name)}`);
    page.stream = answer.stream;
    page.reachable = true;
  } catch {
    page.reachable = false;
  }
  // What is not played now may be, if it is encoded in another way.
  if (page.player?.left.length && page.stream?.state === "live" && codecs() !== page.codecs) stop();
  decide();
  showFacts();
}

let pause = 0;
let wake = () => {};

async function keepLooking() {
  for (;;) {
    await look();
    // Spread out, so that a thousand waiting pages do not ask in the same moment.
    pause = (page.state === "playing" ? 5000 : 1200) * (0.85 + 0.3 * Math.random());
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, pause);
    });
  }
}

function unplayable(stream) {
  const tracks = [stream.video, stream.audio].filter(Boolean);
  return tracks.length > 0 && uncarried(stream).length === tracks.length;
}

/** By what the stream is encoded, "" where there is none. */
function codecs() {
  return [page.stream?.video?.codec, page.stream?.audio?.codec].filter(Boolean).join(" ");
}

function decide() {
  // As long as it is the same; but what cannot be decoded may be encoded in another way the next time.
  if (page.state === "failed" && (!page.codecs || codecs() === page.codecs)) return;
  const moving = page.player && performance.now() - page.advanced < STALLED;
  if (moving) return;
  if (!page.reachable) {
    if (!page.player || performance.now() - page.advanced > STUCK) {
      stop();
      show("lost");
    }
  } else if (page.stream === null) {
    stop();
    show("waiting");
  } else if (unplayable(page.stream)) {
    stop();
    // Another broadcast under this name, or the sound's header that comes late, may be played: this is asked again each time.
    const names = uncarried(page.stream).map((track) => codec(track.codec)).join(" and ");
    show("uncarried", `HLS and DASH cannot carry ${names}. Players of RTMP and HTTP-FLV can.`);
  } else if (!page.player && performance.now() >= page.notBefore) {
    start();
  }
}

// Playing

async function start() {
  stop();
  video.pause();
  if (page.state !== "connecting") show("connecting");
  page.started = page.advanced = performance.now();
  quality.begin(page.started);
  const player = makePlayer(page.kind, video, data.name, session, (kind, detail) => {
    if (player !== page.player) return;
    if (kind === "qualities") offerQualities(player);
    else giveUp(kind, detail, player.left);
  });
  page.player = player;
  page.codecs = codecs();
  try {
    await player.start();
  } catch (error) {
    if (player === page.player) giveUp("network", String(error?.message ?? ""));
    return;
  }
}

/** Fill the picker with what this player has. A choice that is not among it any more (its rendition was given up) is Auto again. */
function offerQualities(player) {
  showFacts();
  const wanted = player.qualities.find(({ name }) => name === page.quality) ?? null;
  const select = byId("quality");
  const names = player.qualities.map(({ name }) => name);
  select.replaceChildren(
    element("option", { value: "", textContent: "Auto" }), ...names.map((name) => element("option", { value: name, textContent: name })),
  );
  select.value = wanted?.name ?? "";
  select.hidden = names.length < 2;
  if (wanted) player.choose(wanted);
}

/** Called when there is something to play: dash.js must have its ears on the element before, or it misses the start. */
async function play() {
  if (!page.player || page.held || !video.paused) return;
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    if (video.muted) {
      page.held = true;
      show("playing");
      return;
    }
    video.muted = true;
    byId("unmute").hidden = false;
    await play();
  }
}

function stop() {
  page.player?.stop();
  page.player = null;
  page.time = page.furthest = 0;
  page.past = false;
  timeline.show(null, 0);
}

function giveUp(kind, detail, left = []) {
  stop();
  page.attempts += 1;
  if (kind === "unsupported") return show("failed", detail || nothingPlayable(page.stream, left));
  if (kind === "media" && page.attempts > 4) {
    page.codecs = "";
    return show("failed", detail || "The picture could not be decoded.");
  }
  page.notBefore = performance.now() + Math.min(8000, 250 * 2 ** Math.min(page.attempts, 6));
  if (kind === "network") page.reachable = false;
  show(kind === "network" ? "lost" : "connecting", detail);
  return wake();
}

function bufferedAhead() {
  for (let i = 0; i < video.buffered.length; i += 1) {
    if (video.buffered.start(i) <= video.currentTime + 0.1 && video.buffered.end(i) >= video.currentTime) {
      return video.buffered.end(i) - video.currentTime;
    }
  }
  return 0;
}

/** Tell the server how it has played so far. */
function report() {
  const figures = quality.figures();
  if (!figures) return;
  const body = JSON.stringify({ session, ...figures });
  navigator.sendBeacon?.(`/api/live/${encodeURIComponent(data.name)}/report`, new Blob([body], { type: "application/json" }));
}

function measure(now) {
  // Whose fault it is that nothing moves: not the line's, if the viewer wants it so or there is nothing.
  if (page.held || page.stream === null || page.stream?.state === "away") quality.forgive();
  quality.look(now, video.currentTime, video.readyState >= 2);
  if (!quality.seen) page.report = now + FIRST_REPORT;
  if (now < page.report) return;
  page.report = now + NEXT_REPORT * (0.85 + 0.3 * Math.random());
  report();
}

function tick() {
  const { player } = page;
  const now = performance.now();
  measure(now);
  if (!player) return showStats(null);
  if (video.currentTime !== page.time) {
    page.time = video.currentTime;
    if (video.readyState >= 2) {
      // Behind the end of a stream dash.js seeks its live edge again and again, and shows the last pictures anew each time.
      if (page.stream !== null || page.time > page.furthest) page.advanced = now;
      page.furthest = Math.max(page.furthest, page.time);
      if (page.state !== "playing") show("playing");
      if (now - page.started > 10000) page.attempts = 0;
    }
  } else if (page.held) {
    page.advanced = now;
  } else if (now - page.advanced > STUCK && page.stream?.state !== "away") {
    giveUp("stuck", "");
    return showStats(null);
  } else if (now - page.advanced > STALLED) {
    sayWhyItStands();
  }
  timeline.show(Number(data.dvr) > 0 ? player.range : null, video.currentTime);
  govern(player);
  return showStats({ player, video, buffered: bufferedAhead(), steady: page.state === "playing" && now - page.started > 2500 });
}

/** As the badge does: who waits for the publisher does not wait for the line. */
function sayWhyItStands() {
  const state = page.stream?.state === "away" ? "away" : "stalled";
  if (page.state === state || (page.state === "connecting" && state === "stalled")) return;
  show(state);
  wake();
}

function govern(player) {
  const over = player.excess;
  if (page.past) video.playbackRate = 1;
  if (!Number.isFinite(over) || video.paused || page.past || page.kind !== "ll-hls") return;
  if (over > JUMP) {
    player.seekToLive();
    return;
  }
  const rate = playbackRate({ latency: over, target: 0, buffered: bufferedAhead(), rate: video.playbackRate });
  if (video.playbackRate !== rate) video.playbackRate = rate;
}

/** Go `behind` seconds back from the live edge; 0: to live. */
function wind(behind) {
  const { player } = page;
  if (!player) return;
  const { range } = player;
  page.past = behind > 0 && range !== null;
  quality.forgive();
  if (!page.past) {
    player.seekToLive();
    return;
  }
  // From here on every picture is a new one, though the stream may end before the last that was shown comes again.
  page.furthest = 0;
  // Not the very first: the window may have moved on before the seek is done.
  player.seek(Math.max(range.start + 1, range.end - behind));
}

/** The viewer pauses, or goes on. What can be wound back goes on where it was, or where it still can. */
function hold(held) {
  page.held = held;
  if (held) page.past = timeline.shown;
  const range = page.player?.range;
  if (held || !page.past || !range) return;
  page.past = range.end - video.currentTime > LIVE;
  if (video.currentTime < range.start) page.player.seek(range.start + 1);
  else if (page.past) page.player.resume();
}

// The page's own fittings

function wirePicker() {
  for (const input of document.querySelectorAll("#picker input")) {
    input.checked = input.value === page.kind;
    input.addEventListener("change", () => {
      page.kind = input.value;
      page.attempts = 0;
      const url = new URL(location.href);
      url.searchParams.set("player", page.kind);
      history.replaceState(null, "", url);
      setText(byId("picker-hint"), KINDS[page.kind]);
      video.playbackRate = 1;
      quality.forgive();
      stop();
      show("connecting");
      wake();
    });
  }
  setText(byId("picker-hint"), KINDS[page.kind]);
  byId("retry").addEventListener("click", () => {
    page.attempts = 0;
    show("connecting");
    wake();
  });
}

function wireQuality() {
  byId("quality").addEventListener("change", ({ target }) => {
    page.quality = target.value;
    page.player?.choose(page.player.qualities.find(({ name }) => name === page.quality) ?? null);
  });
}

function showAddresses() {
  const { http } = origin(data);
  const base = `${http}/live/${data.name}`;
  setText(byId("a-hls"), `${base}/index.m3u8`);
  setText(byId("a-dash"), `${base}/manifest.mpd`);
  setText(byId("a-flv"), `${base}.flv`);
  setText(byId("a-rtmp"), `${rtmpServer(data)}/${data.name}`);
  byId("a-rtmps-row").hidden = !rtmpsServer(data);
  setText(byId("a-rtmps"), `${rtmpsServer(data)}/${data.name}`);
}

if (window.top !== window) document.body.classList.add("embedded");
wirePicker();
wireQuality();
wireCopyButtons();
wireControls(video, {
  seekToLive: () => wind(0),
  excess: () => page.player?.excess ?? NaN,
  hold,
  past: () => page.past,
});
video.addEventListener("loadedmetadata", play);
video.addEventListener("canplay", play);
// The last that a browser surely runs of a page is when it is no longer seen.
document.addEventListener("visibilitychange", () => { if (document.hidden) report(); });
addEventListener("pagehide", report);
showAddresses();
setInterval(tick, TICK);
keepLooking();
