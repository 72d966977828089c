// Drives a broker with @platformatic/kafka; the argument is the broker's address.
import {
  Admin,
  ConfigResourceTypes,
  Consumer,
  FindCoordinatorKeyTypes,
  GroupProtocols,
  IncrementalAlterConfigOperationTypes,
  Producer,
  stringDeserializers,
  stringSerializers
} from '@platformatic/kafka'

const patience = 30_000
const common = { clientId: 'suite', bootstrapBrokers: [process.argv[2]], retries: 2, timeout: 10_000 }

async function test(name, body) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('took too long')), patience + 5_000)
  })
  try {
    await Promise.race([body(), late])
    console.log(`ok ${name}`)
  } catch (error) {
    console.log(`failed ${name}: ${describe(error).replaceAll('\n', ' ')}`)
  } finally {
    clearTimeout(timer)
  }
}

// An error with what has caused it.
function describe(error) {
  const inner = error.errors ?? (error.cause ? [error.cause] : [])
  return [`${error.code ?? ''} ${error.message}`.trim(), ...inner.map(describe)].join('; ')
}

function equal(found, expected) {
  const text = value => JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner))
  if (text(found) !== text(expected)) throw new Error(`${text(found)} instead of ${text(expected)}`)
}

async function until(what, condition) {
  const end = Date.now() + patience
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not ${what()}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function produce(messages, options = {}) {
  const producer = new Producer({ ...common, serializers: stringSerializers })
  try {
    return await producer.send({ messages, acks: -1, ...options })
  } finally {
    await producer.close()
  }
}

const member = (groupId, options) =>
  new Consumer({ ...common, groupId, deserializers: stringDeserializers, ...options })

// Reads so many messages as a member of a group, and commits them.
async function read(groupId, topic, count, options = {}, mode = 'committed') {
  const consumer = member(groupId, options)
  const seen = []
  try {
    const choices = { mode, fallbackMode: 'earliest', autocommit: 200, maxWaitTime: 500 }
    const stream = await consumer.consume({ topics: [topic], ...choices })
    const failure = new Promise((_, reject) => stream.on('error', reject))
    stream.on('data', message => seen.push(message))
    await Promise.race([until(() => `${count} messages but ${seen.length}`, () => seen.length >= count), failure])
    await stream.close()
  } finally {
    await consumer.close(true)
  }
  return seen
}

const messages = (topic, prefix, count) =>
  Array.from({ length: count }, (_, number) => ({ topic, partition: number % 4, value: `${prefix}${number}` }))
const admin = new Admin(common)
const topic = { resourceType: ConfigResourceTypes.TOPIC, resourceName: 'plain' }

await test('creates topics', async () => {
  const topics = ['plain', 'squeezed', 'once', 'grouped', 'doomed', 'transactions']
  await admin.createTopics({ topics, partitions: 4, replicas: 1 })
  await admin.createTopics({ topics: ['single'], partitions: 1, replicas: 1 })
})
await test('creates a topic with configs', async () => {
  const configs = [{ name: 'cleanup.policy', value: 'compact' }, { name: 'retention.ms', value: '-1' }]
  await admin.createTopics({ topics: ['configured'], partitions: 1, replicas: 1, configs })
})
await test('produces and consumes', async () => {
  await produce(messages('plain', 'v', 100))
  const seen = await read('readers', 'plain', 100)
  equal(new Set(seen.map(({ value }) => value)).size, 100)
})
await test('produces compressed', async () => {
  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd']) {
    await produce(messages('squeezed', compression, 25), { compression })
  }
  equal((await read('squeezed', 'squeezed', 100)).length, 100)
})
await test('produces idempotently', async () => {
  await produce(messages('once', 'v', 100), { idempotent: true })
  equal((await read('once', 'once', 100)).length, 100)
})
await test('produces with keys and headers', async () => {
  await produce([{ topic: 'single', key: 'k', value: 'v', headers: { h: 'x' } }])
  const [message] = await read('single', 'single', 1)
  equal([message.key, message.value, message.headers.get('h')], ['k', 'v', 'x'])
})
await test('produces without a choice of partition', async () => {
  const { offsets } = await produce([{ topic: 'single', value: 'a' }, { topic: 'single', value: 'b' }])
  equal(offsets.length > 0, true)
})
await test('goes on where it committed', async () => {
  await produce([{ topic: 'single', value: 'last' }])
  const seen = await read('single', 'single', 1)
  equal(seen.some(({ value }) => value === 'v'), false)
})
await test('balances two members', async () => {
  const members = [member('balanced'), member('balanced')]
  const share = consumer => consumer.assignments?.flatMap(({ partitions }) => partitions).length
  try {
    for (const consumer of members) {
      const stream = await consumer.consume({ topics: ['grouped'], sessionTimeout: 10_000, heartbeatInterval: 500 })
      stream.on('data', () => {})
      stream.on('error', () => {})
    }
    await until(() => `shared: ${members.map(share)}`, () => members.every(consumer => share(consumer) === 2))
  } finally {
    await Promise.all(members.map(consumer => consumer.close(true)))
  }
})
await test("keeps a static member's place", async () => {
  equal((await read('static', 'plain', 100, { groupInstanceId: 'instance-1' })).length, 100)
})
await test('consumes by the new protocol', async () => {
  equal((await read('new', 'plain', 100, { groupProtocol: GroupProtocols.CONSUMER })).length, 100)
})
await test('lists topics', async () => equal((await admin.listTopics()).includes('plain'), true))
await test('fetches metadata', async () => {
  const { topics } = await admin.metadata({ topics: ['plain'] })
  equal(topics.get('plain').partitionsCount, 4)
})
await test('adds partitions', async () => {
  await admin.createPartitions({ topics: [{ name: 'doomed', count: 6 }] })
  const { topics } = await admin.metadata({ topics: ['doomed'], forceUpdate: true })
  equal(topics.get('doomed').partitionsCount, 6)
})
const offset = async timestamp => {
  const asked = { name: 'plain', partitions: [{ partitionIndex: 0, timestamp }] }
  const [{ partitions }] = await admin.listOffsets({ topics: [asked] })
  return partitions[0].offset
}
await test('lists offsets', async () => equal([await offset(-2n), await offset(-1n)], [0n, 25n]))
await test('lists offsets by time', async () => {
  equal([await offset(1n), (await offset(-3n)) >= 0n], [0n, true])
})
await test('finds coordinators', async () => {
  const [{ port }] = await admin.findCoordinator({ keyType: FindCoordinatorKeyTypes.GROUP, keys: ['readers'] })
  equal(port > 0, true)
})
await test('lists groups', async () => equal((await admin.listGroups()).has('readers'), true))
await test('describes groups', async () => {
  const groups = await admin.describeGroups({ groups: ['readers'] })
  equal(groups.get('readers').state, 'Empty')
})
const committed = async groupId => {
  const [{ topics }] = await admin.listConsumerGroupOffsets({ groups: [groupId] })
  return topics.flatMap(({ partitions }) => partitions).reduce((sum, { committedOffset }) => sum + committedOffset, 0n)
}
await test("lists a group's offsets", async () => equal(await committed('readers'), 100n))
await test("alters a group's offsets", async () => {
  const partitionOffsets = [{ partition: 0, offset: 5n }]
  await admin.alterConsumerGroupOffsets({ groupId: 'readers', topics: [{ name: 'plain', partitionOffsets }] })
  equal(await committed('readers'), 80n)
})
await test("deletes a group's offsets", async () => {
  await admin.deleteConsumerGroupOffsets({ groupId: 'readers', topics: [{ name: 'plain', partitionIndexes: [0] }] })
  equal(await committed('readers'), 75n)
})
const retention = async () => {
  const [{ configs }] = await admin.describeConfigs({ resources: [topic] })
  return configs.find(({ name }) => name === 'retention.ms')?.value
}
await test('describes configs', async () => equal(typeof (await retention()), 'string'))
await test('alters configs', async () => {
  await admin.alterConfigs({ resources: [{ ...topic, configs: [{ name: 'retention.ms', value: '3600000' }] }] })
  equal(await retention(), '3600000')
})
await test('alters configs incrementally', async () => {
  const change = { name: 'retention.ms', configOperation: IncrementalAlterConfigOperationTypes.SET, value: '7200000' }
  await admin.incrementalAlterConfigs({ resources: [{ ...topic, configs: [change] }] })
  equal(await retention(), '7200000')
})
await test('deletes records', async () => {
  await admin.deleteRecords({ topics: [{ name: 'plain', partitions: [{ partition: 0, offset: 5n }] }] })
  equal(await offset(-2n), 5n)
})
await test('describes log dirs', async () => {
  const [{ results }] = await admin.describeLogDirs({ topics: [{ name: 'plain', partitions: [0] }] })
  equal(results.length > 0, true)
})
await test('describes client quotas', async () => {
  await admin.describeClientQuotas({ components: [{ entityType: 'client-id', matchType: 2, match: null }] })
})
await test('deletes groups', async () => {
  await admin.deleteGroups({ groups: ['readers'] })
  equal((await admin.listGroups()).has('readers'), false)
})
await test('deletes topics', async () => {
  await admin.deleteTopics({ topics: ['doomed'] })
  equal((await admin.listTopics()).includes('doomed'), false)
})
await test('produces in transactions', async () => {
  const options = { transactionalId: 'suite', idempotent: true }
  const producer = new Producer({ ...common, serializers: stringSerializers, ...options })
  try {
    const transaction = await producer.beginTransaction()
    await transaction.send({ messages: [{ topic: 'transactions', value: 'v' }] })
    await transaction.commit()
  } finally {
    await producer.close(true)
  }
})
await admin.close()
process.exit(0)
