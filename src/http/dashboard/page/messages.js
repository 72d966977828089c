// Sending, and what was sent through this endpoint.

/** As many messages as the endpoint remembers. */
const SHOWN = 50;
/** So many messages at once are not each shown to be new: the list would flicker. */
const MANY = 6;

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
  const open = opener(message.topic, message.partition, message.offset);
  const about = make('p', 'about line', '', make('span', '', '', ...chip(message.key), place), make('span', 'state'), open);
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

