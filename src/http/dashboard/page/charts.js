// The charts of the last hour: of each sample what was counted since the one before, and the lag then.

const HOUR_MS = 3_600_000;
/** The size of a chart in its own units; it is drawn as wide as there is room. */
const [WIDE, HIGH] = [600, 60];

const perSecond = (name) => (sample) => (sample[name] === null || sample.ms === 0 ? null : (1000 * sample[name]) / sample.ms);
const inAll = (name) => (shown) => `${shown.reduce((sum, sample) => sum + (sample[name] ?? 0), 0).toLocaleString('en')} in all`;

/** What each chart shows: a value of a sample, and beside it perhaps another one, and a sum. */
const CHARTS = [
  { name: 'stored', title: 'Stored per second', value: perSecond('stored'), sum: inAll('stored'),
    beside: { title: 'through this endpoint', value: perSecond('sent'), sum: inAll('sent') } },
  { name: 'handled', title: 'Committed per second', value: perSecond('handled'), sum: inAll('handled') },
  { name: 'lag', title: 'Lag', value: (sample) => sample.lag },
];

let samples = [];
let sampledSince = null;
const charts = CHARTS.map(buildChart);
at('charts').append(...charts.map(({ figure }) => figure));

const shownNumber = (number) => number.toLocaleString('en', number < 100 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 });
const shownValue = (number) => (number === null ? 'not known' : shownNumber(number));
const clock = (ms, options) => new Date(ms).toLocaleTimeString([], { hour12: false, hour: '2-digit', minute: '2-digit', ...options });

function showHistory(history) {
  samples = history.samples;
  sampledSince = history.since;
  at('charts').classList.remove('stale');
  drawCharts();
}

function showSample(sample) {
  samples = [...samples.filter((known) => known.at > sample.at - HOUR_MS), sample];
  drawCharts();
}

/** The first sample has nothing before it. */
const counts = () => samples.slice(1);

function drawCharts() {
  const shown = counts();
  at('charts').hidden = shown.length === 0;
  const [first, last] = [samples.at(0), samples.at(-1)];
  const isWhole = first && sampledSince < first.at;
  const from = sampledSince === null ? '' : clock(sampledSince);
  const began = `Since ${from}, when this endpoint started; a sample every ten seconds.`;
  const soon = 'The first values come within ten seconds.';
  setText(at('charts-note'), shown.length === 0 ? soon : isWhole ? 'A sample every ten seconds.' : began);
  if (shown.length > 0) for (const chart of charts) draw(chart, shown, first.at, last.at);
}

function svg(tag, className, attributes = {}) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  element.setAttribute('class', className);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function buildChart({ name, title, beside }) {
  const parts = { area: svg('path', 'area'), line: svg('path', 'curve'), beside: svg('path', 'curve beside'),
    mark: svg('path', 'mark') };
  const plot = svg('svg', 'plot', { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: 'none', role: 'img', tabindex: 0 });
  plot.append(svg('path', 'ground', { d: `M0 ${HIGH - 0.5}H${WIDE}M0 0.5H${WIDE}` }), ...Object.values(parts));
  const texts = { numbers: make('p', 'numbers'), besideNumbers: make('p', 'numbers beside'), from: make('span'),
    reading: make('span', 'reading'), to: make('span') };
  texts.reading.setAttribute('role', 'status');
  const axis = make('p', 'axis', '', texts.from, texts.reading, texts.to);
  const caption = make('figcaption', '', '', make('h3', '', title), texts.numbers, ...(beside ? [texts.besideNumbers] : []));
  const figure = make('figure', 'chart', '', caption, plot, axis);
  figure.dataset.name = name;
  const chart = { figure, plot, parts, texts, read: null, ...CHARTS.find((known) => known.name === name) };
  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect();
    read(chart, placeAt((event.clientX - box.left) / box.width));
  });
  plot.addEventListener('pointerleave', () => read(chart, null));
  plot.addEventListener('focus', () => plot.matches(':focus-visible') && read(chart, counts().length - 1));
  plot.addEventListener('blur', () => read(chart, null));
  plot.addEventListener('keydown', (event) => {
    const last = counts().length - 1;
    const next = { ArrowLeft: (chart.read ?? last + 1) - 1, ArrowRight: (chart.read ?? last) + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    read(chart, Math.min(Math.max(next, 0), last));
  });
  return chart;
}

/** The values of the steps, and what they say in words. */
function told(shown, { value, sum }) {
  const values = shown.map(value);
  const most = Math.max(0, ...values.filter((known) => known !== null));
  const all = sum ? ` · ${sum(shown)}` : '';
  return { values, most, words: `now ${shownValue(values.at(-1))} · max ${shownNumber(most)}${all}` };
}

function draw(chart, shown, from, to) {
  const [own, beside] = [told(shown, chart), chart.beside && told(shown, chart.beside)];
  const top = Math.max(own.most, beside?.most ?? 0, Number.MIN_VALUE);
  const across = (ms) => ((WIDE * (ms - from)) / (to - from)).toFixed(1);
  const up = (value) => (HIGH - 1 - ((HIGH - 3) * value) / top).toFixed(1);
  chart.across = across;
  const { parts, texts, plot } = chart;
  parts.line.setAttribute('d', steps(shown, own.values, across, up));
  parts.area.setAttribute('d', steps(shown, own.values, across, up, true));
  parts.beside.setAttribute('d', beside ? steps(shown, beside.values, across, up) : '');
  setText(texts.numbers, own.words);
  if (beside) setText(texts.besideNumbers, `${chart.beside.title}: ${beside.words}`);
  setText(texts.from, clock(from));
  setText(texts.to, clock(to));
  const gaps = own.values.filter((value, place) => value === null && own.values[place - 1] !== null).length;
  const missing = gaps > 0 ? `, with ${counted(gaps, 'gap')} where it is not known` : '';
  const also = beside ? `; ${chart.beside.title}: ${beside.words}` : '';
  plot.setAttribute('aria-label', `${chart.title}, from ${clock(from)} to ${clock(to)}: ${own.words}${also}${missing}`);
  read(chart, chart.read === null ? null : Math.min(chart.read, shown.length - 1));
}

/** A path that is level during each step; where nothing is known it is interrupted. */
function steps(shown, values, across, up, isArea = false) {
  let path = '';
  values.forEach((value, place) => {
    if (value === null) return;
    const { at: end, ms } = shown[place];
    const goesOn = place > 0 && values[place - 1] !== null;
    const ends = (values[place + 1] ?? null) === null;
    const [x, y] = [across(end - ms), up(value)];
    path += goesOn ? `V${y}` : isArea ? `M${x} ${HIGH - 1}V${y}` : `M${x} ${y}`;
    path += `H${across(end)}${ends && isArea ? `V${HIGH - 1}Z` : ''}`;
  });
  return path;
}

/** The step at a place between 0, left, and 1, right. */
function placeAt(part) {
  const [from, to] = [samples.at(0).at, samples.at(-1).at];
  const place = counts().findIndex((sample) => sample.at >= from + part * (to - from));
  return place < 0 ? counts().length - 1 : place;
}

/** Tells the values of a step beside the axis, and marks it; null: of none. */
function read(chart, place) {
  chart.read = place;
  const sample = place === null ? undefined : counts()[place];
  chart.figure.classList.toggle('read', sample !== undefined);
  if (!sample) return setText(chart.texts.reading, '');
  const beside = chart.beside ? ` (${shownValue(chart.beside.value(sample))})` : '';
  setText(chart.texts.reading, `${clock(sample.at, { second: '2-digit' })}: ${shownValue(chart.value(sample))}${beside}`);
  chart.parts.mark.setAttribute('d', `M${chart.across(sample.at - sample.ms / 2)} 0V${HIGH}`);
}

