// The timeline: tracks and memories on one canvas, what moves with the pointer on another above it.

const GUTTER = 96, ROW = 20, STRIP = 7, LANE = 10, AXIS = 20, GAP = 5;
const MEMORIES = [['sbuf', 150], ['psum', 70]];

class Timeline {
  constructor(data, onSelect, onView) {
    Object.assign(this, { data, onSelect, onView });
    this.stage = document.getElementById('stage');
    this.canvas = document.getElementById('tracks');
    this.overlay = document.getElementById('overlay');
    this.from = 0;
    this.to = data.end;
    this.chosen = null;
    this.selected = null;
    this.hover = null;
    this.layout();
    for (const track of data.tracks) {
      track.coarse = track.slices.coarse(data.end);
      if (track.gaps) track.coarseGaps = track.gaps.coarse(data.end);
    }
    this.memoryColours();
    this.listen();
    this.resize();
  }

  // Rows from top to bottom; empty engines and queues keep a thin one.
  layout() {
    let y = AXIS;
    this.rows = [];
    for (const track of this.data.tracks) {
      const height = track.gaps ? ROW : LANE;
      if (track.name) y += track.gaps ? GAP : 2;
      this.rows.push({ track, y, height, strip: track.gaps ? STRIP : 0 });
      y += height + (track.gaps ? STRIP : 1);
    }
    this.bands = [];
    for (const [space, height] of MEMORIES) {
      y += 2 * GAP;
      const limit = space === 'sbuf' ? report.memory.sbuf_limit : report.memory.psum_limit;
      this.bands.push({ space, y, height, limit });
      y += height;
    }
    this.height = y + 4;
    for (const row of this.rows) row.track.row = row;
  }

  memoryColours() {
    const hues = new Map();
    this.hue = program.placements.map(p => {
      const base = p.name.split('#')[0];
      if (!hues.has(base)) hues.set(base, (hues.size * 137.5) % 360);
      return hues.get(base);
    });
  }

  resize() {
    this.width = Math.max(200, this.stage.parentElement.clientWidth - 18);
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(this.height * ratio);
      canvas.style.width = `${this.width}px`;
      canvas.style.height = `${this.height}px`;
    }
    this.stage.style.height = `${this.height}px`;
    this.changed();
  }

  x(t) { return GUTTER + (t - this.from) * (this.width - GUTTER) / (this.to - this.from); }
  t(x) { return this.from + (x - GUTTER) * (this.to - this.from) / (this.width - GUTTER); }

  // Shows `from` to `to`, within the run and not less than a tenth of a nanosecond.
  show(from, to) {
    const span = Math.min(Math.max(to - from, 0.1), this.data.end * 1.02);
    const start = Math.min(Math.max(from, -0.01 * this.data.end), Math.max(0, this.data.end * 1.01 - span));
    this.from = start;
    this.to = start + span;
    this.changed();
  }
  zoom(factor, at) {
    const t = at === undefined ? (this.from + this.to) / 2 : at;
    this.show(t - (t - this.from) * factor, t + (this.to - t) * factor);
  }
  reveal(start, end) {
    const span = this.to - this.from;
    if (end > this.from && start < this.to && end - start > span / 400) return;
    const wide = Math.min(Math.max((end - start) * 30, span / 50), this.data.end);
    const mid = (start + end) / 2;
    this.show(mid - wide / 2, mid + wide / 2);
  }

  changed() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
      this.drawOverlay();
      this.onView(this.from, this.to);
    });
  }

  // Marks the events whose instruction is chosen (an array by instruction, or null for none in particular).
  choose(chosen) {
    this.chosen = chosen;
    for (const track of this.data.tracks) {
      track.coarseChosen = chosen && track.slices.coarse(this.data.end, chosen);
    }
    this.changed();
  }

  context(canvas) {
    const c = canvas.getContext('2d');
    const ratio = window.devicePixelRatio || 1;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.width, this.height);
    return c;
  }

  draw() {
    const c = this.context(this.canvas);
    this.dark = scheme() === 'dark';
    this.palette = COLOURS[scheme()];
    this.stallPalette = STALLS[scheme()];
    const text = getComputedStyle(document.body).color;
    this.quiet = this.dark ? '#8d96a5' : '#6a7280';
    this.axis(c);
    for (const row of this.rows) {
      c.globalAlpha = 1;
      c.fillStyle = this.dark ? '#20252d' : '#eef0f3';
      c.fillRect(GUTTER, row.y, this.width - GUTTER, row.height);
      c.save();
      c.beginPath();
      c.rect(GUTTER, row.y, this.width - GUTTER, row.height + row.strip);
      c.clip();
      this.layer(c, row.track.slices, row.track.coarse, row.track.coarseChosen, row.y, row.height, this.palette, true);
      if (row.track.gaps) {
        this.layer(c, row.track.gaps, row.track.coarseGaps, null, row.y + row.height, row.strip, this.stallPalette, false);
      }
      c.restore();
      c.globalAlpha = 1;
      c.fillStyle = text;
      c.font = row.track.gaps ? '12px system-ui, sans-serif' : '10px system-ui, sans-serif';
      c.textBaseline = 'middle';
      if (row.track.name) c.fillText(row.track.name, 2, row.y + row.height / 2);
    }
    this.memories(c, text);
  }

  axis(c) {
    const span = this.to - this.from, about = span / ((this.width - GUTTER) / 110);
    const power = 10 ** Math.floor(Math.log10(about));
    const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= about) || about;
    c.strokeStyle = this.dark ? '#2b313b' : '#e3e6ea';
    c.fillStyle = this.quiet;
    c.font = '10px system-ui, sans-serif';
    c.textBaseline = 'middle';
    c.beginPath();
    for (let t = Math.ceil(Math.max(this.from, 0) / step) * step; t <= this.to; t += step) {
      const x = Math.round(this.x(t)) + 0.5;
      c.moveTo(x, AXIS - 4);
      c.lineTo(x, this.height);
      c.fillText(time(+t.toPrecision(12)), x + 3, AXIS / 2);
    }
    c.stroke();
  }

  // Intervals of one row: each, where there are few in view, else the coarse picture.
  layer(c, layer, coarse, coarseChosen, y, height, palette, labels) {
    const lo = layer.after(this.from - layer.longest), hi = layer.after(this.to);
    if (hi - lo > 4 * this.width && (this.to - this.from) / (this.width - GUTTER) * 2 > this.data.end / BUCKETS) {
      const faint = labels && this.chosen;
      this.buckets(c, coarse, y, height, palette, faint ? 0.18 : 1);
      if (faint && coarseChosen) this.buckets(c, coarseChosen, y, height, palette, 1);
      return;
    }
    const scale = (this.width - GUTTER) / (this.to - this.from);
    let lastX = -1, lastKind = -1, lastBright = false;
    for (let i = lo; i < hi; i++) {
      if (layer.end[i] < this.from) continue;
      const x = GUTTER + (layer.start[i] - this.from) * scale;
      const w = Math.max((layer.end[i] - layer.start[i]) * scale, 0.8);
      const bright = !labels || !this.chosen || this.chosen[layer.inst[i]] === 1;
      // What would only paint the same pixel again is skipped.
      const column = Math.floor(x);
      if (w < 1 && column === lastX && layer.kind[i] === lastKind && bright === lastBright) continue;
      [lastX, lastKind, lastBright] = [column, layer.kind[i], bright];
      c.globalAlpha = bright ? 1 : 0.18;
      c.fillStyle = palette[layer.kind[i]] || '#888';
      c.fillRect(x, y, w > 3 ? w - 0.6 : w, height);
      if (labels && w > 46 && height >= 14) this.label(c, layer.inst[i], x, y, w, height);
    }
    c.globalAlpha = 1;
  }

  label(c, inst, x, y, w, height) {
    const from = Math.max(x, GUTTER);
    c.fillStyle = this.dark ? '#0c0f13' : '#ffffff';
    c.font = '11px system-ui, sans-serif';
    c.textBaseline = 'middle';
    const room = Math.floor((x + w - from - 8) / 6);
    if (room < 3) return;
    c.fillText(`${nameOf(inst)} ${detailOf(inst)[0]}`.slice(0, room), from + 4, y + height / 2 + 0.5);
  }

  buckets(c, coarse, y, height, palette, alpha) {
    const per = this.data.end / BUCKETS, step = (this.to - this.from) / (this.width - GUTTER);
    for (let px = 0; px < this.width - GUTTER; px++) {
      const t = this.from + px * step;
      const first = Math.max(0, Math.floor(t / per)), last = Math.min(BUCKETS - 1, Math.floor((t + step) / per));
      if (t < -step || first >= BUCKETS) continue;
      let busy = 0, most = -1, kind = 0;
      for (let b = first; b <= last; b++) {
        busy += coarse.busy[b];
        if (coarse.busy[b] > most) { most = coarse.busy[b]; kind = coarse.kind[b]; }
      }
      const share = Math.min(1, busy / (last - first + 1));
      if (share <= 0) continue;
      c.globalAlpha = alpha * (0.25 + 0.75 * share);
      c.fillStyle = palette[kind] || '#888';
      c.fillRect(GUTTER + px, y, 1, height);
    }
    c.globalAlpha = 1;
  }

  // Partitions' bytes upwards, time to the right: a rectangle from a buffer's first write to its last read.
  memories(c, text) {
    const { lives } = this.data, scale = (this.width - GUTTER) / (this.to - this.from);
    const bands = Object.fromEntries(this.bands.map(b => [b.space, b]));
    for (const band of this.bands) {
      c.globalAlpha = 1;
      c.fillStyle = this.dark ? '#191d23' : '#f5f6f8';
      c.fillRect(GUTTER, band.y, this.width - GUTTER, band.height);
      c.fillStyle = text;
      c.font = '12px system-ui, sans-serif';
      c.fillText(band.space.toUpperCase(), 2, band.y + 10);
      c.fillStyle = this.quiet;
      c.font = '10px system-ui, sans-serif';
      c.fillText(amount(band.limit, 'B'), 2, band.y + 24);
    }
    const painted = new Int32Array(program.placements.length).fill(-1);
    c.save();
    c.beginPath();
    c.rect(GUTTER, 0, this.width - GUTTER, this.height);
    c.clip();
    for (let i = lives.after(this.from - lives.longest), hi = lives.after(this.to); i < hi; i++) {
      if (lives.end[i] < this.from) continue;
      const id = lives.inst[i], p = program.placements[id], band = bands[p.space];
      if (!band) continue;
      const x = GUTTER + (lives.start[i] - this.from) * scale, w = (lives.end[i] - lives.start[i]) * scale;
      if (w < 1 && painted[id] === Math.floor(x)) continue;
      painted[id] = Math.floor(x + w);
      const y = band.y + band.height * (1 - (p.offset + p.bytes) / band.limit);
      const h = Math.max(1, band.height * p.bytes / band.limit);
      const chosen = this.memory === id;
      c.fillStyle = `hsl(${this.hue[id]} ${chosen ? 90 : 50}% ${this.dark ? 48 : 62}%)`;
      c.fillRect(x, y, Math.max(w - (w > 3 ? 0.6 : 0), 0.8), Math.max(h - (h > 3 ? 0.6 : 0), 0.8));
    }
    c.restore();
  }

  // Selection, its dependences, and the pointer.
  drawOverlay() {
    const c = this.context(this.overlay);
    c.save();
    c.beginPath();
    c.rect(GUTTER, 0, this.width - GUTTER, this.height);
    c.clip();
    const red = this.dark ? '#ff8a80' : '#d93025';
    if (this.selected) {
      this.arrows(c, red);
      this.frame(c, this.selected, red, 2);
    }
    if (this.hover && this.hover.track) this.frame(c, this.hover, this.dark ? '#ffffff' : '#000000', 1);
    if (this.pointer) {
      c.strokeStyle = this.quiet;
      c.globalAlpha = 0.6;
      c.beginPath();
      c.moveTo(this.pointer + 0.5, AXIS);
      c.lineTo(this.pointer + 0.5, this.height);
      c.stroke();
    }
    c.restore();
  }
  box(e) {
    const { track, i } = e, x = this.x(track.slices.start[i]);
    return { x, y: track.row.y, w: Math.max(2, this.x(track.slices.end[i]) - x), h: track.row.height };
  }
  frame(c, e, colour, width) {
    if (e.gap) return;
    const b = this.box(e);
    c.strokeStyle = colour;
    c.lineWidth = width;
    c.strokeRect(b.x - 0.5, b.y - 0.5, b.w + 1, b.h + 1);
    c.lineWidth = 1;
  }
  // From each producer to its consumer: the chain that led here, and what waited for this.
  arrows(c, red) {
    const links = [];
    let e = this.selected;
    for (let hop = 0; hop < 40 && e; hop++) {
      const before = this.producer(e);
      if (before) links.push([before, e, hop === 0 ? red : this.quiet]);
      e = before;
    }
    for (const after of this.consumers(this.selected).slice(0, 200)) links.push([this.selected, after, this.palette[3]]);
    for (const [a, b, colour] of links) {
      const from = this.box(a), to = this.box(b);
      const [x0, y0, x1, y1] = [from.x + from.w, from.y + from.h / 2, to.x, to.y + to.h / 2];
      c.strokeStyle = c.fillStyle = colour;
      c.beginPath();
      c.moveTo(x0, y0);
      const bend = Math.min(60, Math.abs(x1 - x0) / 2 + 8);
      c.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
      c.stroke();
      c.beginPath();
      c.moveTo(x1, y1);
      c.lineTo(x1 - 6, y1 - 3);
      c.lineTo(x1 - 6, y1 + 3);
      c.fill();
    }
  }

  event(number) {
    if (number === NONE || number >= this.data.where.length || this.data.where[number] === NONE) return null;
    return { track: this.data.tracks[this.data.which[number]], i: this.data.where[number] };
  }
  producer(e) { return this.event(e.track.slices.producer[e.i]); }
  // What waited for an event last; found by one pass, which is kept.
  consumers(e) {
    const number = e.track.slices.event[e.i];
    if (this.consumersOf !== number) {
      this.consumersOf = number;
      this.consumerList = [];
      for (const track of this.data.tracks) {
        const { producer, n } = track.slices;
        for (let i = 0; i < n; i++) if (producer[i] === number) this.consumerList.push({ track, i });
      }
    }
    return this.consumerList;
  }

  select(e, reveal) {
    this.selected = e && !e.gap && e.track ? e : null;
    if (this.selected && reveal) this.reveal(e.track.slices.start[e.i], e.track.slices.end[e.i]);
    this.drawOverlay();
    this.onSelect(e);
  }

  // What is under a point: an event, a stall, or a buffer.
  find(x, y) {
    if (x < GUTTER) return null;
    const t = this.t(x), slack = 3 * (this.to - this.from) / this.width;
    for (const row of this.rows) {
      if (y < row.y || y >= row.y + row.height + row.strip) continue;
      const gap = y >= row.y + row.height;
      const i = (gap ? row.track.gaps : row.track.slices).at(t, slack);
      return i < 0 ? null : { track: row.track, i, gap };
    }
    for (const band of this.bands) {
      if (y < band.y || y >= band.y + band.height) continue;
      const byte = (1 - (y - band.y) / band.height) * band.limit, { lives } = this.data;
      for (let i = lives.after(t) - 1; i >= 0 && lives.start[i] >= t - lives.longest; i--) {
        const p = program.placements[lives.inst[i]];
        if (p.space === band.space && lives.end[i] >= t && byte >= p.offset && byte < p.offset + p.bytes) return { life: i };
      }
    }
    return null;
  }

  listen() {
    const point = e => { const r = this.stage.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
    this.stage.addEventListener('wheel', e => {
      e.preventDefault();
      const [x] = point(e);
      if (Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey) {
        const by = (e.deltaX || e.deltaY) * (this.to - this.from) / this.width;
        this.show(this.from + by, this.to + by);
      } else {
        this.zoom(Math.exp(Math.max(-1, Math.min(1, e.deltaY / 300))), this.t(Math.max(x, GUTTER)));
      }
    }, { passive: false });
    let drag = null;
    this.stage.addEventListener('pointerdown', e => {
      drag = { x: e.clientX, from: this.from, to: this.to, moved: false };
      this.stage.setPointerCapture(e.pointerId);
    });
    this.stage.addEventListener('pointermove', e => {
      const [x, y] = point(e);
      if (drag && (drag.moved || Math.abs(e.clientX - drag.x) > 3)) {
        drag.moved = true;
        const by = (drag.x - e.clientX) * (drag.to - drag.from) / (this.width - GUTTER);
        this.show(drag.from + by, drag.to + by);
      }
      this.pointer = x >= GUTTER ? Math.round(x) : null;
      this.hover = drag && drag.moved ? null : this.find(x, y);
      tip(this.hover, e, this.data);
      this.drawOverlay();
    });
    this.stage.addEventListener('pointerup', e => {
      const [x, y] = point(e);
      if (drag && !drag.moved) this.select(this.find(x, y));
      drag = null;
    });
    this.stage.addEventListener('pointerleave', () => {
      this.hover = this.pointer = null;
      tip(null);
      this.drawOverlay();
    });
    this.stage.addEventListener('dblclick', e => {
      const found = this.find(...point(e));
      if (!found || !found.track) return this.show(0, this.data.end);
      const layer = found.gap ? found.track.gaps : found.track.slices, i = found.i;
      const span = Math.max(layer.end[i] - layer.start[i], 0.1);
      this.show(layer.start[i] - 4 * span, layer.end[i] + 4 * span);
    });
    window.addEventListener('resize', () => this.resize());
  }
}
