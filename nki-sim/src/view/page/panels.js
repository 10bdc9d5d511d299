// Everything beside the timeline. Figures come from the report as it is.

function figures() {
  const r = report, m = r.metrics;
  document.getElementById('title').textContent = `${r.kernel} on ${r.target} (simulated)`;
  const why = r.bound.latency ? ', so waiting decides' : '';
  document.getElementById('summary').textContent =
    `${more.case ? `${more.case}: ` : ''}bound by ${r.bound.resource}, busy ${percent(r.bound.share)} of the time${why}`;
  const list = [
    ['kernel time', time(r.kernel_ns)], ['nc_latency', time(r.nc_latency_ns)], ['MFU', percent(m.mfu)],
    ['MBU', percent(m.mbu)], ['intensity', `${m.intensity.toFixed(1)} flop/B`],
    ['useful flops', amount(r.flops.useful, 'flop')], ['HBM read', amount(r.bytes.hbm_read, 'B')],
    ['HBM written', amount(r.bytes.hbm_written, 'B')],
    ['SBUF per partition', `${amount(r.memory.sbuf_bytes, 'B')} of ${amount(r.memory.sbuf_limit, 'B')}`],
    ['SBUF at most', amount(r.memory.sbuf_peak.bytes, 'B')], ['PSUM per partition', `${amount(r.memory.psum_bytes, 'B')} of ${amount(r.memory.psum_limit, 'B')}`],
    ['instructions', r.instructions.toLocaleString('en')],
  ];
  document.getElementById('figures').append(...list.map(([name, value]) => make('li', {}, make('b', { textContent: value }), make('span', { textContent: name }))));
}

function legend(palette, stalls, data) {
  const used = new Set(), waits = new Set();
  for (const t of data.tracks) {
    for (let i = 0; i < t.slices.n; i++) used.add(t.slices.kind[i]);
    if (t.gaps) for (let i = 0; i < t.gaps.n; i++) waits.add(t.gaps.kind[i]);
  }
  const item = (colour, text) => make('span', {}, make('i', { style: `background:${colour}` }), text);
  const reason = i => i === program.reasons.length - 1 ? 'triggers a transfer' : `waits: ${program.reasons[i]}`;
  document.getElementById('legend').replaceChildren(
    ...[...used].sort((a, b) => a - b).map(i => item(palette[i], CLASSES[i])),
    ...[...waits].sort((a, b) => a - b).map(i => item(stalls[i], reason(i))));
}

// A table whose columns sort on a click; `columns`: title, key, text, left.
function table(id, columns, rows, onRow) {
  const body = make('tbody');
  const heads = columns.map(c => {
    const th = make('th', { textContent: c.title, className: c.left ? 'left' : '' });
    th.dataset.key = c.title;
    th.tabIndex = 0;
    const sort = () => {
      heads.forEach(h => h.removeAttribute('aria-sort'));
      th.setAttribute('aria-sort', 'descending');
      rows.sort((a, b) => { const [x, y] = [c.key(a), c.key(b)]; return typeof x === 'string' ? x.localeCompare(y) : y - x; });
      fill();
    };
    th.addEventListener('click', sort);
    th.addEventListener('keydown', e => { if (e.key === 'Enter') sort(); });
    return th;
  });
  const fill = () => body.replaceChildren(...rows.map(row => {
    const tr = make('tr', {}, ...columns.map(c => make('td', { textContent: c.text(row), className: c.left ? 'left' : '' })));
    if (onRow) tr.addEventListener('click', () => onRow(row, tr));
    return tr;
  }));
  fill();
  document.getElementById(id).replaceChildren(make('thead', {}, make('tr', {}, ...heads)), body);
}

function tables(onLine) {
  const line = l => `${l.at.file}:${l.at.line}`;
  const number = (title, key, text) => ({ title, key, text });
  table('lines', [
    { title: 'line', key: line, text: line, left: true },
    number('critical path', l => l.critical_ns, l => `${time(l.critical_ns)} (${percent(l.critical_ns / (report.kernel_ns || 1))})`),
    number('busy', l => l.busy_ns, l => time(l.busy_ns)),
    number('stalled', l => l.stalled_ns, l => time(l.stalled_ns)),
    number('HBM', l => l.hbm_bytes, l => l.hbm_bytes ? amount(l.hbm_bytes, 'B') : ''),
    number('count', l => l.count, l => l.count.toLocaleString('en')),
    { title: 'what', key: l => l.ops.join(' '), text: l => l.ops.join(' '), left: true },
    { title: 'waits most for', key: l => l.waits_for.length ? l.waits_for[0].ns : 0,
      text: l => l.waits_for.length ? `line ${l.waits_for[0].at.line}, ${time(l.waits_for[0].ns)}` : '', left: true },
  ], report.lines.slice(0, 200), (l, tr) => {
    document.querySelectorAll('#lines .chosen').forEach(e => e.classList.remove('chosen'));
    tr.classList.add('chosen');
    onLine(line(l));
  });
  const of = e => x => percent(x(e) / (report.kernel_ns || 1));
  table('engines', [
    { title: 'engine', key: e => e.engine, text: e => e.engine, left: true },
    number('instructions', e => e.instructions, e => e.instructions.toLocaleString('en')),
    number('busy', e => e.busy_ns, e => of(e)(x => x.busy_ns)),
    number('active', e => e.active_ns, e => of(e)(x => x.active_ns)),
    number('stalled', e => e.stalled_ns, e => of(e)(x => x.stalled_ns)),
    number('idle', e => e.idle_ns, e => of(e)(x => x.idle_ns)),
  ], report.engines.concat([{
    engine: 'dma', instructions: report.dma.transfers, busy_ns: report.dma.packet_ns / 16, active_ns: report.dma.active_ns, stalled_ns: 0, idle_ns: report.kernel_ns - report.dma.active_ns,
  }]));
}

// Where each engine's time went, as bars.
function stallBars(palette, stalls) {
  const total = report.kernel_ns || 1;
  document.getElementById('stalls').replaceChildren(...report.engines.map((e, i) => {
    const bar = make('div', { className: 'bar' });
    const part = (ns, colour, what) => bar.append(make('i', { style: `width:${100 * ns / total}%;background:${colour}`, title: `${what}: ${time(ns)}` }));
    part(e.busy_ns, palette[CLASS_OF_ENGINE[i]], 'busy');
    for (const s of e.stalls) part(s.ns, stalls[program.reasons.indexOf(s.waited_for)], `waits for ${s.waited_for}`);
    return make('div', { className: 'barline' }, e.engine, bar);
  }));
}

const svg = (tag, attributes, text) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text) e.textContent = text;
  return e;
};

// Useful flops per second over flops per HBM byte, both logarithmic.
function roofline() {
  const { metrics: m, flops, kernel_ns: ns } = report, box = document.getElementById('roofline');
  if (!m.ridge || !ns) return;
  const W = 380, H = 220, L = 46, B = 28;
  const achieved = flops.useful / ns * 1e9, peak = m.mfu > 0 ? achieved / m.mfu : 0;
  if (!peak || !m.intensity) return void box.replaceChildren(make('p', { className: 'quiet', textContent: 'No products to place.' }));
  const xs = [Math.min(0.1, m.intensity / 3), Math.max(m.ridge * 20, m.intensity * 3)], ys = [Math.min(peak / 1e4, achieved / 3), peak * 3];
  const scale = (v, [a, b]) => (Math.log10(v) - Math.log10(a)) / (Math.log10(b) - Math.log10(a));
  const X = v => L + scale(v, xs) * (W - L - 8), Y = v => H - B - scale(v, ys) * (H - B - 8);
  const root = svg('svg', { width: W, height: H, role: 'img', 'aria-label': 'roofline' });
  const line = (x1, y1, x2, y2, extra) => root.append(svg('line', { x1, y1, x2, y2, stroke: 'currentColor', ...extra }));
  line(L, H - B, W - 8, H - B, { opacity: 0.4 });
  line(L, 8, L, H - B, { opacity: 0.4 });
  const left = Math.max(xs[0], m.ridge * ys[0] / peak);
  line(X(left), Y(peak * left / m.ridge), X(m.ridge), Y(peak), { 'stroke-width': 2 });
  line(X(m.ridge), Y(peak), W - 8, Y(peak), { 'stroke-width': 2 });
  for (let p = Math.ceil(Math.log10(xs[0])); p <= Math.log10(xs[1]); p++) root.append(svg('text', { x: X(10 ** p), y: H - B + 13, 'text-anchor': 'middle' }, String(+(10 ** p).toPrecision(1))));
  for (let p = Math.ceil(Math.log10(ys[0])); p <= Math.log10(ys[1]); p++) root.append(svg('text', { x: L - 4, y: Y(10 ** p) + 3, 'text-anchor': 'end' }, amount(10 ** p, '')));
  root.append(svg('text', { x: W - 8, y: H - 4, 'text-anchor': 'end' }, 'flop per HBM byte'), svg('text', { x: 2, y: 8 }, 'flop/s'));
  const limit = Math.min(peak, peak * m.intensity / m.ridge);
  line(X(m.intensity), Y(achieved), X(m.intensity), Y(limit), { 'stroke-dasharray': '3 3', opacity: 0.6 });
  root.append(svg('circle', { cx: X(m.intensity), cy: Y(achieved), r: 5, fill: '#d93025' }));
  const anchor = X(m.intensity) > W * 0.6 ? 'end' : 'start', dx = anchor === 'end' ? -9 : 9;
  root.append(svg('text', { x: X(m.intensity) + dx, y: Y(achieved) + 16, 'text-anchor': anchor, class: 'strong' }, `${amount(achieved, 'flop/s')}, ${percent(achieved / limit)} of the roof`));
  box.replaceChildren(root);
}

function advice(onLine) {
  if (!more.advice || !more.advice.length) return;
  document.getElementById('advice-section').hidden = false;
  document.getElementById('advice').append(...more.advice.map(a => {
    const at = a.at && `${a.at.file}:${a.at.line}`;
    const link = at && make('a', { textContent: at, onclick: () => onLine(at) });
    const gain = a.gain_ns == null ? null : make('b', { textContent: `${time(a.gain_ns)} (${percent(a.gain_ns / (report.kernel_ns || 1))}) ` });
    return make('li', {}, gain, link, link && ': ', a.message, a.help ? make('div', { className: 'quiet', textContent: a.help }) : null);
  }));
}

const stallText = kind => kind === program.reasons.length - 1 ? 'triggers a transfer' : `waits for ${program.reasons[kind]}`;

function tip(found, e, data) {
  const box = document.getElementById('tip');
  box.hidden = !found;
  if (!found) return;
  const rows = [];
  if (found.life !== undefined) {
    const { lives } = data, p = program.placements[lives.inst[found.life]];
    rows.push(p.name, `${p.space}, bytes ${p.offset} to ${p.offset + p.bytes}, partitions ${p.partition} to ${p.partition + p.partitions}`,
      `in use ${time(lives.start[found.life])} to ${time(lives.end[found.life])}`);
  } else {
    const layer = found.gap ? found.track.gaps : found.track.slices, inst = layer.inst[found.i];
    rows.push(found.gap ? stallText(layer.kind[found.i]) : nameOf(inst), detailOf(inst)[0], lineOf(inst),
      `${time(layer.end[found.i] - layer.start[found.i])} from ${time(layer.start[found.i])}`);
  }
  box.replaceChildren(...rows.filter(Boolean).map((text, i) => make('div', { textContent: text, className: i > 1 ? 'quiet' : '' })));
  const right = e.clientX + 16 + box.offsetWidth > window.innerWidth;
  box.style.left = `${right ? e.clientX - box.offsetWidth - 12 : e.clientX + 16}px`;
  box.style.top = `${Math.min(e.clientY + 14, window.innerHeight - box.offsetHeight - 4)}px`;
}

// The lines of source around a place.
function snippet(place) {
  const lines = place && program.sources[place[0]];
  if (!lines) return null;
  const pre = make('pre');
  for (let n = place[1] - 3; n <= place[1] + 3; n++) {
    if (lines[n] === undefined) continue;
    pre.append(make('span', { textContent: `${String(n).padStart(4)} ${lines[n]}`, className: n === place[1] ? 'here' : '' }));
  }
  return pre;
}

function details(found, timeline, onLine) {
  const box = document.getElementById('details');
  if (!found || !found.track) return;
  const layer = found.gap ? found.track.gaps : found.track.slices, i = found.i, inst = layer.inst[i];
  const place = placeOf(inst), rows = [];
  const row = (name, ...value) => rows.push(make('dt', { textContent: name }), make('dd', {}, ...value));
  row('on', found.track.title);
  if (found.gap) row('instruction', nameOf(inst));
  row('operands', detailOf(inst)[0] || '-');
  row('from', time(layer.start[i]));
  row('to', time(layer.end[i]));
  row('takes', time(layer.end[i] - layer.start[i]));
  if (place) {
    row('source', make('a', { textContent: `${place[0]}:${place[1]}:${place[2]}`, onclick: () => onLine(lineOf(inst)) }));
    place[3].slice(0, 6).forEach(call => row('in', call));
  }
  const link = e => make('a', {
    textContent: `${nameOf(e.track.slices.inst[e.i])} on ${e.track.title}, ${lineOf(e.track.slices.inst[e.i])}`,
    onclick: () => timeline.select(e, true),
  });
  if (!found.gap) {
    const before = timeline.producer(found), after = timeline.consumers(found);
    row('waited for', before ? link(before) : 'nothing but its turn');
    row('waited by', after.length ? '' : 'nothing');
    after.slice(0, 12).forEach(e => row('', link(e)));
    if (after.length > 12) row('', `and ${after.length - 12} more`);
  }
  const title = found.gap ? stallText(layer.kind[i]) : nameOf(inst);
  box.replaceChildren(make('h2', { textContent: title }), make('dl', {}, ...rows), ...[snippet(place)].filter(Boolean));
}
