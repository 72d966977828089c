// The group with its members, and what their work queues have open.

/** Lag beyond which a bar is as long as the longest. */
const SMALL_LAG = 10;
const PAUSED = 'paused: the handler cannot be started, or too many attempts failed';

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

