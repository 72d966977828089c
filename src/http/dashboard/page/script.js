// What the page does: it sends messages, and shows what the endpoint tells by server-sent events.

/** The longest silence of the endpoint, which says every 15 s that it is there. */
const SILENCE_MS = 40_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;
/** As many messages as the endpoint remembers. */
const SHOWN = 50;
/** Lag beyond which a bar is as long as the longest. */
const SMALL_LAG = 10;
/** So many messages at once are not each shown to be new: the list would flicker. */
const MANY = 6;
const PAUSED = 'paused: the handler cannot be started, or too many attempts failed';
const TOKEN = 'point-to-point token';
/** The name of the user whose password TOKEN is then. */
const NAME = 'point-to-point name';

// Requests, with a token, or name and password, where they are needed

let asking = null;
const TOKEN_PATTERN = at('token').pattern;

/** The secret is a password if there is a name, and a token otherwise. */
function tellTokenFromPassword() {
  const isPassword = at('user').value !== '';
  at('token').pattern = isPassword ? '.*' : TOKEN_PATTERN;
  at('token').title = isPassword ? '' : '16 to 256 visible ASCII characters';
}

function keepToken() {
  const name = at('user').value.trim();
  sessionStorage.setItem(TOKEN, name ? at('token').value : at('token').value.trim());
  if (name) sessionStorage.setItem(NAME, name);
  else sessionStorage.removeItem(NAME);
}

/** Asks the user for the token, or name and password; requests that come meanwhile wait for the same answer. */
function askForToken(refused, takesPasswords) {
  asking ??= new Promise((resolve) => {
    const dialog = at('ask-token');
    at('token').value = '';
    at('user').value = takesPasswords ? (sessionStorage.getItem(NAME) ?? '') : '';
    at('user-field').hidden = !takesPasswords;
    setText(at('token-title'), `This endpoint wants a token${takesPasswords ? ', or name and password' : ''}`);
    setText(at('token-label'), takesPasswords ? 'Password or token' : 'Token');
    setText(at('token-refused'), `The endpoint has refused that ${sessionStorage.getItem(NAME) ? 'password' : 'token'}.`);
    at('token-refused').hidden = !refused;
    tellTokenFromPassword();
    at('token-form').onsubmit = keepToken;
    dialog.onclose = () => {
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

/** The value of `Authorization`: RFC 7617 wants UTF-8 in base64. */
function authorization() {
  const [token, name] = [sessionStorage.getItem(TOKEN), sessionStorage.getItem(NAME)];
  if (token === null || name === null) return token && `Bearer ${token}`;
  const bytes = new TextEncoder().encode(`${name}:${token}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** As fetch, again with another token as long as the endpoint refuses the one that it got. */
async function request(path, options = {}) {
  for (;;) {
    const shown = authorization();
    const headers = { ...options.headers, ...(shown ? { Authorization: shown } : {}) };
    // With credentials a browser would ask for name and password by a dialog of its own.
    const answer = await fetch(path, { ...options, headers, credentials: 'omit', cache: 'no-store', redirect: 'error' });
    if (answer.status !== 401) return answer;
    const takesPasswords = /\bBasic\b/.test(answer.headers.get('WWW-Authenticate') ?? '');
    if (authorization() === shown) await askForToken(shown !== null, takesPasswords);
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

/** Keeps a button from being pressed again while `work` is done. The focus stays there, or goes to `next` with it. */
async function whileDisabled(button, next, work) {
  if (button.disabled) return;
  const hadFocus = document.activeElement === button;
  button.disabled = true;
  await work();
  button.disabled = false;
  if (hadFocus && document.activeElement === document.body) (button.checkVisibility() ? button : next).focus();
}

// Sending

async function send() {
  const [answer, key] = [at('answer'), at('key').value];
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
  }
}

// What was sent

const sent = new Map();
/** A stream begins with everything that the endpoint remembers: what else is listed it knows no more. */
let isFirstOfStream = true;

const nameOf = (message) => `${message.topic}/${message.partition}/${message.offset}`;

function showSent(messages) {
  if (isFirstOfStream) {
    forget(sent, new Set(messages.map(nameOf)));
    isFirstOfStream = false;
  }
  for (const message of messages) {
    const entry = kept(sent, nameOf(message), () => sentEntry(message, messages.length < MANY));
    showState(entry.querySelector('.state'), message);
    entry.dataset.committed = message.committed;
    entry.dataset.letter = message.letter ?? '';
  }
  forget(sent, new Set([...sent.keys()].slice(-SHOWN)));
  arrange(at('sent'), [...sent.values()].reverse());
  at('sent').hidden = at('sent-summary').hidden = sent.size === 0;
  at('nothing-sent').hidden = sent.size > 0;
  const committed = [...sent.values()].filter((entry) => entry.dataset.committed === 'true').length;
  const dead = [...sent.values()].filter((entry) => entry.dataset.letter !== '').length;
  const beside = dead > 0 ? `, ${counted(dead, 'dead letter')}` : '';
  setText(at('sent-summary'), `The last ${counted(sent.size, 'message')}, ${committed} committed${beside}.`);
}

function sentEntry(message, isNew) {
  const where = `${message.topic} ${message.partition} · offset ${message.offset}`;
  const place = make('span', '', `${where}${size(message.value)} · ${time(message.at)}`);
  const about = make('p', 'about line', '', make('span', '', '', ...chip(message.key), place), make('span', 'state'));
  return make('li', isNew ? 'entry new' : 'entry', '', excerpt(message.value), about);
}

function showState(state, message) {
  const isDead = message.letter !== null;
  state.classList.toggle('committed', message.committed);
  state.classList.toggle('dead', isDead);
  const committed = message.by ? `${message.by} · committed` : 'committed';
  const open = isDead ? `dead letter ${message.letter}` : 'stored';
  setText(state, message.committed ? committed : open);
}

// The group

const cards = new Map();
const rows = new Map();

function showGroup(group) {
  at('trouble').hidden = true;
  at('members').classList.remove('stale');
  setText(at('group-name'), group.group);
  const longest = Math.max(SMALL_LAG, ...group.partitions.map((partition) => partition.lag ?? 0));
  const left = group.partitions.reduce((sum, { lag, queue }) => sum + (queue?.open ?? lag ?? 0), 0);
  const members = group.members ? counted(group.members.length, 'member') : 'members not known';
  const state = group.state === 'Dead' ? 'No such group yet' : group.state;
  setText(at('group-summary'), `${state}, ${members}.`);
  const unknown = group.partitions.filter((partition) => partition.lag === null && partition.end !== 0).length;
  const beside = unknown > 0 ? `; not known for ${counted(unknown, 'partition')}` : '';
  setText(at('group-lag'), `${counted(left, 'message')} to handle${beside}.`);
  at('lag-note').hidden = !group.partitions.some((partition) => partition.queue);
  at('no-members').hidden = group.members?.length !== 0;
  at('no-topic').hidden = group.partitions.length > 0;
  showOwners(group, longest);
}

function showOwners({ members, partitions }, longest) {
  const owned = (id) => partitions.filter((partition) => partition.owner === id);
  const shown = (members ?? []).map(({ id, name, host }) => memberCard(id, name, host, owned(id), longest));
  const orphans = owned(null);
  if (orphans.length > 0) shown.push(memberCard(null, 'Nobody', 'no owner', orphans, longest));
  arrange(at('members'), shown);
  forget(cards, new Set((members ?? []).map(({ id }) => id).concat(null)));
  forget(rows, new Set(partitions.map(placeOf)));
}

function memberCard(id, name, host, partitions, longest) {
  const card = kept(cards, id, () => {
    const title = make('h3', '', '', foreign('span', '', name), make('span', 'hint', host));
    const made = make('li', id === null ? 'member nobody' : 'member', '', title, make('ul'));
    made.dataset.name = name;
    return made;
  });
  const owned = partitions.map((partition) => partitionRow(partition, longest));
  arrange(card.querySelector('ul'), owned.length > 0 ? owned : [make('li', 'hint', 'no partitions')]);
  return card;
}

const placeOf = (partition) => `${partition.topic} ${partition.partition}`;

function partitionRow(partition, longest) {
  const row = kept(rows, placeOf(partition), () => {
    const track = make('div', 'track', '', make('span'));
    track.setAttribute('aria-hidden', 'true');
    const texts = [make('span', 'lag'), make('span', 'queue'), attemptedPart(partition)];
    return make('li', 'partition', '', make('span', 'place', placeOf(partition)), track, ...texts);
  });
  row.querySelector('.track span').style.width = `${(100 * (partition.lag ?? 0)) / longest}%`;
  setText(row.querySelector('.lag'), lagText(partition));
  setText(row.querySelector('.queue'), queueText(partition));
  showAttempted(row.querySelector('.attempted'), partition);
  row.title = `committed ${partition.committed ?? 'nothing'}, end ${partition.end ?? 'unknown'}`;
  row.classList.toggle('behind', partition.lag > 0);
  return row;
}

function lagText({ lag, committed, end }) {
  if (lag !== null) return `lag ${lag.toLocaleString('en')}`;
  if (end === 0) return 'lag 0';
  return committed === null && end !== null ? 'nothing committed' : 'lag unknown';
}

/** What the lag of a work queue consists of: it counts from the lowest open message. */
function queueText({ lag, queue }) {
  if (!queue) return '';
  const parts = queue.paused ? [queue.open > 0 ? PAUSED : 'paused'] : [];
  if (lag > 0 && queue.open !== null) parts.push(`${queue.open.toLocaleString('en')} open`);
  if (queue.waiting > 0) parts.push(`${queue.waiting.toLocaleString('en')} waiting, the next at ${time(queue.next_due)}`);
  return parts.join(' · ');
}

/** A list that can be folded: of a queue that fails it is long. */
function attemptedPart(partition) {
  const list = make('ul');
  list.setAttribute('role', 'list');
  list.setAttribute('aria-label', `Attempted messages of ${placeOf(partition)}`);
  const part = make('details', 'attempted', '', make('summary'), list);
  part.open = true;
  return part;
}

function showAttempted(part, partition) {
  const { attempted = [], unlisted = 0 } = partition.queue ?? {};
  const texts = attempted.map((message) => `offset ${message.offset} · ${attemptedText(message, partition)}`);
  if (unlisted > 0) texts.push(`and ${unlisted.toLocaleString('en')} more`);
  const [summary, list] = part.children;
  const items = texts.map((_, place) => list.children[place] ?? make('li'));
  items.forEach((item, place) => setText(item, texts[place]));
  arrange(list, items);
  setText(summary, `${counted(attempted.length + unlisted, 'open message')} attempted`);
  part.hidden = texts.length === 0;
}

/** Why a message is still open, and until when it waits. */
function attemptedText({ attempts, deaths, due, suspect }, { owner, queue }) {
  const died = deaths > 0 ? ` (${counted(deaths, 'death')})` : '';
  if (suspect && owner !== null) return `being tried alone after a death, attempt ${attempts}${died}`;
  const failed = `failed ${counted(attempts, 'time')}${died}`;
  if (due !== null) return `${failed} · waits until ${time(due)}`;
  if (owner === null) return `${failed} · waits for a consumer`;
  return `${failed} · ${queue.paused ? 'waits for the end of the pause' : 'tried again now, or next'}`;
}

function showTrouble(reason) {
  setText(at('trouble'), `The cluster cannot be seen: ${reason}.`);
  at('trouble').hidden = false;
  at('members').classList.add('stale');
}

function showWarnings(sentences) {
  at('warnings').replaceChildren(...sentences.map((sentence) => foreign('li', '', `${sentence}.`)));
  at('warnings').hidden = sentences.length === 0;
}

// Dead letters

const letters = new Map();

function showLetters(newest) {
  const focused = document.activeElement;
  const hadFocus = at('letters').contains(focused) || focused === at('replay-all');
  forget(letters, new Set(newest.map((letter) => letter.letter)));
  arrange(at('letters'), newest.map((letter) => kept(letters, letter.letter, () => letterEntry(letter))));
  const none = 'None. A message that cannot be handled, or is no JSON, is put aside here, and can be replayed.';
  setText(at('letters-summary'), newest.length === 0 ? none : `The newest ${counted(newest.length, 'letter')}.`);
  at('replay-all').hidden = newest.length < 2;
  if (hadFocus && !focused.checkVisibility()) at('letters-title').focus();
}

function letterEntry(letter) {
  const button = make('button', '', 'Replay');
  button.type = 'button';
  button.setAttribute('aria-label', `Replay ${letter.letter}`);
  button.addEventListener('click', () => whileDisabled(button, at('letters-title'), () => replay([letter.letter])));
  const replays = letter.replays > 0 ? ` · replayed ${counted(letter.replays, 'time')}` : '';
  const attempts = letter.attempts > 0 ? ` · ${counted(letter.attempts, 'attempt')}` : '';
  const about = make('span', '', `${letter.from}${size(letter.value)} · ${time(letter.at)}${attempts}${replays}`);
  const line = make('div', 'line', '', make('p', 'about', '', ...chip(letter.key), about), button);
  const error = foreign('p', 'error', letter.error);
  const entry = make('li', 'entry', '', excerpt(letter.value), error, ...stderrPart(letter), line);
  entry.dataset.letter = letter.letter;
  return entry;
}

/** What the handler wrote on standard error, folded but for its last line. */
function stderrPart({ stderr, stderr_messages: messages }) {
  const lines = (stderr ?? '').split('\n').filter((text) => text.trim() !== '');
  if (lines.length === 0) return [];
  const several = messages > 1 ? ` (while it had ${counted(messages, 'message')} at once)` : '';
  const last = foreign('span', '', lines.at(-1));
  const summary = make('summary', '', '', `standard error${several}: `, last);
  return [make('details', 'stderr', '', summary, foreign('pre', '', stderr))];
}

async function replay(names) {
  const answer = at('replay-answer');
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
  }
}

// Events

const shows = { sent: showSent, group: showGroup, queues: showQueues, trouble: showTrouble,
  warnings: showWarnings, letters: showLetters };

/** One event: lines `event: name` and `data: json`; a comment has neither. */
function handle(block) {
  const field = (name) => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const [name, data] = [field('event'), field('data')];
  if (data !== undefined) shows[name]?.(JSON.parse(data));
}

function connection(state, text) {
  at('connection').dataset.state = state;
  setText(at('connection'), text);
  if (state === 'lost') for (const list of ['members', 'queues']) at(list).classList.add('stale');
}

let watching = null;

/** Reads events until the stream ends, or is silent for too long; gives the reason if the endpoint refuses one. */
async function watch(control) {
  let silence = 0;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => control.abort(), SILENCE_MS);
  };
  try {
    heard();
    const answer = await request('/events', { signal: control.signal });
    if (!answer.ok) return (await content(answer)).message;
    connection('live', 'live');
    isFirstOfStream = true;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ; ) {
      heard();
      const { done, value } = await reader.read();
      if (done) return null;
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
    let refusal = null;
    try {
      refusal = await watch(control);
      if (refusal === null) wait = FIRST_RETRY_MS;
    } catch (error) {
      if (watching !== control) return;
      console.debug('the stream of events broke off:', error);
    }
    if (watching !== control) return;
    const why = refusal === null ? 'connection lost' : `not live: ${refusal}`;
    connection('lost', `${why}, trying again …`.replace('.,', ','));
    if (control.signal.aborted) return restart();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function restart() {
  watching?.abort();
  watching = null;
  if (!document.hidden) keepWatching();
}

const sendButton = at('send').querySelector('button');
at('send').addEventListener('submit', (event) => {
  event.preventDefault();
  whileDisabled(sendButton, sendButton, send);
});
at('message').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) at('send').requestSubmit();
});
at('replay-all').addEventListener('click', () => {
  whileDisabled(at('replay-all'), at('letters-title'), () => replay([...letters.keys()]));
});
at('user').addEventListener('input', tellTokenFromPassword);
document.addEventListener('visibilitychange', restart);
restart();
