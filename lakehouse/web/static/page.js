// Everything on these pages can be read without this. It copies commands, filters the table, lights up what an asset is
// made from and goes into, and lets a calendar's days be found and opened.
'use strict';

const every = (what, where = document) => [...where.querySelectorAll(what)];

// How long ago something was, beside when it was.
for (const time of every('time')) {
  const passed = (Date.now() - Date.parse(time.dateTime)) / 1000;
  const [size, word] = passed < 90 ? [1, 'second'] : passed < 5400 ? [60, 'minute'] : passed < 172800 ? [3600, 'hour'] : [86400, 'day'];
  const number = Math.max(Math.round(passed / size), 0);
  time.title = `${number} ${word}${number === 1 ? '' : 's'} ago`;
}

for (const code of every('code.copy')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copier';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', `Copy: ${code.textContent}`);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand('copy') ? 'Copied' : 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  code.after(button);
}

const find = document.getElementById('find');
if (find) {
  const rows = every('.assets tbody tr').map(row => [row, `${row.cells[0].textContent} ${row.dataset.w ?? ''}`.toLowerCase()]);
  const found = document.getElementById('found');
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let number = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every(word => text.includes(word));
      number += !row.hidden;
    }
    found.textContent = words.length ? `${number} of ${rows.length}` : '';
  };
  find.closest('label').hidden = false;
  find.addEventListener('input', filter);
  const names = new Set(every('option', find.list ?? document.createElement('datalist')).map(one => one.value));
  find.addEventListener('keydown', event => {
    if (event.key === 'Escape') { find.value = ''; filter(); }
    // An asset of another page of the table.
    if (event.key === 'Enter' && names.has(find.value)) location.assign(find.dataset.to.replace(/\.html$/, `${encodeURIComponent(find.value)}.html`));
  });
  document.addEventListener('keydown', event => {
    if (event.key === '/' && !event.ctrlKey && !event.metaKey && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      find.focus();
    }
  });
  filter();
}

for (const graph of every('.graph')) {
  const next = {}, before = {};
  for (const edge of every('.edge', graph)) {
    (next[edge.dataset.a] ??= []).push([edge, edge.dataset.b]);
    (before[edge.dataset.b] ??= []).push([edge, edge.dataset.a]);
  }
  const nodes = every('.node', graph);
  const dark = () => { graph.classList.remove('lit'); for (const one of every('.hit', graph)) one.classList.remove('hit'); };
  const light = key => {
    dark();
    const hit = new Set([key]);
    for (const ways of [next, before]) {
      const waiting = [key];
      while (waiting.length) {
        for (const [edge, end] of ways[waiting.pop()] ?? []) {
          edge.classList.add('hit');
          if (!hit.has(end)) { hit.add(end); waiting.push(end); }
        }
      }
    }
    graph.classList.add('lit');
    for (const node of nodes) node.classList.toggle('hit', hit.has(node.dataset.k));
  };
  for (const node of nodes) {
    for (const event of ['pointerenter', 'focus']) node.addEventListener(event, () => light(node.dataset.k));
    for (const event of ['pointerleave', 'blur']) node.addEventListener(event, dark);
  }
}

// A day's page bears its key as its name.
const open = (folder, key) => { if (folder && key) location.assign(`${folder}${encodeURIComponent(key)}.html`); };

for (const form of every('form.open')) {
  form.hidden = false;
  form.addEventListener('submit', event => { event.preventDefault(); open(form.dataset.to, form.querySelector('input').value.trim()); });
}

const DAY = 86400000, CELL = 13, LEFT = 34, TOP = 16, YEAR = 112;
for (const box of every('.cal')) {
  const picture = box.querySelector('svg'), said = box.querySelector('output');
  const years = picture.dataset.years.split(',').map(Number);
  const place = day => {
    const first = new Date(Date.UTC(day.getUTCFullYear(), 0, 1)), weekday = (day.getUTCDay() + 6) % 7;
    const week = Math.floor(((day - first) / DAY + (first.getUTCDay() + 6) % 7) / 7);
    return [LEFT + week * CELL, TOP + weekday * CELL + years.indexOf(day.getUTCFullYear()) * YEAR];
  };
  const at = (x, y) => {
    const year = years[Math.floor(y / YEAR)], week = Math.floor((x - LEFT) / CELL), weekday = Math.floor((y % YEAR - TOP) / CELL);
    if (year === undefined || week < 0 || weekday < 0 || weekday > 6) return null;
    const first = new Date(Date.UTC(year, 0, 1));
    const day = new Date(first.getTime() + (week * 7 + weekday - (first.getUTCDay() + 6) % 7) * DAY);
    return day.getUTCFullYear() === year ? day : null;
  };
  const names = { p: 'published', s: 'stale', h: 'held back', f: 'failed', m: 'missing', w: 'waiting', r: 'running' };
  const shapes = every('path', picture);
  const state = day => {
    const [x, y] = place(day), point = new DOMPoint(x + 5, y + 5);
    const shape = shapes.findLast(one => one.isPointInFill(point));
    return shape ? names[shape.getAttribute('class').slice(2)] : null;
  };
  const cursor = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
  cursor.setAttribute('class', 'cursor');
  for (const [name, value] of [['width', 12], ['height', 12], ['rx', 2]]) cursor.setAttribute(name, value);
  let chosen = null;
  const choose = day => {
    const found = day && state(day);
    if (!found) return false;
    chosen = day;
    const [x, y] = place(day);
    cursor.setAttribute('x', x - 0.5);
    cursor.setAttribute('y', y - 0.5);
    picture.append(cursor);
    said.textContent = `${day.toISOString().slice(0, 10)}: ${found}`;
    return true;
  };
  const pointed = event => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    return at(point.x, point.y);
  };
  const key = day => day.toISOString().slice(0, 10);
  picture.addEventListener('pointermove', event => choose(pointed(event)));
  picture.addEventListener('click', event => { const day = pointed(event); if (day && choose(day)) open(box.dataset.to, key(day)); });
  const steps = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -7, ArrowRight: 7 };
  box.addEventListener('keydown', event => {
    if (event.key === 'Enter' && chosen) { open(box.dataset.to, key(chosen)); return; }
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    if (!chosen) {
      const [low, high] = [Math.min(...years), Math.max(...years)];
      for (let day = new Date(Date.UTC(high, 11, 31)); day.getUTCFullYear() >= low; day = new Date(day - DAY)) if (choose(day)) return;
      return;
    }
    for (let tries = 1; tries <= 7 && !choose(new Date(chosen.getTime() + step * tries * DAY)); tries++);
  });
}
