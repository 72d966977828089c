// The stream of events, which the other files show.

/** The longest silence of the endpoint, which says every 15 s that it is there. */
const SILENCE_MS = 40_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;

function showTrouble(reason) {
  setText(at('trouble'), `The cluster cannot be seen: ${reason}.`);
  at('trouble').hidden = false;
  at('members').classList.add('stale');
}

function showWarnings(sentences) {
  at('warnings').replaceChildren(...sentences.map((sentence) => foreign('li', '', `${sentence}.`)));
  at('warnings').hidden = sentences.length === 0;
}

const shows = { sent: showSent, group: showGroup, queues: showQueues, trouble: showTrouble,
  warnings: showWarnings, letters: showLetters, open_letters: showOpenLetters,
  letters_trouble: showLettersTrouble, history: showHistory, sample: showSample };

/** One event: lines `event: name` and `data: json`; a comment has neither. */
function handle(block) {
  const field = (name) => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const [name, data] = [field('event'), field('data')];
  if (data !== undefined) shows[name]?.(JSON.parse(data));
}

function connection(state, text) {
  at('connection').dataset.state = state;
  setText(at('connection'), text);
  if (state === 'lost') for (const list of ['members', 'queues', 'charts']) at(list).classList.add('stale');
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
  settle('replay', [...letters.keys()], at('replay-all'));
});
at('discard-all').addEventListener('click', () => discard([...letters.keys()], at('discard-all')));
at('letter-filter').addEventListener('input', () => findAgain(TYPING_MS));
at('metrics').addEventListener('click', openMetrics);
setText(at('version'), `point-to-point ${VERSION}`);
at('user').addEventListener('input', tellTokenFromPassword);
document.addEventListener('visibilitychange', restart);
restart();
