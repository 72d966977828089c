#!/usr/bin/env node
// Handles the message in each line of its input, and answers with a line.
const lines = require('node:readline').createInterface({ input: process.stdin });

async function handle(order) {
  if (order.id === undefined) throw new Error('an order without an id');
  console.error('order', order.id); // standard output is for answers
}

lines.on('line', async (line) => {
  const record = JSON.parse(line);
  const answer = { id: record.id, ok: true };
  await handle(record.value).catch((error) => Object.assign(answer, { ok: false, error: error.message }));
  console.log(JSON.stringify(answer));
});
