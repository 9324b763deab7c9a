// What both pages need: elements by id, words for figures, the server's list and clock, copy buttons.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; text is always text, never markup. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "data") Object.assign(made.dataset, value);
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Change text only where it differs, so that screen readers and selections are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function bitrate(bits) {
  if (!bits) return "";
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`;
}

export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${s % 60} s` : `${s} s`;
}

export const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

const CODECS = {
  h264: "H.264", hevc: "HEVC", av1: "AV1", vp9: "VP9", vp8: "VP8", flv1: "H.263", vp6f: "VP6",
  aac: "AAC", opus: "Opus", mp3: "MP3", flac: "FLAC", ac3: "AC-3", eac3: "E-AC-3", pcm_alaw: "G.711", pcm_mulaw: "G.711",
};
export const codec = (name) => CODECS[name] ?? name.toUpperCase();

/** What of a stream HLS and DASH cannot carry. */
const CARRIED = new Set(["h264", "hevc", "av1", "vp9", "aac", "opus", "mp3", "flac", "ac3", "eac3"]);
export const uncarried = (stream) => [stream?.video, stream?.audio].filter((track) => track && !CARRIED.has(track.codec));

/** "1280×720 · 30 fps · H.264", or what of it is known. */
export function picture(video) {
  if (!video) return "Sound only";
  const size = video.width ? `${video.width}×${video.height}` : "";
  // Measured, so it wavers around what the encoder means: 29.9, 30.1.
  const rate = video.frameRate ? `${Math.round(video.frameRate)} fps` : "";
  return [size, rate, codec(video.codec)].filter(Boolean).join(" · ");
}

/** Where this server is, as the visitor reached it; the configured public address where there is one. */
export function origin(data) {
  const url = new URL(data.publicUrl || location.origin);
  return { http: url.origin, host: url.hostname };
}

export function rtmpServer(data) {
  const port = data.rtmpPort === "1935" ? "" : `:${data.rtmpPort}`;
  return `rtmp://${origin(data).host}${port}/${data.rtmpApp}`;
}

/** The same with TLS, "" where that is not on offer. */
export function rtmpsServer(data) {
  if (!Number(data.rtmpsPort)) return "";
  const port = data.rtmpsPort === "443" ? "" : `:${data.rtmpsPort}`;
  return `rtmps://${origin(data).host}${port}/${data.rtmpApp}`;
}

/** The server's clock minus this machine's, in milliseconds, kept from the answer that took the least time. */
export const clock = {
  offset: 0,
  _best: Infinity,
  now() { return Date.now() + this.offset; },
  learn(serverSeconds, sent, received) {
    const took = received - sent;
    if (took > this._best * 1.5 + 20) return;
    this._best = Math.min(this._best, took);
    this.offset = serverSeconds * 1000 - (sent + received) / 2;
  },
};

/** GET JSON. Throws where there is no good answer. Sets the clock by what comes back. */
export async function ask(url, timeout = 5000) {
  const sent = Date.now();
  const response = await fetch(url, { signal: AbortSignal.timeout(timeout), cache: "no-store" });
  const received = Date.now();
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const value = await response.json();
  clock.learn(value.now, sent, received);
  return value;
}

/** Run `work` again and again, `wait()` ms apart, not while the page is hidden, at once when it is shown again. */
export function repeat(work, wait) {
  let timer = 0;
  let running = false;
  async function turn() {
    clearTimeout(timer);
    if (running) return;
    running = true;
    try { await work(); } finally { running = false; }
    if (!document.hidden) timer = setTimeout(turn, wait());
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) turn(); });
  turn();
  return turn;
}

export function toast(text) {
  const node = byId("toast");
  setText(node, text);
  node.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => node.classList.remove("shown"), 1800);
}

async function copy(text) {
  // The clipboard API exists only on https and localhost; a server on a home network has neither.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = element("textarea", { value: text, readOnly: true, className: "visually-hidden" });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("refused");
}

/** Every button with data-copy="ID" copies the text of that element. */
export function wireCopyButtons() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await copy(byId(button.dataset.copy).textContent);
      toast("Copied");
    } catch {
      toast("Select the text and copy it by hand");
    }
  });
}
