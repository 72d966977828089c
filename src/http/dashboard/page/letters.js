// The dead letters: which are shown, their replay and their discard.

/** As many as one request may name. */
const MOST_FOUND = 100;
const TYPING_MS = 300;
const AGAIN_MS = 3_000;

const letters = new Map();
let newestLetters = [];
let openLetters = 0;
let lettersTrouble = null;

function showOpenLetters(count) {
  openLetters = count;
  if (filterText() === '') setText(at('letters-summary'), newestSummary());
}

/** Why not all letters could be read, or null. */
function showLettersTrouble(trouble) {
  lettersTrouble = trouble;
  if (filterText() === '') setText(at('letters-summary'), newestSummary());
}

const lettersTroubleWords = (trouble) => (trouble === null ? '' : ` Not all could be read: ${trouble}.`);

function newestSummary() {
  return newestWords() + lettersTroubleWords(lettersTrouble);
}

function newestWords() {
  const shown = newestLetters.length;
  if (shown === 0 && lettersTrouble !== null) return 'None.';
  if (shown === 0) return 'None. A message that cannot be handled, or is no JSON, is put aside here, and can be replayed.';
  return openLetters > shown ? `The newest ${shown} of ${counted(openLetters, 'letter')}.` : `${counted(shown, 'letter')}.`;
}

/** The newest letters have changed; with a filter, others may be shown. */
function showLetters(newest) {
  newestLetters = newest;
  if (filterText() !== '') return findAgain(0);
  listLetters(newest, newestSummary());
}

function listLetters(shown, summary) {
  const focused = document.activeElement;
  const hadFocus = at('letters').contains(focused) || at('letters-actions').contains(focused);
  forget(letters, new Set(shown.map((letter) => letter.letter)));
  arrange(at('letters'), shown.map((letter) => kept(letters, letter.letter, () => letterEntry(letter))));
  setText(at('letters-summary'), summary);
  at('letters-actions').hidden = shown.length < 2;
  at('filter-line').hidden = shown.length < 2 && filterText() === '';
  if (hadFocus && !focused.checkVisibility()) at('letters-title').focus();
}

const filterText = () => at('letter-filter').value.trim();

let finding = 0;
let isFinding = false;

/** Looks for the letters that fit after a while, unless that is asked again until then. */
function findAgain(wait) {
  clearTimeout(finding);
  finding = setTimeout(findLetters, wait);
}

/** The endpoint looks beyond the newest letters; one search after the other. */
async function findLetters() {
  const text = filterText();
  if (text === '') return showLetters(newestLetters);
  if (isFinding) return findAgain(TYPING_MS);
  isFinding = true;
  try {
    const answer = await request(`/dead-letters?max=${MOST_FOUND}&text=${encodeURIComponent(text)}`);
    const found = await content(answer);
    if (filterText() !== text) return;
    if (answer.ok) return listLetters(found.letters, foundSummary(found));
    setText(at('letters-summary'), found.message);
    if (answer.status === 503) findAgain(AGAIN_MS);
  } catch {
    setText(at('letters-summary'), 'The endpoint did not answer.');
  } finally {
    isFinding = false;
  }
}

function foundSummary({ letters: shown, fit, looked_at: looked, open, complete, trouble }) {
  const number = (count) => count.toLocaleString('en');
  const all = complete ? counted(open, 'letter') : `the newest ${number(looked)} letters, ${number(open)} in all`;
  const beside = shown.length < fit ? `; these are the newest ${shown.length}` : '';
  return `${number(fit)} of ${all} ${fit === 1 ? 'has' : 'have'} this text${beside}.${lettersTroubleWords(trouble)}`;
}

function letterButton(text, name, work) {
  const button = make('button', '', text);
  button.type = 'button';
  button.setAttribute('aria-label', `${text} ${name}`);
  button.addEventListener('click', () => work(button));
  return button;
}

function letterEntry(letter) {
  const name = letter.letter;
  const buttons = make('span', 'buttons', '', letterButton('Replay', name, (button) => settle('replay', [name], button)),
    letterButton('Discard', name, (button) => discard([name], button, letter)), opener(letter.topic, ...name.split(':')));
  const replays = letter.replays > 0 ? ` · replayed ${counted(letter.replays, 'time')}` : '';
  const attempts = letter.attempts > 0 ? ` · ${counted(letter.attempts, 'attempt')}` : '';
  const about = make('span', '', `${letter.from}${size(letter.value)} · ${time(letter.at)}${attempts}${replays}`);
  const line = make('p', 'about', '', ...chip(letter.key), about);
  const error = foreign('p', 'error', letter.error);
  const entry = make('li', 'entry', '', excerpt(letter.value), error, ...stderrPart(letter), line, buttons);
  entry.dataset.letter = name;
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

/** Discards letters if the user means it; one that is discarded alone is shown once more. */
async function discard(names, button, letter) {
  const dialog = at('ask-discard');
  setText(at('discard-title'), names.length === 1 ? 'Discard this letter?' : `Discard these ${names.length} letters?`);
  at('discard-letter').replaceChildren(...(letter ? [excerpt(letter.value)] : []));
  dialog.returnValue = '';
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
  // The letter may have gone from the list meanwhile, and its button with it.
  if (document.activeElement === document.body) at('letters-title').focus();
  if (dialog.returnValue === 'discard') settle('discard', names, button);
}

/** Replays or discards letters, while the button for that cannot be pressed again. */
const settle = (action, names, button) => whileDisabled(button, at('letters-title'), () => askToSettle(action, names));

async function askToSettle(action, names) {
  const answer = at('replay-answer');
  const [doing, done] = { replay: ['Replaying …', 'replayed'], discard: ['Discarding …', 'discarded'] }[action];
  say(answer, '', doing);
  try {
    const { status, said } = await post(`/dead-letters/${action}`, JSON.stringify({ letters: names }));
    const failed = (said.letters ?? []).filter((letter) => letter.error !== null);
    if (status === 200) {
      say(answer, 'good', `${counted(names.length, 'letter')} ${done}.`);
    } else if (failed.length > 0) {
      say(answer, 'bad', `${failed.length} of ${names.length} not ${done}: ${failed[0].error}`);
    } else {
      say(answer, 'bad', said.message ?? `The endpoint answered ${status}.`);
    }
  } catch {
    say(answer, 'bad', `No answer came; what is still listed was not ${done}, or will be listed no more soon.`);
  }
  if (filterText() !== '') findAgain(0);
}

