// The queues that workers receive from over HTTP

const queueCards = new Map();

function showQueues(queues) {
  const nameOfQueue = ({ topic, group }) => JSON.stringify([topic, group]);
  at('queues').classList.remove('stale');
  at('no-queues').hidden = queues.length > 0;
  arrange(at('queues'), queues.map((queue) => queueCard(nameOfQueue(queue), queue)));
  forget(queueCards, new Set(queues.map(nameOfQueue)));
}

function queueCard(name, queue) {
  const card = kept(queueCards, name, () => {
    const title = make('h3', '', '', foreign('span', '', queue.topic), foreign('span', 'hint', `as ${queue.group}`));
    const list = make('ul');
    list.setAttribute('role', 'list');
    list.setAttribute('aria-label', `Leases of ${queue.topic} as ${queue.group}`);
    const leases = make('details', 'leases', '', make('summary'), list);
    leases.open = true;
    return make('li', 'member', '', title, make('p', 'counts'), make('p', 'oldest'), make('p', 'obstacle'), leases);
  });
  setText(card.querySelector('.counts'), queueCounts(queue));
  setText(card.querySelector('.oldest'), queue.oldest === null ? '' : `the oldest open message is from ${time(queue.oldest)}`);
  setText(card.querySelector('.obstacle'), queue.obstacle ?? '');
  showLeases(card.querySelector('.leases'), queue);
  return card;
}

function queueCounts({ open, leased, waiting, receiving }) {
  const number = (count) => count.toLocaleString('en');
  const messages = `${number(open)} open · ${number(leased)} leased · ${number(waiting)} waiting`;
  return `${messages} · ${counted(receiving, 'worker')} receiving now`;
}

function showLeases(part, { leases, unlisted }) {
  const [summary, list] = part.children;
  const items = leases.map((lease, place) => leaseItem(list.children[place], lease));
  if (unlisted > 0) items.push(make('li', '', `and ${unlisted.toLocaleString('en')} more`));
  arrange(list, items);
  setText(summary, `${counted(leases.length + unlisted, 'lease')}, the first to run out first`);
  part.hidden = items.length === 0;
}

/** The element that shows the lease: the one that is there, if it shows the same. */
function leaseItem(there, { partition, offset, key, attempt, until }) {
  const texts = [`partition ${partition} · offset ${offset} · `, ` · attempt ${attempt} · until ${time(until)}`];
  const shown = JSON.stringify([texts, key]);
  if (there?.dataset.shown === shown) return there;
  const item = make('li', '', '', texts[0], ...(key ? chip(key) : ['no key']), texts[1]);
  item.dataset.shown = shown;
  return item;
}

