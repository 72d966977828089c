#!/usr/bin/env node
// Receives messages over HTTP, handles each, and says what became of it. The address is its argument.
const url = process.argv[2] ?? 'http://127.0.0.1:5000';

async function post(path, body) {
  const answer = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
  if (answer.status !== 503) return answer.json();
  return new Promise((wake) => setTimeout(wake, 1000)).then(() => post(path, body));
}

async function handle(order) {
  if (order?.id === undefined) throw new Error('an order without an id');
  console.log('order', order.id);
}

(async () => {
  for (;;) {
    const { messages } = await post('/recibir?max=10&wait_ms=20000&lease_ms=30000', {});
    await Promise.all(messages.map(({ receipt, value }) => handle(value).then(
      () => post('/confirmar', { receipts: [receipt] }),
      (error) => post('/devolver', { receipts: [receipt], error: error.message }),
    )));
  }
})();
