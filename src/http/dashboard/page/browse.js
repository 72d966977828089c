// Browsing any topic: a search, page after page.

/** The messages of a page. */
const PAGE = 25;

/** The search that is shown: its topic and query, where each page so far began, and how many messages were looked at. */
let look = null;
let looking = null;

async function nameTopics() {
  try {
    const answer = await request('/topics');
    const names = answer.ok ? await content(answer) : [];
    at('topic-names').replaceChildren(...names.map((name) => Object.assign(make('option'), { value: name })));
  } catch (error) {
    console.debug('the topics are not known:', error);
  }
}

/** Shows the fields that go with where the search begins. */
function chooseFrom() {
  const from = at('browse-from').value;
  for (const name of ['time', 'offset']) {
    at(`browse-${name}`).parentElement.hidden = from !== name;
    at(`browse-${name}`).required = from === name;
  }
  at('browse-partition').required = from === 'offset';
}

function searchAsked() {
  const query = new URLSearchParams({ max: PAGE });
  const from = at('browse-from').value;
  if (from === 'time') query.set('from', new Date(at('browse-time').value).toISOString());
  else if (from === 'offset') query.set('offset', at('browse-offset').value);
  else query.set('from', from);
  for (const name of ['partition', 'key', 'text']) {
    const { value } = at(`browse-${name}`);
    if (value !== '') query.set(name, value);
  }
  return { topic: at('browse-topic').value.trim(), query, pages: [{ at: null, before: 0 }] };
}

/** Shows the last of the pages that the search has come to. */
async function showPage(asked) {
  looking?.abort();
  const control = new AbortController();
  [look, looking] = [asked, control];
  const page = look.pages.at(-1);
  const query = new URLSearchParams(look.query);
  if (page.at !== null) query.set('at', page.at);
  say(at('browse-answer'), '', 'Looking …');
  // Pages of what is being looked for are not known yet.
  at('browse-pages').hidden = true;
  try {
    const answer = await request(`/topics/${encodeURIComponent(look.topic)}/messages?${query}`, { signal: control.signal });
    const said = await content(answer);
    if (looking !== control) return;
    if (answer.ok) return showFound(said, page);
    at('found').replaceChildren();
    say(at('browse-answer'), 'bad', said.message ?? `The endpoint answered ${answer.status}.`);
  } catch (error) {
    if (looking !== control) return;
    console.debug('a search was not answered:', error);
    say(at('browse-answer'), 'bad', 'No answer came.');
  }
  at('browse-pages').hidden = at('browse-back').hidden = look.pages.length < 2;
  at('browse-next').hidden = true;
}

function showFound(found, page) {
  at('found').replaceChildren(...found.messages.map((message) => foundEntry(found.topic, message)));
  [page.next, page.after] = [found.next, page.before + found.searched];
  at('browse-back').hidden = look.pages.length < 2;
  at('browse-next').hidden = found.next === null;
  setText(at('browse-next'), found.complete ? 'Next' : 'Go on');
  at('browse-pages').hidden = look.pages.length < 2 && found.next === null;
  const kind = found.trouble !== null ? 'bad' : '';
  say(at('browse-answer'), kind, [foundWords(found, page), troubleWords(found)].filter((words) => words !== '').join(' '));
}

function foundWords({ messages, complete, partitions }, { before, after }) {
  const count = counted(messages.length, 'message');
  const isFiltered = look.query.has('key') || look.query.has('text');
  const [one] = partitions;
  const has = one?.end_offset > one?.beginning_offset
    ? `Partition ${one.partition} has the offsets ${one.beginning_offset} to ${one.end_offset - 1}.`
    : `Partition ${one?.partition} is empty.`;
  if (!complete) return `${count} among the ${counted(after, 'message')} looked at so far.`;
  if (isFiltered) {
    const fitting = messages.length === 0 ? 'No message fits' : `${count} ${messages.length === 1 ? 'fits' : 'fit'}`;
    return `${fitting} among ${counted(after, 'message')} looked at.`;
  }
  if (messages.length === 0) return before > 0 ? 'No more messages.' : `No messages there.${look.query.has('offset') ? ` ${has}` : ''}`;
  return look.query.has('offset') ? `${count}. ${has}` : `${count}.`;
}

function troubleWords({ complete, trouble }) {
  if (trouble !== null) return `Not all could be read: ${trouble}.`;
  return complete ? '' : 'The time of a look was over.';
}

function foundEntry(topic, message) {
  const { partition, offset, value, key, headers, more_headers: more } = message;
  const bytes = value ? ` · ${counted(value.bytes, 'byte')}` : '';
  const withHeaders = headers.length + more > 0 ? ` · ${counted(headers.length + more, 'header')}` : '';
  const place = make('span', '', `partition ${partition} · offset ${offset}${bytes}${withHeaders} · ${time(message.timestamp)}`);
  const about = make('p', 'about', '', ...chip(key), place);
  const line = make('div', 'line', '', about, opener(topic, partition, offset));
  return make('li', 'entry', '', excerpt(value), line);
}

const lookButton = at('browse').querySelector('button');
at('browse').addEventListener('submit', (event) => {
  event.preventDefault();
  whileDisabled(lookButton, lookButton, () => showPage(searchAsked()));
});
at('browse-next').addEventListener('click', () => whileDisabled(at('browse-next'), at('browse-title'), () => {
  const { next, after } = look.pages.at(-1);
  look.pages.push({ at: next, before: after });
  return showPage(look);
}));
at('browse-back').addEventListener('click', () => whileDisabled(at('browse-back'), at('browse-title'), () => {
  if (look.pages.length > 1) look.pages.pop();
  return showPage(look);
}));
at('browse-from').addEventListener('change', chooseFrom);
at('browse-topic').addEventListener('focus', nameTopics);
chooseFrom();

