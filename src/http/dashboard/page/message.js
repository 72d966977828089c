// One message whole, in a dialog.

/** Deeper JSON, or a longer text of it, is shown as it is stored: each level indents every line. */
const MOST_DEPTH = 64;
const MOST_FORMATTED = 4_000_000;
/** The headers that are put into the table at a time. */
const HEADERS = 200;

let opened = null;

/** JSON with a line for each member, its tokens as they are: numbers may have more digits than a double. */
function formatted(text) {
  try {
    const value = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return null;
  } catch {
    return null;
  }
  let [depth, out] = [0, ''];
  const line = (change) => {
    depth += change;
    return `\n${'  '.repeat(depth)}`;
  };
  const next = (at) => {
    while (' \t\n\r'.includes(text[at])) at += 1;
    return at;
  };
  for (let at = next(0); at < text.length; at = next(at + 1)) {
    const token = text[at];
    if (token === '"') {
      let end = at + 1;
      while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
      out += text.slice(at, end + 1);
      at = end;
    } else if ('[{'.includes(token)) {
      const after = next(at + 1);
      const isEmpty = ']}'.includes(text[after]);
      out += token + (isEmpty ? text[after] : line(1));
      if (isEmpty) at = after;
    } else if (']}'.includes(token)) out += line(-1) + token;
    else if (token === ',') out += token + line(0);
    else out += token === ':' ? ': ' : token;
    if (depth > MOST_DEPTH || out.length > MOST_FORMATTED) return null;
  }
  return out;
}

const decoded = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const bytesOf = (text) => new TextEncoder().encode(text).length;

/** A text of a message, base64 of what is none, or null, with how long it is. */
function part(text, base64) {
  if (base64 !== undefined) return [foreign('code', '', base64), `${counted(decoded(base64).length, 'byte')}, in base64`];
  if (text === null) return [make('span', 'value null', 'null'), ''];
  return [foreign('code', '', text), counted(bytesOf(text), 'byte')];
}

async function openMessage(topic, partition, offset) {
  const place = `${topic}, partition ${partition}, offset ${offset}`;
  const mine = { name: `${topic}-${partition}-${offset}` };
  opened = mine;
  setText(at('opened-place'), place);
  at('opened-whole').hidden = true;
  say(at('opened-answer'), '', 'Reading …');
  if (!at('opened').open) at('opened').showModal();
  const path = `/topics/${encodeURIComponent(topic)}/partitions/${partition}/messages/${offset}?format=text`;
  try {
    const answer = await request(path);
    const said = await content(answer);
    if (opened !== mine) return;
    if (!answer.ok) return say(at('opened-answer'), 'bad', said.message ?? `The endpoint answered ${answer.status}.`);
    say(at('opened-answer'), '', '');
    showOpened(said);
  } catch (error) {
    console.debug('a message was not read:', error);
    if (opened === mine) say(at('opened-answer'), 'bad', 'No answer came.');
  }
}

function showOpened(message) {
  const isBinary = message.encoding === 'base64';
  Object.assign(opened, {
    value: message.value, isBinary, formatted: isBinary ? null : formatted(message.value ?? 'null'),
  });
  const date = new Date(message.timestamp ?? NaN);
  const when = Number.isNaN(date.getTime()) ? 'unknown' : `${time(message.timestamp)} (${date.toISOString()})`;
  const [key, keySize] = part(message.key ?? null, message.key_base64);
  const facts = [['Time', when], ['Key', key, ' ', make('span', 'hint', keySize)]];
  at('opened-facts').replaceChildren(...facts.flatMap(([name, ...rest]) =>
    [make('dt', '', name), make('dd', '', '', ...rest)]));
  showHeaders(message.headers);
  const size = isBinary ? decoded(message.value).length : bytesOf(message.value ?? '');
  const kind = isBinary ? `${counted(size, 'byte')} that are no text, in base64` : counted(size, 'byte');
  setText(at('opened-size'), message.value === null ? '' : kind);
  at('opened-format').parentElement.hidden = opened.formatted === null;
  at('opened-format').checked = true;
  for (const name of ['opened-copy', 'opened-save']) at(name).hidden = message.value === null;
  showValue();
  at('opened-whole').hidden = false;
}

function showHeaders(headers) {
  const table = at('opened-headers');
  table.tBodies[0].replaceChildren();
  table.hidden = headers.length === 0;
  setText(at('opened-count'), headers.length === 0 ? 'none' : headers.length.toLocaleString('en'));
  const more = at('opened-more');
  more.onclick = () => {
    const shown = table.tBodies[0].rows.length;
    table.tBodies[0].append(...headers.slice(shown, shown + HEADERS).map(({ name, value, base64 }) => {
      const [shownValue, valueSize] = part(value ?? null, base64);
      const cell = make('td', '', '', shownValue, ' ', make('span', 'hint', base64 === undefined ? '' : valueSize));
      const head = foreign('th', '', name);
      head.scope = 'row';
      return make('tr', '', '', head, cell);
    }));
    more.hidden = table.tBodies[0].rows.length >= headers.length;
  };
  more.onclick();
}

function showValue() {
  const isFormatted = opened.formatted !== null && at('opened-format').checked;
  at('opened-value').classList.toggle('null', opened.value === null);
  setText(at('opened-value'), isFormatted ? opened.formatted : opened.value ?? 'null');
}

/** Copies as it is stored. Without TLS and elsewhere than on this machine browsers have the older way alone. */
async function copyValue() {
  const text = opened.value;
  let isCopied = false;
  try {
    await navigator.clipboard.writeText(text);
    isCopied = true;
  } catch {
    const field = make('textarea', 'unseen');
    field.value = text;
    field.setAttribute('aria-hidden', 'true');
    at('opened').append(field);
    field.focus();
    field.select();
    isCopied = document.execCommand('copy');
    field.remove();
    at('opened-copy').focus();
  }
  say(at('opened-answer'), isCopied ? 'good' : 'bad', isCopied ? 'The value is copied.' : 'Your browser does not let the page copy.');
}

function saveValue() {
  const bytes = opened.isBinary ? decoded(opened.value) : opened.value;
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  link.download = opened.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A button that opens a message. */
function opener(topic, partition, offset) {
  const button = make('button', 'small', 'Open');
  button.type = 'button';
  button.setAttribute('aria-label', `Open ${topic} ${partition}, offset ${offset}`);
  button.addEventListener('click', () => openMessage(topic, partition, offset));
  return button;
}

at('opened-format').addEventListener('change', showValue);
at('opened-copy').addEventListener('click', copyValue);
at('opened-save').addEventListener('click', saveValue);
at('opened-close').addEventListener('click', () => at('opened').close());
at('opened').addEventListener('close', () => {
  opened = null;
  at('opened-value').textContent = '';
});

