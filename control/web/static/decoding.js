// What of a stream this browser can decode, and the words for what it cannot.

import { codec, uncarried } from "./page.js";

const PICTURES = /^(avc|hvc|hev|av01|vp0|dvh|dva)/i;
const kindOf = (codecs) => (PICTURES.test(codecs) ? "video" : "audio");

/** Whether Media Source Extensions take `codecs` (one RFC 6381 name) here. In either spelling: of "fLaC" browsers know but one. */
export function decodes(codecs) {
  const media = window.ManagedMediaSource ?? window.MediaSource;
  const type = (name) => `${kindOf(codecs)}/mp4; codecs="${name}"`;
  return Boolean(media) && [codecs, codecs.toLowerCase()].some((name) => media.isTypeSupported(type(name)));
}

const attribute = (line, name) => line.match(new RegExp(`[:,]${name}="([^"]*)"`))?.[1] ?? "";
const without = (line, name) => line.replace(new RegExp(`,${name}="[^"]*"`), "");

function variants(lines) {
  return lines.flatMap((line, at) => {
    if (!line.startsWith("#EXT-X-STREAM-INF:")) return [];
    const names = attribute(line, "CODECS").split(",").filter(Boolean);
    return [{ line, uri: lines[at + 1], names, group: attribute(line, "AUDIO") }];
  });
}

/**
 * A multivariant playlist of which no variant can be decoded whole becomes one of what can: the pictures without sound, or the
 * sound. `left` holds what is not played, "video" or "audio"; both: there is nothing else, and `text` is as it was.
 * A variant of sound alone is no substitute for pictures that there are.
 */
export function playable(text, can = decodes) {
  const lines = text.split("\n");
  const all = variants(lines);
  const of = (kind, names) => names.filter((name) => kindOf(name) === kind);
  const pictured = all.filter(({ names }) => of("video", names).length > 0);
  if ((pictured.length ? pictured : all).some(({ names }) => names.every(can))) return { text, left: [] };
  const whole = (kind) => ({ names }) => of(kind, names).length > 0 && of(kind, names).every(can);
  const head = lines.filter((line) => line.startsWith("#") && !/^#EXT-X-(MEDIA|STREAM-INF):/.test(line));
  const seen = all.filter(whole("video"));
  if (seen.length) {
    const kept = seen.flatMap(({ line, uri, names }) => [
      without(line, "AUDIO").replace(/CODECS="[^"]*"/, `CODECS="${of("video", names).join(",")}"`), uri,
    ]);
    return { text: [...head, ...kept, ""].join("\n"), left: ["audio"] };
  }
  for (const { line, names, group } of all.filter(whole("audio"))) {
    const sound = lines.find((each) => each.startsWith("#EXT-X-MEDIA:") && attribute(each, "GROUP-ID") === group && attribute(each, "URI"));
    if (!sound) continue;
    const bandwidth = line.match(/[:,]BANDWIDTH=\d+/)?.[0].slice(1) ?? "BANDWIDTH=1";
    const kept = [`#EXT-X-STREAM-INF:${bandwidth},CODECS="${of("audio", names).join(",")}"`, attribute(sound, "URI")];
    return { text: [...head, ...kept, ""].join("\n"), left: ["video"] };
  }
  return { text, left: [...new Set(all.flatMap(({ names }) => names.map(kindOf)))] };
}

/** What to push instead. Of what nearly every browser decodes it is a rare kind that this one does not. */
const PUSH = { video: "push H.264 (-c:v libx264)", audio: "push AAC (-c:a aac)" };
const PUSH_PLAIN = { h264: "push it in 4:2:0 (-c:v libx264 -pix_fmt yuv420p)", aac: "push AAC-LC (-c:a aac)" };

/**
 * The tracks of `stream` that are not played here, with why: `{ kind, name, words }`. `left` is what this browser does not decode.
 */
export function lacks(stream, left) {
  const carried = uncarried(stream);
  return [["video", "picture"], ["audio", "sound"]].flatMap(([kind, noun]) => {
    const track = stream?.[kind];
    if (!track) return [];
    const name = codec(track.codec);
    if (carried.includes(track)) return [{ kind, name, words: `The ${noun} is ${name}, which HLS and DASH cannot carry: ${PUSH[kind]}.` }];
    if (!left.includes(kind)) return [];
    const plain = PUSH_PLAIN[track.codec];
    if (plain) return [{ kind, name, words: `The ${noun} is ${name} of a kind that this browser cannot play: ${plain}.` }];
    return [{ kind, name, words: `The ${noun} is ${name}, which this browser cannot play: ${PUSH[kind]}.` }];
  });
}

/** The words where nothing of `stream` can be decoded here. */
export function nothingPlayable(stream, left) {
  const lacking = lacks(stream, left);
  if (lacking.length === 2) return `This browser can play neither the picture (${lacking[0].name}) nor the sound (${lacking[1].name}): push H.264 and AAC.`;
  return lacking[0]?.words ?? "This browser cannot decode the stream’s codecs.";
}
