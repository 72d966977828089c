// Drives a broker with KafkaJS; the argument is the broker's address.
import kafkajs from 'kafkajs'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs
const patience = 30_000
const brokers = [process.argv[2]]
const kafka = new Kafka({ clientId: 'suite', brokers, logLevel: logLevel.NOTHING, retry: { retries: 5 } })

// Some of the client's timers fail where nobody waits for them; the test that does tells what happened.
process.on('unhandledRejection', () => {})

async function test(name, body) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('took too long')), patience + 5_000)
  })
  try {
    await Promise.race([body(), late])
    console.log(`ok ${name}`)
  } catch (error) {
    console.log(`failed ${name}: ${String(error.cause ?? error).replaceAll('\n', ' ')}`)
  } finally {
    clearTimeout(timer)
  }
}

function equal(found, expected) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)]
  if (left !== right) throw new Error(`${left} instead of ${right}`)
}

async function until(what, condition) {
  const end = Date.now() + patience
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function produce(topic, messages, options = {}, compression = CompressionTypes.None) {
  const producer = kafka.producer(options)
  await producer.connect()
  try {
    return await producer.send({ topic, messages, compression, acks: -1 })
  } finally {
    await producer.disconnect()
  }
}

// A member of a group that consumes while `body` runs.
async function consuming(groupId, topic, run, body) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10_000, heartbeatInterval: 500 })
  await consumer.connect()
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run(run)
    return await body(consumer)
  } finally {
    await consumer.disconnect()
  }
}

async function read(groupId, topic, count) {
  const seen = []
  const eachMessage = async ({ message, partition }) => seen.push({ partition, ...message })
  await consuming(groupId, topic, { eachMessage }, () => until(`${count} messages`, () => seen.length >= count))
  return seen
}

const values = (prefix, count) => Array.from({ length: count }, (_, number) => ({ value: `${prefix}${number}` }))
const admin = kafka.admin()
await admin.connect()

await test('creates topics', async () => {
  const names = ['plain', 'squeezed', 'once', 'grouped', 'doomed', 'transactions']
  const topics = names.map(topic => ({ topic, numPartitions: 4 }))
  equal(await admin.createTopics({ topics: [...topics, { topic: 'single', numPartitions: 1 }] }), true)
  // A Kafka says that a topic is there before its partitions are; what is produced meanwhile is produced twice.
  for (const { topic } of [...topics, { topic: 'single' }]) {
    await until(`there: ${topic}`, () => admin.fetchTopicOffsets(topic).then(() => true, () => false))
  }
})
await test('creates a topic with configs', async () => {
  const configEntries = [{ name: 'cleanup.policy', value: 'compact' }, { name: 'retention.ms', value: '-1' }]
  equal(await admin.createTopics({ topics: [{ topic: 'configured', numPartitions: 1, configEntries }] }), true)
})
await test('refuses a topic that exists', async () => {
  equal(await admin.createTopics({ topics: [{ topic: 'plain', numPartitions: 4 }] }), false)
})
await test('produces and consumes', async () => {
  await produce('plain', values('v', 100))
  const seen = await read('readers', 'plain', 100)
  equal(new Set(seen.map(message => message.value.toString())).size, 100)
})
await test('produces compressed', async () => {
  await produce('squeezed', values('v', 100), {}, CompressionTypes.GZIP)
  equal((await read('squeezed', 'squeezed', 100)).length, 100)
})
await test('produces idempotently', async () => {
  await produce('once', values('v', 100), { idempotent: true, maxInFlightRequests: 1 })
  equal((await read('once', 'once', 100)).length, 100)
})
await test('produces with keys, headers and timestamps', async () => {
  // Young enough to be kept.
  const timestamp = String(Date.now() - 60_000)
  await produce('single', [{ key: 'k', value: 'v', headers: { h: 'x' }, timestamp }])
  const [message] = await read('single', 'single', 1)
  equal([message.key, message.value, message.headers.h].map(String), ['k', 'v', 'x'])
  equal(message.timestamp, timestamp)
})
await test('consumes in batches', async () => {
  let seen = 0
  const eachBatch = async ({ batch }) => (seen += batch.messages.length)
  await consuming('batches', 'plain', { eachBatch }, () => until('100 messages', () => seen >= 100))
})
await test('balances two members', async () => {
  const shares = new Map()
  const member = async name => {
    const consumer = kafka.consumer({ groupId: 'balanced', sessionTimeout: 10_000, heartbeatInterval: 500 })
    consumer.on('consumer.group_join', ({ payload }) => shares.set(name, payload.memberAssignment.grouped?.length))
    await consumer.connect()
    await consumer.subscribe({ topics: ['grouped'] })
    await consumer.run({ eachMessage: async () => {} })
    return consumer
  }
  const members = [await member('one'), await member('two')]
  try {
    await until(`shared: ${[...shares]}`, () => shares.get('one') === 2 && shares.get('two') === 2)
  } finally {
    await Promise.all(members.map(consumer => consumer.disconnect()))
  }
})
await test('seeks', async () => {
  await produce('single', values('s', 9))
  const seen = []
  const eachMessage = async ({ message }) => seen.push(message.offset)
  await consuming('seeking', 'single', { eachMessage }, async consumer => {
    await until('10 messages', () => seen.length >= 10)
    seen.length = 0
    consumer.seek({ topic: 'single', partition: 0, offset: '7' })
    await until('3 messages', () => seen.length >= 3)
    equal(seen, ['7', '8', '9'])
  })
})
await test('pauses and resumes', async () => {
  const seen = []
  const eachMessage = async ({ message }) => seen.push(message.value.toString())
  await consuming('pausing', 'single', { eachMessage }, async consumer => {
    await until('10 messages', () => seen.length >= 10)
    consumer.pause([{ topic: 'single' }])
    await produce('single', [{ value: 'later' }])
    consumer.resume([{ topic: 'single' }])
    await until('the last message', () => seen.includes('later'))
  })
})
await test('commits offsets', async () => {
  const eachMessage = async () => {}
  await consuming('committing', 'single', { eachMessage, autoCommit: false }, async consumer => {
    await until('a member', async () => (await admin.describeGroups(['committing'])).groups[0].members.length === 1)
    await consumer.commitOffsets([{ topic: 'single', partition: 0, offset: '5' }])
  })
  const [{ partitions }] = await admin.fetchOffsets({ groupId: 'committing', topics: ['single'] })
  equal(partitions[0].offset, '5')
})
await test('lists topics', async () => equal((await admin.listTopics()).includes('plain'), true))
await test("fetches topics' metadata", async () => {
  const { topics } = await admin.fetchTopicMetadata({ topics: ['plain'] })
  equal(topics[0].partitions.length, 4)
})
await test('adds partitions', async () => {
  await admin.createPartitions({ topicPartitions: [{ topic: 'doomed', count: 6 }] })
  const { topics } = await admin.fetchTopicMetadata({ topics: ['doomed'] })
  equal(topics[0].partitions.length, 6)
})
await test('describes the cluster', async () => {
  const { brokers, controller } = await admin.describeCluster()
  equal(brokers.map(broker => broker.nodeId), [controller])
})
await test("fetches topics' offsets", async () => {
  const [{ high, low }] = await admin.fetchTopicOffsets('single')
  equal([low, high], ['0', '11'])
})
await test("fetches topics' offsets by time", async () => {
  const [{ offset }] = await admin.fetchTopicOffsetsByTimestamp('single', 1)
  equal(offset, '0')
})
await test("fetches a group's offsets", async () => {
  const [{ partitions }] = await admin.fetchOffsets({ groupId: 'readers', topics: ['plain'] })
  equal(partitions.reduce((sum, { offset }) => sum + Number(offset), 0), 100)
})
await test("sets a group's offsets", async () => {
  await admin.setOffsets({ groupId: 'readers', topic: 'plain', partitions: [{ partition: 0, offset: '3' }] })
  const [{ partitions }] = await admin.fetchOffsets({ groupId: 'readers', topics: ['plain'] })
  equal(partitions.find(({ partition }) => partition === 0).offset, '3')
})
await test("resets a group's offsets", async () => {
  await admin.resetOffsets({ groupId: 'readers', topic: 'plain', earliest: true })
  const [{ partitions }] = await admin.fetchOffsets({ groupId: 'readers', topics: ['plain'], resolveOffsets: true })
  equal(partitions.map(({ offset }) => offset), ['0', '0', '0', '0'])
})
await test('lists groups', async () => {
  const { groups } = await admin.listGroups()
  equal(groups.some(({ groupId }) => groupId === 'readers'), true)
})
await test('describes groups', async () => {
  const { groups } = await admin.describeGroups(['readers'])
  equal(groups[0].state, 'Empty')
})
const resource = { type: ConfigResourceTypes.TOPIC, name: 'plain' }
const retention = async () => {
  const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false })
  return resources[0].configEntries.find(({ configName }) => configName === 'retention.ms')?.configValue
}
await test('describes configs', async () => equal(typeof (await retention()), 'string'))
await test('alters configs', async () => {
  const configEntries = [{ name: 'retention.ms', value: '3600000' }]
  await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] })
  equal(await retention(), '3600000')
})
await test('deletes records', async () => {
  await admin.deleteTopicRecords({ topic: 'single', partitions: [{ partition: 0, offset: '4' }] })
  equal((await admin.fetchTopicOffsets('single'))[0].low, '4')
})
await test('lists partition reassignments', async () => {
  const { topics } = await admin.listPartitionReassignments({ topics: [{ topic: 'plain', partitions: [0] }] })
  equal(topics.length, 0)
})
await test('describes ACLs', async () => {
  // A broker without an authorizer says so.
  const filter = {
    resourceType: AclResourceTypes.ANY,
    resourcePatternType: ResourcePatternTypes.ANY,
    operation: AclOperationTypes.ANY,
    permissionType: AclPermissionTypes.ANY,
  }
  const type = await admin.describeAcls(filter).then(() => 'none', error => error.type ?? String(error))
  equal(type, 'SECURITY_DISABLED')
})
await test('deletes groups', async () => {
  const [result] = await admin.deleteGroups(['readers'])
  equal(result.errorCode ?? 0, 0)
})
await test('deletes topics', async () => {
  await admin.deleteTopics({ topics: ['doomed'] })
  await until('gone', async () => !(await admin.listTopics()).includes('doomed'))
})
await test('produces in transactions', async () => {
  const producer = kafka.producer({ transactionalId: 'suite', idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    const transaction = await producer.transaction()
    await transaction.send({ topic: 'transactions', messages: [{ value: 'v' }] })
    await transaction.commit()
  } finally {
    await producer.disconnect()
  }
})
await admin.disconnect()
process.exit(0)
