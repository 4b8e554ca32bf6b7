'use strict';
// One clock for all players. Those in view follow it; near the view they are loaded, and further off hold no decoder.
const MOST = 60; // players at once: browsers refuse more than about 75
const SLACK = 0.2; // seconds that the clock may be before the slowest player, and a player before it: then it waits
const FAR = 0.5; // seconds off, from which on a player is set and not nudged
const STUCK = 3000; // milliseconds that a player may stand still before the clock goes on without it
const frame = 1 / Number(document.body.dataset.fps);
const by = id => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const [play, time, clock, rate, filter] = ['play', 'time', 'clock', 'rate', 'filter'].map(by);
time.step = frame; // so that its arrow keys go by frames, too
const shown = new Set(), waiting = new Set(), seen = new Set(); // loaded, to be loaded when there is room, in view
const stands = new WeakMap(); // where each player was, and since when
const now = { at: 0, playing: false, since: 0, rate: 1 };

const at = () => now.playing ? now.at + (performance.now() - now.since) / 1000 * now.rate : now.at;
const loaded = () => [...shown].filter(video => video.readyState >= 1 && !video.error);
const end = () => Math.max(0, ...loaded().map(video => video.duration).filter(Number.isFinite));

function set(seconds) {
  now.at = Math.min(Math.max(0, seconds), end() || 0);
  now.since = performance.now();
  tell();
}

function tell() {
  const seconds = at();
  time.max = end() || 1;
  time.value = seconds;
  clock.value = `${seconds.toFixed(2)} s`;
}

// Stays within the last frame, which is what a shorter clip shows until the longest has ended.
const place = (video, seconds) => Math.min(seconds, Math.max(0, video.duration - frame / 2));

function hold(video) {
  video.pause();
  const wanted = place(video, now.at);
  if (Math.abs(video.currentTime - wanted) > 1e-4) video.currentTime = wanted;
}

function follow(video, seconds) {
  const off = place(video, seconds) - video.currentTime;
  if (off < -SLACK || seconds >= video.duration) {
    if (!video.paused) {
      video.pause();
      stands.delete(video); // it is to stand
    }
    if (off > frame && !video.seeking) move(video, place(video, seconds));
    return;
  }
  if (video.seeking) return;
  if (off > FAR) move(video, place(video, seconds));
  video.playbackRate = now.rate * Math.min(1.5, Math.max(0.5, 1 + 2 * off));
  if (video.paused) video.play().catch(() => {});
}

// That a player is set elsewhere is no sign that it plays: else one that never does would be waited for again and again.
function move(video, seconds) {
  video.currentTime = seconds;
  if (stands.has(video)) stands.set(video, [video.currentTime, stands.get(video)[1]]);
}

function stuck(video) {
  const [there, since] = stands.get(video) || [];
  if (Math.abs(there - video.currentTime) < 1e-3) return performance.now() - since > STUCK; // a seek rounds its time
  stands.set(video, [video.currentTime, performance.now()]);
  return false;
}

function tick() {
  if (!now.playing) return;
  const players = loaded().filter(video => seen.has(video));
  const slowest = Math.min(...players.filter(video => at() < video.duration && !stuck(video)).map(video => video.currentTime));
  if (Number.isFinite(slowest) && at() - slowest > SLACK) set(slowest + SLACK);
  if (end() && at() >= end()) {
    set(0);
    for (const video of players) {
      if (video.ended && video.played.length) stands.delete(video); // one that never played may be set to its end
      move(video, 0);
    }
  }
  for (const video of players) follow(video, at());
  tell();
  requestAnimationFrame(tick);
}

function start(on) {
  set(at());
  now.playing = on;
  play.textContent = on ? 'Stop' : 'Play';
  for (const video of loaded()) stands.delete(video); // as long as the clock stood, none was stuck
  if (on) requestAnimationFrame(tick);
  else loaded().forEach(hold);
}

function go(seconds) {
  if (now.playing) start(false);
  set(seconds);
  loaded().forEach(hold);
}

function load(video) {
  if (shown.size >= MOST) {
    waiting.add(video);
    return;
  }
  shown.add(video);
  video.preload = 'auto';
  video.src = video.dataset.src;
}

function unload(video) {
  waiting.delete(video);
  if (!shown.delete(video)) return;
  video.pause();
  video.removeAttribute('src');
  video.load();
  const [next] = waiting;
  if (next) {
    waiting.delete(next);
    load(next);
  }
}

// A player that joins is where the clock is, which would else wait for it.
function join(video) {
  stands.delete(video);
  if (!now.playing) hold(video);
  else if (seen.has(video)) video.currentTime = place(video, at());
}

const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) (entry.isIntersecting ? load : unload)(entry.target);
}, { rootMargin: '150px' });
const viewer = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) seen.add(target);
    else {
      seen.delete(target);
      target.pause();
    }
    if (target.readyState >= 1) join(target);
  }
});
for (const video of all('video')) {
  video.addEventListener('loadedmetadata', () => {
    tell();
    join(video);
  });
  video.addEventListener('error', () => {
    if (!video.getAttribute('src')) return;
    const said = document.createElement('p');
    said.className = 'elsewhere';
    said.textContent = 'The clip cannot be played: it is not beside this page, or this browser does not know its codec.';
    watcher.unobserve(video);
    viewer.unobserve(video);
    seen.delete(video);
    unload(video);
    video.replaceWith(said);
  });
  watcher.observe(video);
  viewer.observe(video);
}

play.addEventListener('click', () => start(!now.playing));
time.addEventListener('input', () => go(Number(time.value)));
rate.addEventListener('change', () => {
  set(at());
  now.rate = Number(rate.value);
});
by('size').addEventListener('input', event =>
  document.documentElement.style.setProperty('--cell', `${event.target.value}rem`));

const rows = all('article.row');
function step(by) {
  const there = rows.filter(row => !row.hidden);
  const next = there[Math.min(Math.max(0, there.indexOf(document.activeElement.closest('article.row')) + by), there.length - 1)];
  if (!next) return;
  for (const row of rows) row.tabIndex = row === next ? 0 : -1;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: 'center' });
}

const keys = {
  ' ': () => start(!now.playing), Home: () => go(0), End: () => go(end()),
  ArrowLeft: () => go(at() - frame), ArrowRight: () => go(at() + frame), ArrowUp: () => step(-1), ArrowDown: () => step(1),
};
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
  if (event.target.closest('input, select, button, summary, a, textarea')) return;
  event.preventDefault();
  keys[event.key]();
});

// Filters: a word that no row holds and some variant does is for variants, all others are for rows.
const heads = rows.map(row => row.querySelector('header').textContent.toLowerCase());
function filtered() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (text, some) => some.every(word => text.includes(word));
  const names = all('.names [data-variant]').map(each => each.textContent.toLowerCase());
  const forRows = words.filter(word => heads.some(head => head.includes(word)) || !names.some(name => name.includes(word)));
  const forNames = words.filter(word => !forRows.includes(word));
  const on = all('[data-choose]').map((box, number) => box.checked && fits(names[number], forNames));
  for (const each of all('[data-variant]')) each.hidden = !on[each.dataset.variant];
  rows.forEach((row, number) => { row.hidden = !fits(heads[number], forRows); });
  document.body.style.setProperty('--columns', on.filter(Boolean).length || 1);
  by('none').hidden = rows.some(row => !row.hidden);
}
filter.addEventListener('input', filtered);
for (const box of all('[data-choose]')) box.addEventListener('change', filtered);
for (const box of all('[data-column]')) box.addEventListener('change', () => {
  for (const each of all('[data-of]')) if (each.dataset.of === box.dataset.column) each.hidden = !box.checked;
});

// Sorting: a second click turns it round; what has no value comes last.
for (const button of all('[data-sort]')) button.addEventListener('click', () => {
  const head = button.closest('th'), body = head.closest('table').tBodies[0];
  const up = head.getAttribute('aria-sort') !== 'ascending';
  for (const each of head.parentNode.children) each.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const number = button.dataset.sort === 'number';
  const value = row => number ? row.cells[head.cellIndex].dataset.value : row.cells[head.cellIndex].textContent;
  const less = (a, b) => number ? a - b : a.localeCompare(b, undefined, { numeric: true });
  body.append(...[...body.rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === '' || b === '') return (a === '') - (b === '');
    return up ? less(a, b) : less(b, a);
  }));
});
tell();
