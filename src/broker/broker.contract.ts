// Tests the promises that every broker makes, one behaviour per test. `advance` moves the time, and the tests
// await deliveries with a deadline, so no test sleeps for a fixed time.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ErrorCode } from '../errors.js'
import {
  historyLimitMax,
  isSameStream,
  type Broker,
  type ChannelRef,
  type ClientInfo,
  type Durability,
  type HistoryQuery,
  type NewPublication,
  type Position,
  type PublishOptions,
} from './broker.js'
import { RecordingListener, textOf } from './listener.testing.js'
import { idempotencyWindowMs } from './retention.js'
import type { HistoryPolicies, HistoryRule } from './storage.js'

/** The brokers of two gateways on the same empty data. They have no listeners yet. */
export interface OpenedBrokers {
  readonly broker: Broker
  readonly peer: Broker
  /**
   * Lets time pass for both brokers and for the data: moves a clock, or waits where the clock cannot be
   * moved.
   */
  advance(ms: number): Promise<void>
  /** Closes both and removes the data. */
  close(): Promise<void>
}

export interface BrokerContractOptions {
  /** The durability that a publish reaches when it requests none. */
  readonly reaches: Durability
  /**
   * The time to live, in milliseconds, in tests of expiry. It is short where the clock cannot be moved.
   * Default 60,000.
   */
  readonly historyTtlMs?: number
  /** The idempotency window of the broker under test, in milliseconds. Default `idempotencyWindowMs`. */
  readonly windowMs?: number
  /** Makes sweeps run now, where no timer runs them. */
  readonly sweep?: () => void
  /** How long a delivery may take, in milliseconds. Default 20,000. */
  readonly deadlineMs?: number
}

const durabilities: readonly Durability[] = ['accepted', 'replicated', 'durable']

/**
 * Registers the tests for one broker, for example `brokerContract('MemoryBroker', open, { reaches: 'accepted'
 * })`.
 */
export function brokerContract(
  name: string,
  open: () => Promise<OpenedBrokers>,
  options: BrokerContractOptions,
): void {
  const historyTtlMs = options.historyTtlMs ?? 60_000
  const windowMs = options.windowMs ?? idempotencyWindowMs
  const deadlineMs = options.deadlineMs ?? 20_000

  const ref: ChannelRef = { tenantId: 't1', channel: 'room:1' }
  const otherChannel: ChannelRef = { tenantId: 't1', channel: 'room:2' }
  const otherTenant: ChannelRef = { tenantId: 't2', channel: 'room:1' }
  const stored: PublishOptions = { history: { size: 100, ttlMs: 24 * 3_600_000 } }

  let opened: OpenedBrokers
  let broker: Broker
  let peer: Broker
  let listener: RecordingListener
  let peerListener: RecordingListener

  const publish = (text: string, to: { by?: Broker; ref?: ChannelRef; options?: PublishOptions } = {}) =>
    (to.by ?? broker).publish(to.ref ?? ref, publicationOf(text), to.options ?? stored)

  const publishAll = async (count: number, publishOptions: PublishOptions = stored) => {
    const numbers = Array.from({ length: count }, (_, index) => index + 1)
    return Promise.all(numbers.map((n) => publish(`"${n}"`, { options: publishOptions })))
  }

  const offsetsOf = async (query: HistoryQuery) =>
    (await broker.history(ref, query)).publications.map((publication) => publication.offset)

  const topOf = async (of: ChannelRef = ref) => (await broker.history(of, { limit: 0 })).top

  /** Makes both gateways apply one rule to every channel. */
  const govern = (rule: HistoryRule | null) => {
    const policies: HistoryPolicies = {
      historyOf: () => rule,
      // The rate is so high that the sums are read every second.
      tenants: () =>
        ['t1', 't2'].map((tenantId) => ({ tenantId, storedBytesMax: 1e6, publishBytesPerSecond: 1e9 })),
    }
    broker.storage.govern(policies)
    peer.storage.govern(policies)
  }

  /** Resolves with the bytes that tenant t1 stores, once they are as expected. */
  const storedBytes = async (isExpected: (stored: { bytes: number }) => boolean, by = broker) => {
    const untilMs = Date.now() + deadlineMs
    for (;;) {
      options.sweep?.()
      const bytes = by.storage.storedBytes('t1') ?? -1
      if (bytes >= 0 && isExpected({ bytes })) return bytes
      if (Date.now() > untilMs) throw new Error(`the tenant stores ${bytes} bytes`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  describe(`${name} keeps the promises of a broker:`, () => {
    beforeEach(async () => {
      opened = await open()
      ;({ broker, peer } = opened)
      listener = new RecordingListener(deadlineMs)
      peerListener = new RecordingListener(deadlineMs)
      broker.listen(listener)
      peer.listen(peerListener)
    })

    afterEach(async () => {
      await opened.close()
      listener.expectOrdered()
      peerListener.expectOrdered()
      expect([...listener.losses, ...peerListener.losses]).toEqual([])
    })

    describe('delivery', () => {
      test('a subscribed gateway receives a publication', async () => {
        await peer.subscribe(ref)
        await publish('"a"')
        await peerListener.untilCount(ref, 1)
        expect(peerListener.textsOn(ref)).toEqual(['"a"'])
        expect(peerListener.publications[0]?.ref).toEqual(ref)
      })

      test('the publisher’s own gateway receives it as well', async () => {
        await broker.subscribe(ref)
        await publish('"a"')
        await listener.untilCount(ref, 1)
        expect(listener.textsOn(ref)).toEqual(['"a"'])
      })

      test('a publication in a channel without history is delivered too', async () => {
        await peer.subscribe(ref)
        await publish('"a"', { options: {} })
        await peerListener.untilCount(ref, 1)
        expect(peerListener.textsOn(ref)).toEqual(['"a"'])
      })

      test('every publication after subscribe() has resolved is delivered', async () => {
        await publish('"before"')
        await peer.subscribe(ref)
        await publish('"after"')
        await peerListener.untilText(ref, '"after"')
        expect(peerListener.textsOn(ref).at(-1)).toBe('"after"')
      })

      test('a gateway that is not subscribed receives nothing', async () => {
        await peer.subscribe(otherChannel)
        await publish('"a"')
        await publish('"marker"', { ref: otherChannel })
        await peerListener.untilText(otherChannel, '"marker"')
        expect(peerListener.on(ref)).toEqual([])
      })

      test('nothing is delivered after unsubscribe()', async () => {
        await peer.subscribe(ref)
        await peer.subscribe(otherChannel)
        await peer.unsubscribe(ref)
        await publish('"a"')
        await publish('"marker"', { ref: otherChannel })
        await peerListener.untilText(otherChannel, '"marker"')
        expect(peerListener.on(ref)).toEqual([])
      })

      test('unsubscribe() on one gateway does not end the subscription of another', async () => {
        await broker.subscribe(ref)
        await peer.subscribe(ref)
        await broker.unsubscribe(ref)
        await publish('"a"')
        await peerListener.untilCount(ref, 1)
        expect(peerListener.textsOn(ref)).toEqual(['"a"'])
      })

      test('a second subscribe() has no effect', async () => {
        await peer.subscribe(ref)
        await peer.subscribe(ref)
        await publish('"a"')
        await publish('"marker"')
        await peerListener.untilText(ref, '"marker"')
        expect(peerListener.textsOn(ref)).toEqual(['"a"', '"marker"'])
      })

      test('one unsubscribe() ends the subscription after two subscribe() calls', async () => {
        await peer.subscribe(ref)
        await peer.subscribe(ref)
        await peer.subscribe(otherChannel)
        await peer.unsubscribe(ref)
        await publish('"a"')
        await publish('"marker"', { ref: otherChannel })
        await peerListener.untilText(otherChannel, '"marker"')
        expect(peerListener.on(ref)).toEqual([])
      })

      test('unsubscribe() without a subscription is no error', async () => {
        await expect(peer.unsubscribe(ref)).resolves.toBeUndefined()
      })

      test('a gateway that subscribes again receives publications again', async () => {
        await peer.subscribe(ref)
        await peer.unsubscribe(ref)
        await publish('"missed"')
        await peer.subscribe(ref)
        await publish('"a"')
        await peerListener.untilText(ref, '"a"')
        expect(peerListener.textsOn(ref).at(-1)).toBe('"a"')
      })

      test.each([
        // The history keeps all of them: on a slow machine some are read from it.
        ['with history', { history: { size: 1_000, ttlMs: 24 * 3_600_000 } }],
        ['without history', {}],
      ])(
        'publishes of one gateway are delivered in the order of the calls, %s',
        async (_, publishOptions) => {
          await peer.subscribe(ref)
          await publishAll(200, publishOptions)
          await peerListener.untilCount(ref, 200)
          expect(peerListener.textsOn(ref)).toEqual(
            Array.from({ length: 200 }, (_empty, index) => `"${index + 1}"`),
          )
        },
      )

      test('publishes with and without a key keep their order', async () => {
        await peer.subscribe(ref)
        const texts = Array.from({ length: 50 }, (_, index) => `"${index}"`)
        await Promise.all(
          texts.map((text, index) =>
            publish(text, { options: index % 3 === 0 ? { ...stored, idempotencyKey: text } : stored }),
          ),
        )
        await peerListener.untilCount(ref, texts.length)
        expect(peerListener.textsOn(ref)).toEqual(texts)
      })

      test('when two gateways publish concurrently, every subscriber sees the order of the history', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        const publishing = Array.from({ length: 200 }, (_, n) =>
          publish(`"${n}"`, { by: n % 2 === 0 ? broker : peer, options: largeHistory }),
        )
        await Promise.all(publishing)
        await Promise.all([listener.untilCount(ref, 200), peerListener.untilCount(ref, 200)])
        const { publications } = await broker.history(ref, { limit: 1000 })
        expect(publications.map((publication) => publication.offset)).toEqual(
          Array.from({ length: 200 }, (_, index) => index + 1),
        )
        expect(listener.textsOn(ref)).toEqual(publications.map(textOf))
        expect(peerListener.textsOn(ref)).toEqual(publications.map(textOf))
      })

      test('when two gateways publish in turn, every subscriber sees their order', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        const texts = Array.from({ length: 20 }, (_, n) => `"${n}"`)
        for (const [n, text] of texts.entries()) await publish(text, { by: n % 2 === 0 ? broker : peer })
        await Promise.all([
          listener.untilCount(ref, texts.length),
          peerListener.untilCount(ref, texts.length),
        ])
        expect(listener.textsOn(ref)).toEqual(texts)
        expect(peerListener.textsOn(ref)).toEqual(texts)
      })

      test('channels of two tenants with the same name are separate', async () => {
        await peer.subscribe(otherTenant)
        await publish('"ours"')
        await publish('"theirs"', { ref: otherTenant, options: {} })
        await peerListener.untilText(otherTenant, '"theirs"')
        expect(peerListener.publications.map(({ publication }) => textOf(publication))).toEqual(['"theirs"'])
        expect((await peer.history(otherTenant, { limit: 10 })).publications).toEqual([])
      })
    })

    describe('the content of a publication', () => {
      const info: ClientInfo = {
        user: 'ann "o’hara" ünï',
        client: 'c-1',
        name: 'Ann 🦜',
        info: Buffer.from('{"role": "a  b",\t"x":"\\u0000é"}'),
      }

      test.each([
        ['JSON', Buffer.from('{"a":1,  "b" : "é🦜\\n"}')],
        [
          'every byte but the newline',
          Buffer.from(Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 10)),
        ],
        ['64 KiB', Buffer.from(`"${'é🦜x'.repeat(9362)}"`).subarray(0, 65_536)],
        ['an empty string', Buffer.from('""')],
      ])('data arrives byte for byte: %s', async (_, data) => {
        await peer.subscribe(ref)
        await broker.publish(ref, { data }, stored)
        await broker.publish(ref, { data }, {})
        await peerListener.untilCount(ref, 2)
        const page = await peer.history(ref, { limit: 10 })
        for (const got of [...peerListener.on(ref), ...page.publications]) {
          expect(Buffer.compare(Buffer.from(got.data), data)).toBe(0)
        }
        expect(page.publications).toHaveLength(1)
      })

      test('data may be a view of a larger buffer that is reused afterwards', async () => {
        const buffer = Buffer.from('…"view"…')
        const start = buffer.indexOf('"')
        await broker.publish(ref, { data: buffer.subarray(start, start + 6) }, stored)
        buffer.fill(0)
        const { publications } = await peer.history(ref, { limit: 1 })
        expect(publications.map(textOf)).toEqual(['"view"'])
      })

      test.each([
        ['with history', stored],
        ['without history', {}],
      ])('publisher and skipped session arrive, %s', async (_, publishOptions) => {
        await peer.subscribe(ref)
        await broker.publish(
          ref,
          { data: Buffer.from('1'), info, skipSession: 'session-1 é' },
          publishOptions,
        )
        await peerListener.untilCount(ref, 1)
        const [live] = peerListener.on(ref)
        expect(live?.skipSession).toBe('session-1 é')
        expectSameInfo(live?.info, info)
      })

      test.each([
        ['with history', stored],
        ['without history', {}],
      ])('tags arrive, live and in history, %s', async (_, publishOptions) => {
        const tags = new Map([
          ['kind', 'shot'],
          ['__proto__', 'a "name"\nlike any 🦜'],
          ['', ''],
        ])
        await peer.subscribe(ref)
        await broker.publish(ref, { data: Buffer.from('1'), tags }, publishOptions)
        await broker.publish(ref, { data: Buffer.from('2') }, publishOptions)
        await peerListener.untilCount(ref, 2)
        const page = await peer.history(ref, { limit: 10 })
        for (const publications of [peerListener.on(ref), page.publications]) {
          if (publications.length > 0)
            expect(publications.map((publication) => publication.tags)).toEqual([tags, undefined])
        }
        expect(page.publications).toHaveLength(publishOptions === stored ? 2 : 0)
      })

      test('a publication without a publisher arrives without one', async () => {
        await peer.subscribe(ref)
        await publish('1')
        await peerListener.untilCount(ref, 1)
        expect(peerListener.on(ref)[0]?.info).toBeUndefined()
        expect(peerListener.on(ref)[0]?.skipSession).toBeUndefined()
      })

      test('a publisher without name and info arrives without them', async () => {
        await peer.subscribe(ref)
        await broker.publish(ref, { data: Buffer.from('1'), info: { user: '', client: 'guest-1' } }, stored)
        await peerListener.untilCount(ref, 1)
        expectSameInfo(peerListener.on(ref)[0]?.info, { user: '', client: 'guest-1' })
      })

      test('history returns what the listener received', async () => {
        await peer.subscribe(ref)
        await broker.publish(ref, { data: Buffer.from('1'), info, skipSession: 's' }, stored)
        await peerListener.untilCount(ref, 1)
        const [live] = peerListener.on(ref)
        const [read] = (await peer.history(ref, { limit: 1 })).publications
        expect(read?.timeMs).toBeGreaterThan(0)
        expect(read).toMatchObject({
          offset: live?.offset,
          epoch: live?.epoch,
          timeMs: live?.timeMs,
          skipSession: 's',
        })
        expectSameInfo(read?.info, info)
      })

      test('without history a publication has offset 0, no epoch and no position', async () => {
        await peer.subscribe(ref)
        const published = await publish('"a"', { options: {} })
        await peerListener.untilCount(ref, 1)
        expect(published.position).toBeUndefined()
        expect(peerListener.on(ref)[0]).toMatchObject({ offset: 0, epoch: '' })
      })
    })

    describe('positions', () => {
      test('offsets are 1, 2, 3 …', async () => {
        const published = await publishAll(5)
        expect(published.map(({ position }) => position?.offset)).toEqual([1, 2, 3, 4, 5])
      })

      test('the acknowledged position is the one that listeners and history report', async () => {
        await peer.subscribe(ref)
        const { position } = await publish('"a"')
        await peerListener.untilCount(ref, 1)
        const page = await peer.history(ref, { limit: 10 })
        expect(page.top).toEqual(position)
        expect([peerListener.on(ref)[0], page.publications[0]]).toMatchObject([position, position])
      })

      test('history returns an acknowledged publication, on another gateway as well', async () => {
        await publish('"a"')
        const { publications } = await peer.history(ref, { limit: 10 })
        expect(publications.map(textOf)).toEqual(['"a"'])
      })

      test('a position before the first publication is a position in the stream that it begins', async () => {
        const before = await topOf()
        expect(before).toEqual({ epoch: expect.stringMatching(/^\S+$/), offset: 0 })
        const { position } = await publish('"a"')
        await publish('"b"')
        // Unless a window of fifteen days ends between the two.
        expect(isSameStream(before.epoch, position?.epoch ?? '')).toBe(true)
        const page = await broker.history(ref, { since: before, limit: 10 })
        expect(page).toMatchObject({ continuous: true, top: { epoch: position?.epoch, offset: 2 } })
        expect(page.publications.map(({ offset }) => offset)).toEqual([1, 2])
        // An SDK keeps the epoch of its subscription, and counts offsets.
        const later = await broker.history(ref, { since: { epoch: before.epoch, offset: 1 }, limit: 10 })
        expect(later).toMatchObject({ continuous: true, publications: [{ offset: 2 }] })
      })

      test('a subscriber of an empty channel misses nothing of what is published first', async () => {
        await peer.subscribe(ref)
        await publishAll(3)
        await peerListener.untilCount(ref, 3)
        expect(peerListener.on(ref).map(({ offset }) => offset)).toEqual([1, 2, 3])
        expect(peer.confirmedPosition(ref)).toEqual(await topOf())
      })

      test('both gateways see one epoch', async () => {
        const [ours, theirs] = await Promise.all([
          broker.history(ref, { limit: 0 }),
          peer.history(ref, { limit: 0 }),
        ])
        expect(ours.top).toEqual(theirs.top)
      })

      test('confirmedPosition() is known on a subscribed channel, and follows what was delivered', async () => {
        await publish('"a"')
        expect(peer.confirmedPosition(ref)).toBeUndefined()
        await peer.subscribe(ref)
        const { position } = await publish('"b"')
        await peerListener.untilText(ref, '"b"')
        expect(peer.confirmedPosition(ref)).toEqual(position)
        await peer.unsubscribe(ref)
        expect(peer.confirmedPosition(ref)).toBeUndefined()
      })

      test('confirmedPosition() is never behind what this gateway has published', async () => {
        await peer.subscribe(ref)
        for (let n = 1; n <= 20; n += 1) {
          await publish(`"${n}"`, { by: peer })
          expect([undefined, n]).toContain(peer.confirmedPosition(ref)?.offset)
        }
        await peerListener.untilText(ref, '"20"')
        expect(peer.confirmedPosition(ref)?.offset).toBe(20)
      })

      test('confirmedPosition() is known before the first delivery, once history has proven it', async () => {
        await publish('"a"')
        await peer.subscribe(ref)
        const { top } = await peer.history(ref, { limit: 0 })
        expect(peer.confirmedPosition(ref)).toEqual(top)
      })

      test('a publication without history does not use an offset', async () => {
        await publish('"a"')
        await publish('"ephemeral"', { options: {} })
        expect((await publish('"b"')).position?.offset).toBe(2)
        expect(await offsetsOf({ limit: 10 })).toEqual([1, 2])
      })

      test('each channel has its own offsets', async () => {
        await publish('"a"')
        expect((await publish('"b"', { ref: otherChannel })).position?.offset).toBe(1)
        expect((await publish('"c"', { ref: otherTenant })).position?.offset).toBe(1)
      })

      test('removeHistory() removes the publications and keeps position and epoch', async () => {
        await publishAll(3)
        const top = await topOf()
        await broker.removeHistory(ref)
        expect(await peer.history(ref, { limit: 10 })).toEqual({ publications: [], top, continuous: true })
        expect((await publish('"d"')).position).toEqual({ epoch: top.epoch, offset: 4 })
        expect(await offsetsOf({ limit: 10 })).toEqual([4])
      })

      test('removeHistory() of an unknown channel is no error', async () => {
        await broker.removeHistory(ref)
        expect((await topOf()).offset).toBe(0)
      })

      test('removeHistory() does not affect other channels', async () => {
        await publish('"a"', { ref: otherTenant })
        await publish('"b"', { ref: otherChannel })
        await broker.removeHistory(ref)
        expect((await broker.history(otherTenant, { limit: 1 })).publications).toHaveLength(1)
        expect((await broker.history(otherChannel, { limit: 1 })).publications).toHaveLength(1)
      })
    })

    describe('retention', () => {
      test('the newest `size` publications are kept', async () => {
        const total = 5
        await publishAll(total, { history: { size: 3, ttlMs: 3_600_000 } })
        const offsets = await offsetsOf({ limit: 1000 })
        expect(offsets.length).toBeGreaterThanOrEqual(3)
        expect(offsets.length).toBeLessThanOrEqual(3)
        expect(offsets).toEqual(Array.from(offsets, (_, index) => total - offsets.length + 1 + index))
      })

      test('never more than `size` are returned, whatever the size', async () => {
        const sized = { history: { size: 50, ttlMs: 3_600_000 } }
        govern(sized.history)
        await publishAll(54, sized)
        expect(await offsetsOf({ limit: 1000 })).toEqual(Array.from({ length: 50 }, (_, n) => 5 + n))
        expect(await offsetsOf({ limit: 1000, reverse: true })).toHaveLength(50)
        const { epoch } = await topOf()
        const page = await broker.history(ref, { since: { epoch, offset: 2 }, limit: 1000 })
        expect(page.continuous).toBe(false)
        expect(page.publications).toHaveLength(50)
      })

      test('a lowered rule applies to reads at once', async () => {
        await publishAll(20)
        govern({ size: 4, ttlMs: 3_600_000 })
        expect(await offsetsOf({ limit: 1000 })).toEqual([17, 18, 19, 20])
        govern({ size: 4, ttlMs: 1 })
        await opened.advance(10)
        expect(await offsetsOf({ limit: 1000 })).toEqual([])
        expect((await topOf()).offset).toBe(20)
      })

      test('a channel whose rule keeps no history any more returns none', async () => {
        await publishAll(2)
        govern(null)
        expect(await offsetsOf({ limit: 1000 })).toEqual([])
      })

      test('a publication expires as it was published, also when a later one lives longer', async () => {
        await publish('"short"', { options: { history: { size: 100, ttlMs: historyTtlMs } } })
        await publish('"long"')
        await opened.advance(historyTtlMs * 1.2)
        expect(await offsetsOf({ limit: 10 })).toEqual([2])
      })

      test('expired publications of an idle channel do not stay stored, and its position does', async () => {
        govern({ size: 100, ttlMs: historyTtlMs })
        const large = JSON.stringify('x'.repeat(50_000))
        for (let n = 0; n < 3; n += 1)
          await publish(large, { options: { history: { size: 100, ttlMs: historyTtlMs } } })
        const top = await topOf()
        const used = await storedBytes(({ bytes }) => bytes > 150_000)
        expect(used).toBeLessThan(250_000)
        await opened.advance(historyTtlMs * 1.2)
        await storedBytes(({ bytes }) => bytes < 2_000)
        expect(await topOf()).toEqual(top)
      })

      test('a lowered rule applies to what is stored, within a minute', async () => {
        govern({ size: 100, ttlMs: 3_600_000 })
        const large = JSON.stringify('x'.repeat(10_000))
        for (let n = 0; n < 10; n += 1) await publish(large)
        await storedBytes(({ bytes }) => bytes > 100_000)
        govern({ size: 2, ttlMs: 3_600_000 })
        broker.storage.rulesChanged(ref.tenantId)
        expect(await storedBytes(({ bytes }) => bytes < 40_000)).toBeGreaterThan(20_000)
      })

      test('what is stored counts for its tenant at every gateway, until it is removed', async () => {
        govern(stored.history ?? null)
        const large = JSON.stringify('x'.repeat(30_000))
        await publish(large, { ref: otherTenant })
        await publish(large)
        await publish(large, { ref: otherChannel })
        await storedBytes(({ bytes }) => bytes > 60_000, peer)
        expect(broker.storage.storedBytes(ref.tenantId)).toBeLessThan(100_000)
        await broker.removeHistory(ref)
        await storedBytes(({ bytes }) => bytes > 30_000 && bytes < 50_000)
        await storedBytes(({ bytes }) => bytes > 30_000 && bytes < 50_000, peer)
        await peer.removeHistory(otherChannel)
        await storedBytes(({ bytes }) => bytes < 3_000)
        await storedBytes(({ bytes }) => bytes < 3_000, peer)
      })

      test('a smaller size applies from the next publish on', async () => {
        await publishAll(5)
        await publish('"b"', { options: { history: { size: 2, ttlMs: 3_600_000 } } })
        expect((await offsetsOf({ limit: 1000 })).length).toBeLessThanOrEqual(2)
      })

      test('an offset is not reused after trimming', async () => {
        const total = 5
        await publishAll(total, { history: { size: 1, ttlMs: 3_600_000 } })
        expect((await publish('"b"')).position?.offset).toBe(total + 1)
      })

      test('publications expire after their time to live, and not before', async () => {
        const expiring = { history: { size: 100, ttlMs: historyTtlMs } }
        await publish('"a"', { options: expiring })
        await opened.advance(historyTtlMs * 0.6)
        await publish('"b"', { options: expiring })
        await opened.advance(historyTtlMs * 0.6)
        expect(await offsetsOf({ limit: 10 })).toEqual([2])
      })

      test('a stream whose publications have expired keeps its position and epoch', async () => {
        const expiring = { history: { size: 100, ttlMs: historyTtlMs } }
        await publishAll(3, expiring)
        const top = await topOf()
        await opened.advance(historyTtlMs * 1.5)
        expect(await broker.history(ref, { limit: 10 })).toEqual({ publications: [], top, continuous: true })
        expect(top.offset).toBe(3)
        expect((await publish('"d"', { options: expiring })).position).toEqual({
          epoch: top.epoch,
          offset: 4,
        })
      })
    })

    describe('history', () => {
      const at = (epoch: string, offset: number): Position => ({ epoch, offset })

      test('of a channel without publications is empty, with top 0', async () => {
        const page = await broker.history(ref, { limit: 10 })
        expect(page).toMatchObject({ publications: [], top: { offset: 0 }, continuous: true })
      })

      test('limit 0 returns only the top', async () => {
        const [, last] = await publishAll(2)
        expect(await broker.history(ref, { limit: 0 })).toEqual({
          publications: [],
          top: last?.position,
          continuous: true,
        })
      })

      test('without `since` it returns the oldest, at most `limit`', async () => {
        await publishAll(5)
        expect(await offsetsOf({ limit: 2 })).toEqual([1, 2])
        expect(await offsetsOf({ limit: 10 })).toEqual([1, 2, 3, 4, 5])
      })

      test('`since` is exclusive', async () => {
        await publishAll(5)
        const { epoch } = await topOf()
        expect(await offsetsOf({ limit: 10, since: at(epoch, 2) })).toEqual([3, 4, 5])
        expect(await offsetsOf({ limit: 2, since: at(epoch, 2) })).toEqual([3, 4])
      })

      test('`since` 0 is before the first publication', async () => {
        const before = await topOf()
        await publishAll(3)
        const page = await broker.history(ref, { limit: 10, since: before })
        expect(page.publications.map((publication) => publication.offset)).toEqual([1, 2, 3])
        expect(page.continuous).toBe(true)
      })

      test('with an empty epoch in `since`, only the offset counts', async () => {
        await publishAll(3)
        const page = await broker.history(ref, { limit: 10, since: at('', 1) })
        expect(page.publications.map((publication) => publication.offset)).toEqual([2, 3])
        expect(page.continuous).toBe(true)
      })

      test('`since` equal to the top: empty and continuous', async () => {
        await publishAll(3)
        const top = await topOf()
        expect(await broker.history(ref, { limit: 10, since: top })).toEqual({
          publications: [],
          top,
          continuous: true,
        })
      })

      test('`since` of another epoch: no publications, not continuous', async () => {
        await publishAll(3)
        const top = await topOf()
        const page = await broker.history(ref, { limit: 10, since: at(`${top.epoch}x`, 1) })
        expect(page).toEqual({ publications: [], top, continuous: false })
      })

      test('`since` above the top: no publications, not continuous', async () => {
        await publishAll(3)
        const top = await topOf()
        const page = await broker.history(ref, { limit: 10, since: at(top.epoch, 4) })
        expect(page).toEqual({ publications: [], top, continuous: false })
      })

      test('`since` above the top of an empty stream: not continuous', async () => {
        const { epoch } = await topOf()
        expect((await broker.history(ref, { limit: 10, since: at(epoch, 1) })).continuous).toBe(false)
      })

      test('`since` before the oldest: from the oldest, not continuous', async () => {
        await publishAll(5, { history: { size: 2, ttlMs: 3_600_000 } })
        const { epoch } = await topOf()
        const page = await broker.history(ref, { limit: 1000, since: at(epoch, 1) })
        expect(page.continuous).toBe(false)
        expect(page.publications.map((publication) => publication.offset)).toEqual(
          await offsetsOf({ limit: 1000 }),
        )
      })

      test('`since` was trimmed, but everything after it is kept: continuous', async () => {
        await publishAll(5, { history: { size: 2, ttlMs: 3_600_000 } })
        const [oldest = 0] = await offsetsOf({ limit: 1 })
        const { epoch } = await topOf()
        expect((await broker.history(ref, { limit: 1000, since: at(epoch, oldest - 1) })).continuous).toBe(
          true,
        )
        expect((await broker.history(ref, { limit: 1000, since: at(epoch, oldest - 2) })).continuous).toBe(
          false,
        )
      })

      test('after all publications have expired, only a `since` at the top is continuous', async () => {
        await publishAll(3, { history: { size: 100, ttlMs: historyTtlMs } })
        const top = await topOf()
        await opened.advance(historyTtlMs * 1.5)
        expect((await broker.history(ref, { limit: 10, since: top })).continuous).toBe(true)
        expect((await broker.history(ref, { limit: 10, since: at(top.epoch, 2) })).continuous).toBe(false)
      })

      test('after removeHistory(), only a `since` at the top is continuous', async () => {
        await publishAll(3)
        const top = await topOf()
        await broker.removeHistory(ref)
        expect((await broker.history(ref, { limit: 10, since: top })).continuous).toBe(true)
        expect((await broker.history(ref, { limit: 10, since: at(top.epoch, 2) })).continuous).toBe(false)
      })

      test('limit 0 with `since` reports whether it is continuous', async () => {
        await publishAll(3)
        const top = await topOf()
        expect(await broker.history(ref, { limit: 0, since: at(top.epoch, 1) })).toMatchObject({
          publications: [],
          continuous: true,
        })
        expect(await broker.history(ref, { limit: 0, since: at(top.epoch, 9) })).toMatchObject({
          publications: [],
          continuous: false,
        })
      })

      test('reverse: newest first, at most `limit`', async () => {
        await publishAll(5)
        expect(await offsetsOf({ limit: 10, reverse: true })).toEqual([5, 4, 3, 2, 1])
        expect(await offsetsOf({ limit: 2, reverse: true })).toEqual([5, 4])
      })

      test('reverse: `since` is the upper bound, exclusive', async () => {
        await publishAll(5)
        const { epoch } = await topOf()
        expect(await offsetsOf({ limit: 10, reverse: true, since: at(epoch, 4) })).toEqual([3, 2, 1])
        expect(await offsetsOf({ limit: 2, reverse: true, since: at(epoch, 4) })).toEqual([3, 2])
        expect(await offsetsOf({ limit: 10, reverse: true, since: at(epoch, 1) })).toEqual([])
      })

      test('`limit` is capped', async () => {
        const total = historyLimitMax + 5
        await publishAll(total, largeHistory)
        expect(await offsetsOf({ limit: 5000 })).toEqual(
          Array.from({ length: historyLimitMax }, (_, index) => index + 1),
        )
        expect(await offsetsOf({ limit: 5000, reverse: true })).toHaveLength(historyLimitMax)
      })
    })

    describe('idempotency', () => {
      const keyed = { ...stored, idempotencyKey: 'k1' }

      test('a repeat returns the first result, marked as repeated', async () => {
        const first = await publish('"a"', { options: keyed })
        const again = await publish('"a"', { options: keyed })
        expect(first.repeated).toBe(false)
        expect(again).toEqual({ ...first, repeated: true })
      })

      test('a publication and its repeat are delivered and stored once', async () => {
        await peer.subscribe(ref)
        await publish('"a"', { options: keyed })
        await publish('"a"', { options: keyed })
        await publish('"marker"')
        await peerListener.untilText(ref, '"marker"')
        expect(peerListener.textsOn(ref)).toEqual(['"a"', '"marker"'])
        expect(await offsetsOf({ limit: 10 })).toEqual([1, 2])
      })

      test('without history, a publication and its repeat are delivered once', async () => {
        await peer.subscribe(ref)
        await publish('"a"', { options: { idempotencyKey: 'k1' } })
        const again = await publish('"a"', { options: { idempotencyKey: 'k1' } })
        await publish('"marker"', { options: {} })
        await peerListener.untilText(ref, '"marker"')
        expect(again).toMatchObject({ repeated: true })
        expect(again.position).toBeUndefined()
        expect(peerListener.textsOn(ref)).toEqual(['"a"', '"marker"'])
      })

      test('a repeat through another gateway is recognised', async () => {
        const first = await publish('"a"', { options: keyed })
        expect(await publish('"a"', { by: peer, options: keyed })).toEqual({ ...first, repeated: true })
      })

      test('the same key with other data is refused, and not delivered', async () => {
        await peer.subscribe(ref)
        await publish('"a"', { options: keyed })
        await expectRefused(publish('"b"', { options: keyed }), 'IDEMPOTENCY_MISMATCH')
        await publish('"marker"')
        await peerListener.untilText(ref, '"marker"')
        expect(peerListener.textsOn(ref)).toEqual(['"a"', '"marker"'])
      })

      test('the same key with other data is refused, without history as well', async () => {
        await publish('"a"', { options: { idempotencyKey: 'k1' } })
        await expectRefused(publish('"b"', { options: { idempotencyKey: 'k1' } }), 'IDEMPOTENCY_MISMATCH')
      })

      test('the same key with other tags is refused; the same tags in another order are a repeat', async () => {
        const tagged = (...tags: [string, string][]) =>
          broker.publish(ref, { ...publicationOf('"a"'), tags: new Map(tags) }, keyed)
        await tagged(['x', '1'], ['y', '2'])
        await expectRefused(tagged(['x', '1']), 'IDEMPOTENCY_MISMATCH')
        await expectRefused(publish('"a"', { options: keyed }), 'IDEMPOTENCY_MISMATCH')
        expect((await tagged(['y', '2'], ['x', '1'])).repeated).toBe(true)
      })

      test('a key applies only to its channel and tenant', async () => {
        await publish('"a"', { options: keyed })
        expect((await publish('"b"', { ref: otherChannel, options: keyed })).repeated).toBe(false)
        expect((await publish('"c"', { ref: otherTenant, options: keyed })).repeated).toBe(false)
      })

      test('a publish with another key is another publication', async () => {
        await publish('"a"', { options: keyed })
        expect(
          (await publish('"a"', { options: { ...stored, idempotencyKey: 'k2' } })).position?.offset,
        ).toBe(2)
      })

      test('without a key the same data is published twice', async () => {
        await publish('"a"')
        expect((await publish('"a"')).position?.offset).toBe(2)
      })

      test('a repeat within the window is recognised after the history was removed', async () => {
        const first = await publish('"a"', { options: keyed })
        await opened.advance(windowMs * 0.6)
        await broker.removeHistory(ref)
        expect(await publish('"a"', { options: keyed })).toEqual({ ...first, repeated: true })
      })

      const ephemeral: PublishOptions = { idempotencyKey: 'k1' }
      test.each([
        ['stored, then ephemeral', keyed, ephemeral],
        ['ephemeral, then stored', ephemeral, keyed],
      ])('a key is recognised with and without history: %s', async (_, first, then) => {
        expect((await publish('"a"', { options: first })).repeated).toBe(false)
        expect((await publish('"a"', { options: then })).repeated).toBe(true)
        await expectRefused(publish('"b"', { options: then }), 'IDEMPOTENCY_MISMATCH')
      })

      test('after twice the window the key is free', async () => {
        await publish('"a"', { options: keyed })
        await opened.advance(windowMs * 2.1)
        expect(await publish('"b"', { options: keyed })).toMatchObject({
          repeated: false,
          position: { offset: 2 },
        })
      })

      test.each([
        ['with history', keyed],
        ['without history', { idempotencyKey: 'k1' }],
      ])(
        'a thousand concurrent publishes with one key from two gateways are one publication, %s',
        async (_, publishOptions) => {
          await peer.subscribe(ref)
          const publishing = Array.from({ length: 1000 }, (_empty, n) =>
            publish('"a"', { by: n % 2 === 0 ? broker : peer, options: publishOptions }),
          )
          const published = await Promise.all(publishing)
          // One marker from each gateway: without history nothing orders the messages of two gateways.
          const markerOptions = publishOptions.history ? stored : {}
          await publish('"marker 1"', { by: broker, options: markerOptions })
          await publish('"marker 2"', { by: peer, options: markerOptions })
          await peerListener.untilText(ref, '"marker 1"')
          await peerListener.untilText(ref, '"marker 2"')
          expect(published.filter(({ repeated }) => !repeated)).toHaveLength(1)
          expect(new Set(published.map(({ position }) => position?.offset)).size).toBe(1)
          const texts = peerListener.textsOn(ref)
          expect(publishOptions.history ? texts : texts.toSorted()).toEqual([
            '"a"',
            '"marker 1"',
            '"marker 2"',
          ])
        },
      )
    })

    describe('durability', () => {
      const reached = durabilities.slice(0, durabilities.indexOf(options.reaches) + 1)
      const refused = durabilities.slice(reached.length)

      test('a publish that requests none reaches the default of the broker', async () => {
        expect((await publish('"a"')).durability).toBe(options.reaches)
      })

      test.each(reached)('a publish that requests "%s" reaches at least that', async (requested) => {
        const published = await publish('"a"', { options: { ...stored, durability: requested } })
        expect(durabilities.indexOf(published.durability)).toBeGreaterThanOrEqual(
          durabilities.indexOf(requested),
        )
      })

      // A broker that refuses no durability has no such test.
      test.each(refused)('"%s" is refused, and nothing is stored or delivered', async (requested) => {
        await peer.subscribe(ref)
        await expectRefused(
          publish('"a"', { options: { ...stored, durability: requested } }),
          'DURABILITY_UNAVAILABLE',
        )
        await publish('"marker"')
        await peerListener.untilText(ref, '"marker"')
        expect(peerListener.textsOn(ref)).toEqual(['"marker"'])
        expect(await offsetsOf({ limit: 10 })).toEqual([1])
      })
    })

    describe('announcements', () => {
      const info: ClientInfo = { user: 'ann', client: 'c1', name: 'Ann é', info: Buffer.from('{"a": 1}') }

      test('reach every subscribed gateway, including the sender’s, in order', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        await broker.announce(ref, { kind: 'join', info, userEdge: true })
        await broker.announce(ref, { kind: 'leave', info, userEdge: false })
        for (const one of [listener, peerListener]) {
          await one.until('two announcements', () => one.announcements.length === 2)
          const [join, leave] = one.announcements
          expect(join).toMatchObject({ ref, announcement: { kind: 'join', userEdge: true } })
          expect(leave).toMatchObject({ ref, announcement: { kind: 'leave', userEdge: false } })
          expectSameInfo(join?.announcement.info, info)
        }
      })

      test('reach no other channel', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(otherChannel), peer.subscribe(otherTenant)])
        await broker.announce(ref, { kind: 'join', info, userEdge: true })
        await listener.until('the announcement', () => listener.announcements.length === 1)
        await publish('"marker"', { ref: otherChannel })
        await peerListener.untilText(otherChannel, '"marker"')
        expect(peerListener.announcements).toEqual([])
      })

      test('are not in the stream', async () => {
        await publish('"a"')
        await broker.announce(ref, { kind: 'join', info, userEdge: true })
        expect((await topOf()).offset).toBe(1)
      })
    })

    describe('close()', () => {
      test('resolves, and so does a second call', async () => {
        await broker.subscribe(ref)
        await broker.close()
        await expect(broker.close()).resolves.toBeUndefined()
      })

      test('ends delivery to its gateway and not to others', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        await broker.close()
        await publish('"a"', { by: peer })
        await peerListener.untilText(ref, '"a"')
        expect(listener.publications).toEqual([])
      })

      test('settles every publish', async () => {
        const publishing = publishAll(20)
        await broker.close()
        const [settled] = await Promise.allSettled([publishing])
        expect(settled?.status).toMatch(/fulfilled|rejected/)
      })

      test('refuses later calls', async () => {
        await broker.close()
        await expectRefused(publish('"a"'), 'INTERNAL')
        await expectRefused(broker.history(ref, { limit: 1 }), 'INTERNAL')
        await expectRefused(broker.subscribe(ref), 'INTERNAL')
      })
    })
  })
}

/** The options of tests that store more publications than `stored` keeps. */
const largeHistory: PublishOptions = { history: { size: 5000, ttlMs: 3_600_000 } }

function publicationOf(text: string): NewPublication {
  return { data: Buffer.from(text) }
}

async function expectRefused(refused: Promise<unknown>, code: ErrorCode): Promise<void> {
  await expect(refused).rejects.toMatchObject({ name: 'CommandError', code })
}

/**
 * Compares by value: bytes may arrive in another kind of array, and absent fields may be undefined fields.
 */
function expectSameInfo(got: ClientInfo | undefined, expected: ClientInfo): void {
  const comparable = (info: ClientInfo | undefined) => ({
    user: info?.user,
    client: info?.client,
    name: info?.name,
    info: info?.info && Buffer.from(info.info).toString('hex'),
  })
  expect(comparable(got)).toEqual(comparable(expected))
}
