// What a Redis broker leaves behind; all else of it is tested with a Redis.
import { describe, expect, test } from 'vitest'
import { createLog } from '../../log.js'
import { systemClock, type After } from '../../time.js'
import { encodeEnvelope, joinedMessages, passingMessage } from '../envelope.js'
import { RecordingListener } from '../listener.testing.js'
import { Places } from './channel-keys.js'
import type { StreamPage } from './stream-reader.js'
import type { Writers } from './writers.js'
import { RedisBroker } from './broker.js'

const ref = { tenantId: 't1', channel: 'general' }
const page: StreamPage = {
  publications: [],
  continuous: true,
  top: { epoch: 'e', offset: 0 },
  cut: false,
  fenced: true,
}

/** A broker whose timers are counted, and whose reads wait to be answered. */
function rig() {
  const timers = new Set<() => void>()
  const reads: ((page: StreamPage) => void)[] = []
  const after: After = (_delayMs, fire) => {
    timers.add(fire)
    return () => timers.delete(fire)
  }
  const read = () => new Promise<StreamPage>((resolve) => reads.push(resolve))
  const unused = {} as Writers
  const broker = new RedisBroker({
    accepted: unused,
    replicated: unused,
    hasReplicas: () => false,
    send: () => {},
    read,
    readFenced: read,
    topics: { add: async () => {}, remove: () => {} },
    close: async () => {},
    clock: systemClock,
    after,
    log: createLog({ level: 'fatal', name: 'test' }),
    holdMs: 50,
    windowMs: 60_000,
  })
  const heard = new RecordingListener(20_000)
  broker.listen(heard)
  /** Resolves when a read waits. */
  const asked = async () => expect.poll(() => reads.length).toBeGreaterThan(0)
  const answer = () => reads.shift()?.(page)
  const subscribe = async () => {
    const subscribed = broker.subscribe(ref)
    await asked()
    answer()
    await subscribed
  }
  return { broker, heard, timers, asked, answer, subscribe }
}

describe('a channel that is read for its subscription', () => {
  test('is compared from time to time, until it is given up', async () => {
    const { broker, subscribe, timers } = rig()
    await subscribe()
    expect(timers.size).toBe(1)
    await broker.unsubscribe(ref)
    expect(timers.size).toBe(0)
  })

  test('has no timer when it was given up meanwhile', async () => {
    const { answer, asked, broker, timers } = rig()
    const subscribed = broker.subscribe(ref)
    await asked()
    await broker.unsubscribe(ref)
    answer()
    await subscribed
    expect(timers.size).toBe(0)
  })

  test('has no timer when the broker was closed meanwhile: its process could not end', async () => {
    const { answer, asked, broker, timers } = rig()
    const subscribed = broker.subscribe(ref)
    await asked()
    await broker.close()
    answer()
    await subscribed
    expect(timers.size).toBe(0)
  })
})

test('a message that makes no sense takes none of those with it that came together', async () => {
  const { broker, heard, subscribe } = rig()
  await subscribe()
  const passing = (data: string) => passingMessage(encodeEnvelope({ data: Buffer.from(data) }, { timeMs: 1 }))
  broker.onMessage(new Places().of(ref).topic, joinedMessages([passing('1'), Buffer.from('?'), passing('2')]))
  expect(heard.textsOn(ref)).toEqual(['1', '2'])
  await broker.close()
})
