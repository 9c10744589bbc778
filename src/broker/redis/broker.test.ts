// Tests that a Redis broker stops its timers when a subscription ends, and how it handles an unreadable
// message. test/redis/broker.test.ts tests everything else with a real Redis.
import { describe, expect, test } from 'vitest'
import { createLog } from '../../log.js'
import { systemClock, type After } from '../../time.js'
import { ephemeralMessage, joinMessages, writeEnvelope } from '../envelope.js'
import { RecordingListener } from '../listener.testing.js'
import { RedisBroker } from './broker.js'
import { ChannelKeys } from './channel-keys.js'
import { FollowedChannels } from './followed-channels.js'
import type { StreamPage } from './stream-reader.js'

const ref = { tenantId: 't1', channel: 'general' }
const page: StreamPage = {
  publications: [],
  continuous: true,
  top: { epoch: 'e', offset: 0 },
  cut: false,
  fenced: true,
}

/** A broker whose timers the test counts, and whose reads wait until the test answers them. */
function rig() {
  const timers = new Set<() => void>()
  const pendingReads: ((page: StreamPage) => void)[] = []
  const after: After = (_delayMs, fire) => {
    timers.add(fire)
    return () => timers.delete(fire)
  }
  const read = () => new Promise<StreamPage>((resolve) => pendingReads.push(resolve))
  const reads = { read, readFenced: read }
  const unused = { send: () => {} }
  const keys = new ChannelKeys()
  const channels = new FollowedChannels({
    keys,
    reads,
    topics: { add: async () => {}, remove: () => {} },
    after,
    log: createLog({ level: 'fatal', name: 'test' }),
    holdMs: 50,
  })
  const broker = new RedisBroker({
    keys,
    accepted: unused,
    replicated: unused,
    hasReplicas: () => false,
    messages: unused,
    reads,
    channels,
    storage: {
      govern() {},
      rulesChanged() {},
      storedBytes: () => undefined,
      memory: () => undefined,
      ruleOf: () => undefined,
      record() {},
      nowMs: () => undefined,
      checkMemory() {},
      close() {},
    },
    close: async () => {},
    clock: systemClock,
    windowMs: 60_000,
  })
  const listener = new RecordingListener(20_000)
  broker.listen(listener)
  /** Resolves when a read is waiting for its answer. */
  const readPending = async () => expect.poll(() => pendingReads.length).toBeGreaterThan(0)
  const answer = () => pendingReads.shift()?.(page)
  const subscribe = async () => {
    const subscribed = broker.subscribe(ref)
    await readPending()
    answer()
    await subscribed
  }
  return { broker, channels, listener, timers, readPending, answer, subscribe }
}

describe('a subscribed channel', () => {
  test('is compared with its stream periodically until it is unsubscribed', async () => {
    const { broker, subscribe, timers } = rig()
    await subscribe()
    expect(timers.size).toBe(1)
    await broker.unsubscribe(ref)
    expect(timers.size).toBe(0)
  })

  test('has no timer when it was unsubscribed during its first read', async () => {
    const { answer, broker, readPending, timers } = rig()
    const subscribed = broker.subscribe(ref)
    await readPending()
    await broker.unsubscribe(ref)
    answer()
    await subscribed
    expect(timers.size).toBe(0)
  })

  test('has no timer when the broker was closed during its first read, so that the process can end', async () => {
    const { answer, broker, readPending, timers } = rig()
    const subscribed = broker.subscribe(ref)
    await readPending()
    await broker.close()
    answer()
    await subscribed
    expect(timers.size).toBe(0)
  })
})

test('a malformed message does not affect the messages it was joined with', async () => {
  const { broker, channels, listener, subscribe } = rig()
  await subscribe()
  const ephemeral = (data: string) =>
    ephemeralMessage(writeEnvelope({ data: Buffer.from(data) }, { timeMs: 1 }))
  const joined = joinMessages([ephemeral('1'), Buffer.from('?'), ephemeral('2')])
  channels.onMessage(new ChannelKeys().of(ref).topic, joined)
  expect(listener.textsOn(ref)).toEqual(['1', '2'])
  await broker.close()
})
