// Requests to the endpoint, with a token, or name and password, where they are needed.

const TOKEN = 'point-to-point token';
/** The name of the user whose password TOKEN is then. */
const NAME = 'point-to-point name';

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
  try {
    await work();
  } finally {
    button.disabled = false;
  }
  if (hadFocus && document.activeElement === document.body) (button.checkVisibility() ? button : next).focus();
}

let metricsUrl = '';

/** Shows the metrics in a tab: a link carries no token, and browsers show no text of their media type. */
async function openMetrics(event) {
  event.preventDefault();
  const tab = window.open('', '_blank');
  let text;
  try {
    text = await (await request('/metrics')).text();
  } catch {
    text = 'The endpoint did not answer.';
  }
  URL.revokeObjectURL(metricsUrl);
  metricsUrl = URL.createObjectURL(new Blob([text], { type: 'text/plain; charset=utf-8' }));
  if (tab) tab.location = metricsUrl;
}

