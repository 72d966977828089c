// The dead letters, and their replay.

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

