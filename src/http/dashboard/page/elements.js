// How the page makes and changes elements. Whatever comes from a message is only ever put in as text.

const at = (id) => document.getElementById(id);

/** An element with a class, text, and children. */
function make(tag, className = '', text = '', ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== '') element.textContent = text;
  element.append(...children);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function say(element, kind, text) {
  element.dataset.kind = kind;
  setText(element, text);
}

const counted = (count, one, many = `${one}s`) => `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

/** A time of today, or with its date. */
function time(ms) {
  const date = new Date(ms);
  if (ms === null || Number.isNaN(date.getTime())) return 'time unknown';
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString([], { hour12: false }) : date.toLocaleString([], { hour12: false });
}

/** What the map has under the name, made where it has nothing. */
function kept(map, name, build) {
  if (!map.has(name)) map.set(name, build());
  return map.get(name);
}

/** Forgets what is not among the names. */
function forget(map, names) {
  for (const name of map.keys()) if (!names.has(name)) map.delete(name);
}

/** Has a list show just these elements; what is in its place already is not touched, nor its focus and animations. */
function arrange(list, elements) {
  const focused = document.activeElement;
  const wanted = new Set(elements);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, place) => {
    if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null);
  });
  if (list.contains(focused)) focused.focus({ preventScroll: true });
}

/** A message's own words: they may run from right to left, which must not turn round what stands beside them. */
function foreign(tag, className, text) {
  const element = make(tag, className, text);
  element.dir = 'auto';
  return element;
}

function excerpt(part) {
  if (!part) return make('p', 'value null', 'null');
  return foreign('p', 'value', part.cut ? `${part.text} …` : part.text);
}

/** How long the whole of an excerpt is. */
const size = (part) => (part?.cut ? ` · ${counted(part.bytes, 'byte')}` : '');

function chip(key) {
  if (!key) return [];
  const shown = foreign('span', 'chip', key.cut ? `${key.text} …` : key.text);
  shown.title = shown.textContent;
  return ['key ', shown];
}

