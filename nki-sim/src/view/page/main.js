// Puts the page together: what needs no events first, then the timeline.

const search = {
  texts: null,
  // Per instruction, what can be searched for.
  text(inst) { return `${nameOf(inst)} ${detailOf(inst)[0]} ${lineOf(inst)}:`.toLowerCase(); },
  // Which instructions match; null for an empty search.
  run(words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    if (!wanted.length) return null;
    this.texts ??= program.insts.map((_, i) => this.text(i));
    return Uint8Array.from(this.texts, text => wanted.every(w => text.includes(w)) ? 1 : 0);
  },
};

function scheme() {
  const back = getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3);
  return back.reduce((a, b) => a + +b, 0) < 380 ? 'dark' : 'light';
}

function begin() {
  const started = performance.now();
  const data = decode();
  const input = document.getElementById('search'), found = document.getElementById('found');
  const onLine = line => {
    // With a colon behind it, line 3 does not match line 30.
    input.value = `${line}:`;
    input.dispatchEvent(new Event('input'));
  };
  let timeline = null;
  const onView = (from, to) => {
    document.getElementById('range').textContent = `${time(Math.max(from, 0))} to ${time(Math.min(to, data.end))}`;
  };
  timeline = new Timeline(data, e => details(e, timeline, onLine), onView);
  const colours = () => {
    legend(COLOURS[scheme()], STALLS[scheme()], data);
    stallBars(COLOURS[scheme()], STALLS[scheme()]);
    timeline.changed();
  };
  colours();
  tables(onLine);
  advice(onLine);

  let matches = null;
  input.addEventListener('input', () => {
    const chosen = search.run(input.value);
    timeline.choose(chosen);
    matches = null;
    let n = 0;
    if (chosen) for (const t of data.tracks) for (let i = 0; i < t.slices.n; i++) n += chosen[t.slices.inst[i]];
    found.textContent = chosen ? `${n.toLocaleString('en')} found` : '';
  });
  // All matching events in the order of time, made when one is asked for.
  const list = () => {
    if (!matches && timeline.chosen) {
      matches = [];
      for (const track of data.tracks) for (let i = 0; i < track.slices.n; i++) if (timeline.chosen[track.slices.inst[i]]) matches.push({ track, i });
      matches.sort((a, b) => a.track.slices.start[a.i] - b.track.slices.start[b.i]);
    }
    return matches || [];
  };
  const step = by => {
    const all = list();
    if (!all.length) return;
    const s = timeline.selected, at = s ? all.findIndex(e => e.track === s.track && e.i === s.i) : -1;
    timeline.select(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length], true);
  };
  input.addEventListener('keydown', e => { if (e.key === 'Enter') step(e.shiftKey ? -1 : 1); });
  const click = (id, f) => document.getElementById(id).addEventListener('click', f);
  click('next', () => step(1));
  click('previous', () => step(-1));
  click('in', () => timeline.zoom(0.5));
  click('out', () => timeline.zoom(2));
  click('all', () => timeline.show(0, data.end));
  click('theme', () => {
    document.documentElement.dataset.theme = scheme() === 'dark' ? 'light' : 'dark';
    colours();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', colours);
  document.addEventListener('keydown', e => {
    if (e.target === input || e.ctrlKey || e.metaKey || e.altKey) return;
    const pan = by => timeline.show(timeline.from + by * (timeline.to - timeline.from), timeline.to + by * (timeline.to - timeline.from));
    const keys = { w: () => timeline.zoom(0.7), s: () => timeline.zoom(1.4), a: () => pan(-0.2), d: () => pan(0.2), 0: () => timeline.show(0, data.end),
      ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), '/': () => input.focus() };
    const action = keys[e.key];
    if (action && (e.target === timeline.stage || !e.key.startsWith('Arrow'))) { e.preventDefault(); action(); }
  });
  if (program.dropped) {
    document.getElementById('summary').append(`; the timeline shows the first events, ${program.dropped.toLocaleString('en')} more are left out`);
  }
  // A search can be part of the address: `run.html#nc_matmul`.
  if (location.hash.length > 1) {
    input.value = decodeURIComponent(location.hash.slice(1));
    input.dispatchEvent(new Event('input'));
  }
  // For tests, and for whoever opens the console.
  window.nki = { report, program, data, timeline, decodedIn: performance.now() - started };
  document.body.dataset.ready = 'yes';
}

figures();
roofline();
// The browser paints the figures before the events are decoded. A page that is not shown has no frames: it begins by its timer.
let begun = false;
const once = () => {
  if (begun) return;
  begun = true;
  begin();
};
requestAnimationFrame(() => setTimeout(once, 0));
setTimeout(once, 500);
