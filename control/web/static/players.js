// Three ways to play one stream, all with the same few methods: start, stop, seekToLive, seek, resume, range, choose, latency,
// excess, bitrate. Times are in seconds; `range` is from where to where one can `seek` now, on the clock of `video.currentTime`;
// `resume` goes on where a pause began. `report(kind, detail)` says why it cannot go on: gone | network | media | unsupported;
// and "qualities" when it is known what there is to `choose` from, which are then in `qualities`, best first; and what is not
// played because this browser does not decode it, in `left`: "video", "audio".

import { decodes, playable } from "./decoding.js";
import { bitrate, clock } from "./page.js";

/** Bits a second of what was loaded lately, from the bytes and durations of fragments of each track. */
class Throughput {
  constructor() { this.loads = []; }
  add(type, bytes, seconds) {
    if (!bytes || !(seconds > 0)) return;
    this.loads.push({ type, bytes, seconds, at: performance.now() });
    while (this.loads[0].at < performance.now() - 8000) this.loads.shift();
  }
  bits() {
    const sums = new Map();
    for (const { type, bytes, seconds } of this.loads) {
      const sum = sums.get(type) ?? { bytes: 0, seconds: 0 };
      sums.set(type, { bytes: sum.bytes + bytes, seconds: sum.seconds + seconds });
    }
    return [...sums.values()].reduce((total, sum) => total + (sum.bytes * 8) / sum.seconds, 0);
  }
}

/** What pictures are called by: "720p", and their rate where two of them have the same size. Best first, each once. */
function nameQualities(pictures) {
  const sorted = [...pictures].sort((a, b) => b.height - a.height || b.bits - a.bits);
  return sorted.map((picture) => {
    const alike = sorted.filter((other) => other.height === picture.height).length > 1;
    return { ...picture, name: alike ? `${picture.height}p ${bitrate(picture.bits)}` : `${picture.height}p` };
  });
}

/** hls.js's `Loader`, for playlists; a multivariant one passes `read` before hls.js sees it. */
function reading(Loader, read) {
  return class extends Loader {
    load(context, config, callbacks) {
      if (context.type !== "manifest") return super.load(context, config, callbacks);
      const onSuccess = (response, ...rest) => callbacks.onSuccess({ ...response, data: read(response.data) }, ...rest);
      return super.load(context, config, { ...callbacks, onSuccess });
    }
  };
}

class HlsPlayer {
  constructor(video, name, session, lowLatency, report) {
    Object.assign(this, { video, report, lowLatency, url: `/live/${name}/index.m3u8?session=${session}` });
    Object.assign(this, { hls: null, stopped: false, repaired: 0, qualities: [], left: [] });
    this.throughput = new Throughput();
  }

  async start() {
    const { default: Hls } = await import("./vendor/hls.min.mjs");
    if (this.stopped) return;
    if (!Hls.isSupported()) {
      this.report("unsupported", "This browser has no Media Source Extensions.");
      return;
    }
    const hls = new Hls({
      pLoader: reading(Hls.DefaultConfig.loader, (text) => {
        const found = playable(text);
        this.left = found.left;
        return found.text;
      }),
      lowLatencyMode: this.lowLatency,
      enableWorker: false, // CMAF needs no transmuxing, and a worker made from a blob would need a laxer policy
      maxLiveSyncPlaybackRate: 1, // governor.js sees to it
      liveSyncOnStallIncrease: this.lowLatency ? 0.1 : 1,
      backBufferLength: 15,
      maxBufferLength: this.lowLatency ? 8 : 20,
      highBufferWatchdogPeriod: this.lowLatency ? 1 : 2,
      startFragPrefetch: true,
      renderTextTracksNatively: false,
      enableWebVTT: false,
      enableIMSC1: false,
      enableCEA708Captions: false,
      // This page asks whether the stream is live before it plays, so a 404 is an answer and not a reason to wait.
      manifestLoadPolicy: { default: {
        maxTimeToFirstByteMs: 8000, maxLoadTimeMs: 10000, timeoutRetry: null, errorRetry: null,
      } },
    });
    this.hls = hls;
    hls.on(Hls.Events.ERROR, (_event, data) => this.onError(Hls, data));
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      const pictures = hls.levels.map(({ height, bitrate: bits }, index) => ({ height, bits, index }));
      this.qualities = nameQualities(pictures.filter(({ height }) => height));
      this.report("qualities");
    });
    hls.on(Hls.Events.FRAG_BUFFERED, (_event, { frag, part, stats }) => {
      this.throughput.add(frag.type, stats.total || stats.loaded, (part ?? frag).duration);
    });
    hls.attachMedia(this.video);
    hls.loadSource(this.url);
  }

  onError(Hls, data) {
    if (!data.fatal) return;
    const status = data.response?.code ?? 0;
    if (data.type === Hls.ErrorTypes.NETWORK_ERROR) {
      this.report(status === 404 || status === 410 ? "gone" : "network", status ? `The server answered ${status}.` : "");
    } else if (/incompatible/i.test(data.details)) {
      this.report("unsupported", "");
    } else if (data.type === Hls.ErrorTypes.MEDIA_ERROR && performance.now() - this.repaired > 5000) {
      this.repaired = performance.now();
      this.hls.recoverMediaError();
    } else {
      this.report("media", data.details);
    }
  }

  /** Play `quality` and no other from here on; null: whatever the line carries. */
  choose(quality) {
    if (!this.hls) return;
    // Close to live there is next to nothing in the buffer to wait for; else what is there makes room for what was asked for.
    if (quality && !this.lowLatency) this.hls.nextLevel = quality.index;
    else this.hls.loadLevel = quality ? quality.index : -1;
  }

  stop() {
    this.stopped = true;
    this.hls?.destroy();
    this.hls = null;
  }

  seekToLive() {
    const position = this.hls?.liveSyncPosition;
    if (position) this.video.currentTime = position;
  }

  seek(time) { this.video.currentTime = time; }

  resume() { this.video.play().catch(() => {}); }

  get range() {
    const start = this.hls?.latestLevelDetails?.fragmentStart;
    const end = this.hls?.liveSyncPosition;
    return Number.isFinite(start) && end ? { start, end } : null;
  }

  get latency() {
    const date = this.hls?.playingDate;
    return date ? (clock.now() - date.getTime()) / 1000 : this.hls?.latency || NaN;
  }

  /** How far over its target it plays, on hls.js's own clock, which starts at the end of the playlist. */
  get excess() {
    const target = this.hls?.targetLatency;
    return target && this.hls.latency ? this.hls.latency - target : NaN;
  }

  get bitrate() { return this.throughput.bits(); }
}

class DashPlayer {
  constructor(video, name, session, report) {
    Object.assign(this, { video, report, url: `/live/${name}/manifest.mpd?session=${session}` });
    Object.assign(this, { dash: null, stopped: false, qualities: [], left: [], offered: [] });
    this.throughput = new Throughput();
  }

  async start() {
    const { MediaPlayer, Debug } = await import("./vendor/dash.min.mjs");
    if (this.stopped) return;
    const dash = MediaPlayer().create();
    this.dash = dash;
    dash.updateSettings({
      debug: { logLevel: Debug?.LOG_LEVEL_NONE ?? 0 },
      streaming: {
        delay: { useSuggestedPresentationDelay: true },
        liveCatchup: { enabled: true, maxDrift: 4, playbackRate: { min: -0.2, max: 0.5 } },
        buffer: { bufferToKeep: 15 },
        gaps: { jumpGaps: true, jumpLargeGaps: true },
        text: { defaultEnabled: false },
        retryAttempts: { MPD: 1 },
        lastBitrateCachingInfo: { enabled: false },
        lastMediaSettingsCachingInfo: { enabled: false },
      },
    });
    // It knows by itself what it cannot play, but for AC-3.
    dash.registerCustomCapabilitiesFilter(({ codecs }) => decodes(codecs));
    dash.on(MediaPlayer.events.MANIFEST_LOADED, ({ data }) => {
      this.offered = data.Period.flatMap((period) => period.AdaptationSet.map(({ contentType }) => contentType));
    });
    // Not from within: it goes on with what it has after it has told of an error.
    dash.on(MediaPlayer.events.ERROR, ({ error }) => setTimeout(() => this.onError(error)));
    dash.on(MediaPlayer.events.STREAM_INITIALIZED, () => {
      this.left = this.offered.filter((kind) => !dash.getTracksFor(kind).length);
      const pictures = dash.getRepresentationsByType("video").map(({ id, height, bandwidth: bits }) => ({ height, bits, id }));
      this.qualities = nameQualities(pictures);
      this.report("qualities");
    });
    dash.on(MediaPlayer.events.FRAGMENT_LOADING_COMPLETED, ({ request }) => {
      if (request.type === "MediaSegment") this.throughput.add(request.mediaType, request.bytesLoaded, request.duration);
    });
    dash.initialize(this.video, this.url, false);
  }

  onError(error) {
    const text = String(error?.message ?? "");
    if (/^MEDIA_ERR/.test(text)) {
      // The element's own: it was not the line.
      this.report("media", "");
    } else if (/codec|MediaSource|no streams/i.test(text)) {
      this.left = this.offered;
      this.report("unsupported", "");
    } else if (error?.code >= 10 && error?.code <= 20) this.report("media", text);
    else this.report("network", "");
  }

  choose(quality) {
    if (!this.dash) return;
    this.dash.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: !quality } } } });
    if (quality) this.dash.setRepresentationForTypeById("video", quality.id);
  }

  stop() {
    this.stopped = true;
    this.dash?.destroy();
    this.dash = null;
  }

  seekToLive() { this.dash?.seekToOriginalLive(); }

  /** By its own means: it would take another seek for an error, and mend it. */
  seek(time) {
    const { range } = this;
    if (range) this.dash.seek(time - range.start);
  }

  /** By its own means too: it would take the pause for a delay, and jump over what was missed. */
  resume() { this.dash?.play(); }

  get range() {
    const range = this.dash?.getDvrWindow();
    return range && range.end > range.start ? { start: range.start, end: range.end - this.dash.getTargetLiveDelay() } : null;
  }

  /** By the page's own clock: dash.js learns the time from the MPD, and takes what that was under way for an error of the clock. */
  get latency() {
    return this.dash?.getCurrentLiveLatency() ? clock.now() / 1000 - this.dash.timeAsUTC() : NaN;
  }

  /** dash.js keeps to its own target. */
  get excess() { return NaN; }

  get bitrate() { return this.throughput.bits(); }
}

/** The browser's own HLS, where there is nothing else (an iPhone before iOS 17.1). */
class NativePlayer {
  constructor(video, name, session, report) {
    Object.assign(this, { video, report, url: `/live/${name}/index.m3u8?session=${session}`, qualities: [], left: [] });
    this.onError = () => report("network", "");
  }

  async start() {
    this.video.addEventListener("error", this.onError);
    this.video.src = this.url;
    // An iPhone loads nothing before it is told to play.
    this.video.play().catch(() => {});
  }

  /** It chooses by itself. */
  choose() {}

  stop() {
    this.video.removeEventListener("error", this.onError);
    this.video.removeAttribute("src");
    this.video.load();
  }

  seekToLive() {
    const { seekable } = this.video;
    if (seekable.length) this.video.currentTime = seekable.end(seekable.length - 1);
  }

  seek(time) { this.video.currentTime = time; }

  resume() { this.video.play().catch(() => {}); }

  get range() {
    const { seekable } = this.video;
    return seekable.length ? { start: seekable.start(0), end: seekable.end(seekable.length - 1) } : null;
  }

  get latency() {
    const start = this.video.getStartDate?.().getTime();
    return Number.isFinite(start) ? (clock.now() - start) / 1000 - this.video.currentTime : NaN;
  }

  get excess() { return NaN; }

  get bitrate() { return 0; }
}

export const KINDS = {
  "ll-hls": "Low-Latency HLS: about a second behind, in parts of a segment.",
  hls: "Plain HLS: whole segments, a few seconds behind, kindest to weak networks.",
  dash: "MPEG-DASH: the same media by dash.js, about two seconds behind.",
};

/** The player for `kind`, not started. `session` tells this viewer from others behind the same address, whatever it plays by. */
export function makePlayer(kind, video, name, session, report) {
  const media = window.ManagedMediaSource ?? window.MediaSource;
  if (!media && video.canPlayType("application/vnd.apple.mpegurl")) return new NativePlayer(video, name, session, report);
  if (kind === "dash") return new DashPlayer(video, name, session, report);
  return new HlsPlayer(video, name, session, kind === "ll-hls", report);
}
