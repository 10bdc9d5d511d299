'use strict';
// What is embedded in the page, decoded. Times are nanoseconds of simulated time.

const embedded = id => document.getElementById(id).textContent;
const report = JSON.parse(embedded('report'));
const more = JSON.parse(embedded('more'));
const program = JSON.parse(embedded('program'));

// Classes of events, which have colours. Those of engines are by track.
const CLASSES = ['matmul', 'transpose', 'scalar', 'vector', 'gpsimd', 'sync', 'load', 'store', 'copy'];
const CLASS_OF_ENGINE = [0, 2, 3, 4, 5];
// Colours by scheme: light, dark.
const COLOURS = {
  light: ['#1a73e8', '#8e44ad', '#e8710a', '#1e8e3e', '#0097a7', '#5f6368', '#5bb0f0', '#d9569b', '#9aa0a6'],
  dark: ['#5c9dff', '#c58af9', '#f6a04d', '#5bb974', '#4dd0e1', '#9aa0a6', '#78c4f5', '#f291c2', '#bdc1c6'],
};
// Reasons of stalls, in the order of `program.reasons`: five engines, then loads, stores and the rest.
const STALLS = {
  light: ['#8ab4f8', '#fbbc80', '#9bd7ae', '#80dbe4', '#bdc1c6', '#e34a4a', '#c2185b', '#795548', '#a1887f', '#f6c945', '#3f51b5', '#d7dbe0', '#607d8b', '#aeb4bd'],
  dark: ['#33619f', '#8a5a23', '#2f6b43', '#1f6c75', '#5f6368', '#b3403a', '#8f2f5c', '#5d4037', '#6d4c41', '#9c7c1c', '#3a478f', '#353b45', '#455a64', '#555c67'],
};

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}

// Reads varints.
class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  byte() { return this.bytes[this.at++]; }
  next() {
    const bytes = this.bytes;
    let b = bytes[this.at++];
    if (b < 0x80) return b;
    let n = b & 0x7f, scale = 128;
    do {
      b = bytes[this.at++];
      n += (b & 0x7f) * scale;
      scale *= 128;
    } while (b >= 0x80);
    return n;
  }
  signed() {
    const n = this.next();
    return n % 2 ? -(n + 1) / 2 : n / 2;
  }
}

// Buckets of the coarse picture of a track: how much of each is busy, and with what for the most part.
const BUCKETS = 32768;

// Intervals in the order of their start, each with a class.
class Layer {
  constructor(n) {
    this.n = n;
    this.start = new Float64Array(n);
    this.end = new Float64Array(n);
    this.inst = new Uint32Array(n);
    this.kind = new Uint8Array(n);
    // The longest interval so far: how far back a search has to look.
    this.longest = 0;
  }
  times(reader, i, before) {
    const start = before + reader.next();
    this.start[i] = start / 1000;
    this.end[i] = (start + reader.next()) / 1000;
    this.longest = Math.max(this.longest, this.end[i] - this.start[i]);
    return start;
  }
  // The first interval that starts at `t` or later.
  after(t) {
    let lo = 0, hi = this.n;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (this.start[mid] < t) lo = mid + 1; else hi = mid;
    }
    return lo;
  }
  // The interval at `t`, or -1; `slack` on both sides for those too narrow to hit.
  at(t, slack) {
    let best = -1, distance = slack;
    for (let i = this.after(t + slack) - 1; i >= 0 && this.start[i] >= t - slack - this.longest; i--) {
      const d = Math.max(this.start[i] - t, t - this.end[i], 0);
      if (d === 0) return i;
      if (d < distance) { best = i; distance = d; }
    }
    return best;
  }
  // The coarse picture, of all intervals or of those whose instruction is chosen.
  coarse(span, chosen) {
    const busy = new Float32Array(BUCKETS), kind = new Uint8Array(BUCKETS), top = new Float32Array(BUCKETS);
    const scale = BUCKETS / span;
    for (let i = 0; i < this.n; i++) {
      if (chosen && !chosen[this.inst[i]]) continue;
      const from = this.start[i] * scale, to = Math.max(this.end[i] * scale, from + 0.002);
      const last = Math.min(BUCKETS - 1, Math.floor(to));
      for (let b = Math.min(BUCKETS - 1, Math.floor(from)); b <= last; b++) {
        const part = Math.min(to, b + 1) - Math.max(from, b);
        busy[b] += part;
        if (part > top[b]) { top[b] = part; kind[b] = this.kind[i]; }
      }
    }
    return { busy, kind };
  }
}

const NONE = 0xffffffff;

// All tracks: engines with their stalls, lanes of queues; and where each event number is.
function decode() {
  const reader = new Reader(bytesOf(embedded('events').trim()));
  const tracks = [], count = reader.next();
  let latest = 0, end = 0;
  for (let t = 0; t < count; t++) {
    const layer = new Layer(reader.next());
    layer.event = new Uint32Array(layer.n);
    layer.producer = new Uint32Array(layer.n);
    const engine = t < 5 ? CLASS_OF_ENGINE[t] : 8;
    let before = 0, event = 0;
    for (let i = 0; i < layer.n; i++) {
      before = layer.times(reader, i, before);
      const inst = layer.inst[i] = reader.next();
      event += reader.signed();
      const back = reader.next();
      layer.event[i] = event;
      layer.producer[i] = back ? event - back : NONE;
      const data = program.insts[inst];
      layer.kind[i] = data[3] ? 5 + data[3] : engine === 0 && program.names[data[0]].includes('transpose') ? 1 : engine;
      latest = Math.max(latest, event);
      end = Math.max(end, layer.end[i]);
    }
    const lane = t < 5 ? null : program.lanes[t - 5];
    const name = lane ? (lane.lane ? '' : `queue ${lane.queue}`) : program.engines[t];
    tracks.push({ name, title: lane ? `queue ${lane.queue}` : name, slices: layer, gaps: null });
  }
  for (let t = 0; t < 5; t++) {
    const layer = new Layer(reader.next());
    let before = 0;
    for (let i = 0; i < layer.n; i++) {
      before = layer.times(reader, i, before);
      layer.inst[i] = reader.next();
      layer.kind[i] = reader.byte();
      end = Math.max(end, layer.end[i]);
    }
    tracks[t].gaps = layer;
  }
  const lives = new Layer(reader.next());
  let before = 0;
  for (let i = 0; i < lives.n; i++) {
    before = lives.times(reader, i, before);
    lives.inst[i] = reader.next();
    end = Math.max(end, lives.end[i]);
  }
  const where = new Uint32Array(latest + 1).fill(NONE), which = new Uint16Array(latest + 1);
  tracks.forEach((track, t) => {
    for (let i = 0; i < track.slices.n; i++) { where[track.slices.event[i]] = i; which[track.slices.event[i]] = t; }
  });
  const slices = tracks.reduce((n, t) => n + t.slices.n, 0);
  return { tracks, lives, where, which, end: Math.max(end, 1), slices };
}

const nameOf = inst => program.names[program.insts[inst][0]];
const placeOf = inst => program.insts[inst][1] == null ? null : program.places[program.insts[inst][1]];
const detailOf = inst => program.details[program.insts[inst][2]];
const lineOf = inst => { const p = placeOf(inst); return p ? `${p[0]}:${p[1]}` : ''; };

function time(ns) {
  const size = Math.abs(ns);
  if (size >= 1e6) return `${(ns / 1e6).toFixed(3)} ms`;
  if (size >= 1e3) return `${(ns / 1e3).toFixed(3)} µs`;
  return `${ns.toFixed(ns % 1 ? 1 : 0)} ns`;
}
function amount(n, unit) {
  for (const [size, prefix] of [[1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (Math.abs(n) >= size) return `${(n / size).toPrecision(4)} ${prefix}${unit}`;
  }
  return `${+n.toPrecision(4)} ${unit}`;
}
const percent = x => `${(100 * x).toFixed(1)} %`;

// An element with properties and children; text is never markup.
function make(tag, properties, ...children) {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children.filter(c => c != null));
  return e;
}
