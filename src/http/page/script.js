// The page: sends messages, and shows what the endpoint tells by server-sent events. Whatever comes from a message is
// only ever put in as text.

/** The longest silence of the endpoint, which says every 15 s that it is there. */
const SILENCE_MS = 40_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;
/** As many messages as the endpoint remembers. */
const SHOWN = 50;
/** Lag beyond which a bar is as long as the longest. */
const SMALL_LAG = 10;
const TOKEN = 'point-to-point token';

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
const time = (ms) => (ms === null ? 'time unknown' : new Date(ms).toLocaleTimeString([], { hour12: false }));

// Requests, with the token where one is needed

let asking = null;

/** Asks the user for the token; requests that come meanwhile wait for the same answer. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = at('ask-token');
    at('token').value = '';
    at('token-form').onsubmit = () => sessionStorage.setItem(TOKEN, at('token').value.trim());
    dialog.onclose = () => {
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

/** As fetch, again with another token as long as the endpoint refuses the one that it got. */
async function request(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const answer = await fetch(path, { ...options, headers, cache: 'no-store', redirect: 'error' });
    if (answer.status !== 401) return answer;
    if (sessionStorage.getItem(TOKEN) === token) await askForToken();
    options.signal?.throwIfAborted();
  }
}

/** What an answer says, whether it is JSON or not. */
async function content(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text);
  } catch {
    return { message: `The endpoint answered ${answer.status}.` };
  }
}

async function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await request(path, { method: 'POST', headers, body });
  return { status: answer.status, said: await content(answer) };
}

// Sending

async function send(event) {
  event.preventDefault();
  const [button, answer, key] = [at('send').querySelector('button'), at('answer'), at('key').value];
  if (button.disabled) return;
  button.disabled = true;
  say(answer, '', 'Sending …');
  try {
    const path = key ? `/enviar?key=${encodeURIComponent(key)}` : '/enviar';
    const { status, said } = await post(path, at('message').value);
    if (status === 200) {
      say(answer, 'good', `${said.mensaje}: ${said.topic}, partition ${said.partition}, offset ${said.offset}`);
    } else {
      say(answer, 'bad', said.message ?? `The endpoint answered ${status}.`);
    }
  } catch {
    say(answer, 'bad', 'No answer came; the message may or may not be stored.');
  } finally {
    const wasFocused = document.activeElement === document.body;
    button.disabled = false;
    if (wasFocused) button.focus();
  }
}

// What was sent

const sent = new Map();

function excerpt(tag, part) {
  if (!part) return make(tag, 'value null', 'null');
  return make(tag, 'value', part.cut ? `${part.text} … (${counted(part.bytes, 'byte')})` : part.text);
}

function chip(key) {
  if (!key) return [];
  const shown = make('span', 'chip', key.cut ? `${key.text} …` : key.text);
  shown.title = `key ${shown.textContent}`;
  return [shown];
}

function showSent(messages) {
  for (const message of messages) {
    const name = `${message.topic}/${message.partition}/${message.offset}`;
    const known = sent.get(name);
    const entry = known ?? sentEntry(message);
    showState(entry.querySelector('.state'), message);
    if (!known) at('sent').prepend(entry);
    entry.dataset.committed = message.committed;
    sent.set(name, entry);
  }
  for (const [name, entry] of [...sent].slice(0, Math.max(0, sent.size - SHOWN))) {
    sent.delete(name);
    entry.remove();
  }
  if (sent.size === 0) return;
  const committed = [...sent.values()].filter((entry) => entry.dataset.committed === 'true').length;
  setText(at('sent-summary'), `The last ${counted(sent.size, 'message')}, ${committed.toLocaleString('en')} committed.`);
}

function sentEntry(message) {
  const place = make('span', '', `${message.topic} ${message.partition} · offset ${message.offset} · ${time(message.at)}`);
  const about = make('p', 'about line', '', make('span', '', '', ...chip(message.key), ' ', place), make('span', 'state'));
  return make('li', 'entry new', '', excerpt('p', message.value), about);
}

function showState(state, message) {
  state.classList.toggle('committed', message.committed);
  const committed = message.by ? `${message.by} · committed` : 'committed';
  setText(state, message.committed ? committed : 'stored');
}

// The group

function showGroup(group) {
  at('trouble').hidden = true;
  at('members').classList.remove('stale');
  setText(at('group-name'), group.group);
  const lags = group.partitions.map((partition) => partition.lag ?? 0);
  const lag = lags.reduce((sum, one) => sum + one, 0);
  const longest = Math.max(SMALL_LAG, ...lags);
  const members = group.members ? counted(group.members.length, 'member') : 'members not known';
  setText(at('group-summary'), `${group.state}, ${members}.`);
  setText(at('group-lag'), `${counted(lag, 'message')} to handle.`);
  const owned = (id) => group.partitions.filter((partition) => partition.owner === id);
  const cards = (group.members ?? []).map((member) => memberCard(member.name, member.host, owned(member.id), longest));
  const orphans = owned(null);
  if (orphans.length > 0) cards.push(memberCard('Nobody', 'no owner', orphans, longest, 'nobody'));
  at('members').replaceChildren(...cards);
}

function memberCard(name, host, partitions, longest, kind = '') {
  const title = make('h3', '', '', make('span', '', name), make('span', 'hint', host));
  const rows = partitions.map((partition) => partitionRow(partition, longest));
  if (rows.length === 0) rows.push(make('li', 'hint', 'no partitions'));
  const card = make('li', `member ${kind}`, '', title, make('ul', '', '', ...rows));
  card.dataset.name = name;
  return card;
}

function partitionRow(partition, longest) {
  const filled = make('span');
  filled.style.width = `${(100 * (partition.lag ?? 0)) / longest}%`;
  const track = make('div', 'track', '', filled);
  track.setAttribute('aria-hidden', 'true');
  const lag = lagText(partition);
  const place = make('span', 'place', `${partition.topic} ${partition.partition}`);
  const row = make('li', 'partition', '', place, track, make('span', 'lag', lag));
  row.title = `committed ${partition.committed ?? 'nothing'}, end ${partition.end ?? 'unknown'}`;
  row.classList.toggle('behind', partition.lag > 0);
  return row;
}

function lagText({ lag, committed, end }) {
  if (lag !== null) return `lag ${lag.toLocaleString('en')}`;
  if (end === 0) return 'lag 0';
  return committed === null && end !== null ? 'nothing committed' : 'lag unknown';
}

function showTrouble(reason) {
  setText(at('trouble'), `The cluster cannot be seen: ${reason}.`);
  at('trouble').hidden = false;
  at('members').classList.add('stale');
}

// Dead letters

const letters = new Map();

function showLetters(newest) {
  const names = new Set(newest.map((letter) => letter.letter));
  for (const [name, entry] of letters) {
    if (names.has(name)) continue;
    const hadFocus = entry.contains(document.activeElement);
    letters.delete(name);
    entry.remove();
    if (hadFocus) at('letters-title').focus();
  }
  for (const letter of newest) {
    if (!letters.has(letter.letter)) letters.set(letter.letter, letterEntry(letter));
  }
  // Appending what is there already only moves it; whoever has the focus would lose it.
  const order = newest.map((letter) => letters.get(letter.letter));
  const list = at('letters');
  if (order.some((entry, place) => list.children[place] !== entry)) {
    const focused = document.activeElement;
    list.append(...order);
    if (list.contains(focused)) focused.focus();
  }
  setText(at('letters-summary'), newest.length === 0 ? 'None.' : `The newest ${counted(newest.length, 'letter')}.`);
  at('replay-all').hidden = newest.length < 2;
}

function letterEntry(letter) {
  const button = make('button', '', 'Replay');
  button.type = 'button';
  button.setAttribute('aria-label', `Replay ${letter.letter}`);
  button.addEventListener('click', () => replay([letter.letter], button));
  const replays = letter.replays > 0 ? ` · replayed ${counted(letter.replays, 'time')}` : '';
  const about = make('span', '', `${letter.from} · ${time(letter.at)}${replays}`);
  const line = make('div', 'line', '', make('p', 'about', '', ...chip(letter.key), ' ', about), button);
  const entry = make('li', 'entry', '', excerpt('p', letter.value), make('p', 'error', letter.error), line);
  entry.dataset.letter = letter.letter;
  return entry;
}

async function replay(names, button) {
  const answer = at('replay-answer');
  button.disabled = true;
  say(answer, '', 'Replaying …');
  try {
    const { status, said } = await post('/dead-letters/replay', JSON.stringify({ letters: names }));
    const failed = (said.letters ?? []).filter((letter) => letter.error !== null);
    if (status === 200) {
      say(answer, 'good', `${counted(names.length, 'letter')} replayed.`);
    } else if (failed.length > 0) {
      say(answer, 'bad', `${failed.length} of ${names.length} not replayed: ${failed[0].error}`);
    } else {
      say(answer, 'bad', said.message ?? `The endpoint answered ${status}.`);
    }
  } catch {
    say(answer, 'bad', 'No answer came; what is still listed was not replayed, or will be listed no more soon.');
  } finally {
    button.disabled = false;
  }
}

// Events

const shows = { sent: showSent, group: showGroup, trouble: showTrouble, letters: showLetters };

/** One event: lines `event: name` and `data: json`; a comment has neither. */
function handle(block) {
  const field = (name) => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const [name, data] = [field('event'), field('data')];
  if (data !== undefined) shows[name]?.(JSON.parse(data));
}

function connection(state, text) {
  at('connection').dataset.state = state;
  setText(at('connection'), text);
}

let watching = null;

/** Reads events until the stream ends, or is silent for too long. */
async function watch(control) {
  let silence = 0;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => control.abort(), SILENCE_MS);
  };
  try {
    const answer = await request('/events', { signal: control.signal });
    if (!answer.ok) throw new Error((await content(answer)).message);
    connection('live', 'live');
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ; ) {
      heard();
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop();
      blocks.forEach(handle);
    }
  } finally {
    clearTimeout(silence);
  }
}

/** Watches while the page can be seen: each watcher is a connection, of which a browser has few. */
async function keepWatching() {
  const control = new AbortController();
  watching = control;
  for (let wait = FIRST_RETRY_MS; watching === control; wait = Math.min(2 * wait, LONGEST_RETRY_MS)) {
    try {
      await watch(control);
      wait = FIRST_RETRY_MS;
    } catch (error) {
      if (watching !== control) return;
      console.debug('the stream of events broke off:', error);
    }
    if (watching !== control) return;
    connection('lost', 'connection lost, trying again …');
    if (control.signal.aborted) return restart();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function restart() {
  watching?.abort();
  watching = null;
  if (!document.hidden) keepWatching();
}

at('send').addEventListener('submit', send);
at('message').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) at('send').requestSubmit();
});
at('replay-all').addEventListener('click', () => replay([...letters.keys()], at('replay-all')));
document.addEventListener('visibilitychange', restart);
restart();
