// What every broker promises, one behaviour per test. Time passes by `advance`, deliveries are awaited with a
// deadline: nothing sleeps.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ErrorCode } from '../errors.js'
import {
  historyLimitMax,
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

/** Two gateways' brokers on the same fresh data, without listeners yet. */
export interface OpenedBrokers {
  readonly broker: Broker
  readonly peer: Broker
  /** Lets time pass for both and for the data: moves a clock, or waits where there is none to move. */
  advance(ms: number): Promise<void>
  /** Closes both and removes the data. */
  close(): Promise<void>
}

export interface BrokerContractOptions {
  /** What a publish reaches that asks for nothing. */
  readonly reaches: Durability
  /** Used by the tests in which publications expire. Short where time cannot be moved. Default one minute. */
  readonly historyTtlMs?: number
  /** As the broker under test was made. Default `idempotencyWindowMs`. */
  readonly windowMs?: number
  /** Publications that may be kept beyond `size`, where trimming is approximate. Default 0. */
  readonly sizeSlack?: number
  /** How long a delivery may take. Default 20 s. */
  readonly deadlineMs?: number
}

const durabilities: readonly Durability[] = ['accepted', 'replicated', 'durable']

/** Every broker runs this: `brokerContract('MemoryBroker', open, { reaches: 'accepted' })`. */
export function brokerContract(
  name: string,
  open: () => Promise<OpenedBrokers>,
  options: BrokerContractOptions,
): void {
  const historyTtlMs = options.historyTtlMs ?? 60_000
  const windowMs = options.windowMs ?? idempotencyWindowMs
  const sizeSlack = options.sizeSlack ?? 0
  const deadlineMs = options.deadlineMs ?? 20_000

  const ref: ChannelRef = { tenantId: 't1', channel: 'room:1' }
  const elsewhere: ChannelRef = { tenantId: 't1', channel: 'room:2' }
  const foreign: ChannelRef = { tenantId: 't2', channel: 'room:1' }
  const kept: PublishOptions = { history: { size: 100, ttlMs: 24 * 3_600_000 } }

  let opened: OpenedBrokers
  let broker: Broker
  let peer: Broker
  let heard: RecordingListener
  let peerHeard: RecordingListener

  const say = (text: string, to: { by?: Broker; ref?: ChannelRef; options?: PublishOptions } = {}) =>
    (to.by ?? broker).publish(to.ref ?? ref, publicationOf(text), to.options ?? kept)

  const sayAll = async (count: number, publishOptions: PublishOptions = kept) => {
    const numbers = Array.from({ length: count }, (_, index) => index + 1)
    return Promise.all(numbers.map((n) => say(`"${n}"`, { options: publishOptions })))
  }

  const offsetsOf = async (query: HistoryQuery) =>
    (await broker.history(ref, query)).publications.map((publication) => publication.offset)

  const topOf = async (of: ChannelRef = ref) => (await broker.history(of, { limit: 0 })).top

  describe(`${name} keeps the broker's promises:`, () => {
    beforeEach(async () => {
      opened = await open()
      ;({ broker, peer } = opened)
      heard = new RecordingListener(deadlineMs)
      peerHeard = new RecordingListener(deadlineMs)
      broker.listen(heard)
      peer.listen(peerHeard)
    })

    afterEach(async () => {
      await opened.close()
      heard.expectOrdered()
      peerHeard.expectOrdered()
      expect([...heard.losses, ...peerHeard.losses]).toEqual([])
    })

    describe('delivery', () => {
      test('a subscribed gateway gets a publication', async () => {
        await peer.subscribe(ref)
        await say('"a"')
        await peerHeard.untilCount(ref, 1)
        expect(peerHeard.textsOn(ref)).toEqual(['"a"'])
        expect(peerHeard.publications[0]?.ref).toEqual(ref)
      })

      test('a publisher’s own gateway gets it as well', async () => {
        await broker.subscribe(ref)
        await say('"a"')
        await heard.untilCount(ref, 1)
        expect(heard.textsOn(ref)).toEqual(['"a"'])
      })

      test('a channel without history is delivered too', async () => {
        await peer.subscribe(ref)
        await say('"a"', { options: {} })
        await peerHeard.untilCount(ref, 1)
        expect(peerHeard.textsOn(ref)).toEqual(['"a"'])
      })

      test('only what is published after subscribe() resolved must come, and it does', async () => {
        await say('"before"')
        await peer.subscribe(ref)
        await say('"after"')
        await peerHeard.untilText(ref, '"after"')
        expect(peerHeard.textsOn(ref).at(-1)).toBe('"after"')
      })

      test('a gateway that is not subscribed gets nothing', async () => {
        await peer.subscribe(elsewhere)
        await say('"a"')
        await say('"marker"', { ref: elsewhere })
        await peerHeard.untilText(elsewhere, '"marker"')
        expect(peerHeard.on(ref)).toEqual([])
      })

      test('after unsubscribe() nothing comes', async () => {
        await peer.subscribe(ref)
        await peer.subscribe(elsewhere)
        await peer.unsubscribe(ref)
        await say('"a"')
        await say('"marker"', { ref: elsewhere })
        await peerHeard.untilText(elsewhere, '"marker"')
        expect(peerHeard.on(ref)).toEqual([])
      })

      test('one gateway’s unsubscribe() leaves the other’s subscription alone', async () => {
        await broker.subscribe(ref)
        await peer.subscribe(ref)
        await broker.unsubscribe(ref)
        await say('"a"')
        await peerHeard.untilCount(ref, 1)
        expect(peerHeard.textsOn(ref)).toEqual(['"a"'])
      })

      test('a second subscribe() has no effect', async () => {
        await peer.subscribe(ref)
        await peer.subscribe(ref)
        await say('"a"')
        await say('"marker"')
        await peerHeard.untilText(ref, '"marker"')
        expect(peerHeard.textsOn(ref)).toEqual(['"a"', '"marker"'])
      })

      test('one unsubscribe() ends what two subscribe() began', async () => {
        await peer.subscribe(ref)
        await peer.subscribe(ref)
        await peer.subscribe(elsewhere)
        await peer.unsubscribe(ref)
        await say('"a"')
        await say('"marker"', { ref: elsewhere })
        await peerHeard.untilText(elsewhere, '"marker"')
        expect(peerHeard.on(ref)).toEqual([])
      })

      test('unsubscribe() without a subscription is no error', async () => {
        await expect(peer.unsubscribe(ref)).resolves.toBeUndefined()
      })

      test('a gateway that subscribes again gets publications again', async () => {
        await peer.subscribe(ref)
        await peer.unsubscribe(ref)
        await say('"missed"')
        await peer.subscribe(ref)
        await say('"a"')
        await peerHeard.untilText(ref, '"a"')
        expect(peerHeard.textsOn(ref).at(-1)).toBe('"a"')
      })

      test.each([
        // All of it is kept: on a slow machine some of it is read from there.
        ['with history', { history: { size: 1_000, ttlMs: 24 * 3_600_000 } }],
        ['without history', {}],
      ])(
        'publishes of one gateway are delivered in the order of the calls, %s',
        async (_, publishOptions) => {
          await peer.subscribe(ref)
          await sayAll(200, publishOptions)
          await peerHeard.untilCount(ref, 200)
          expect(peerHeard.textsOn(ref)).toEqual(
            Array.from({ length: 200 }, (_empty, index) => `"${index + 1}"`),
          )
        },
      )

      test('publishes with and without a key keep their order too', async () => {
        await peer.subscribe(ref)
        const texts = Array.from({ length: 50 }, (_, index) => `"${index}"`)
        await Promise.all(
          texts.map((text, index) =>
            say(text, { options: index % 3 === 0 ? { ...kept, idempotencyKey: text } : kept }),
          ),
        )
        await peerHeard.untilCount(ref, texts.length)
        expect(peerHeard.textsOn(ref)).toEqual(texts)
      })

      test('two gateways publish at once: every subscriber sees the order of the history', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        const publishing = Array.from({ length: 200 }, (_, n) =>
          say(`"${n}"`, { by: n % 2 === 0 ? broker : peer, options: roomy }),
        )
        await Promise.all(publishing)
        await Promise.all([heard.untilCount(ref, 200), peerHeard.untilCount(ref, 200)])
        const { publications } = await broker.history(ref, { limit: 1000 })
        expect(publications.map((publication) => publication.offset)).toEqual(
          Array.from({ length: 200 }, (_, index) => index + 1),
        )
        expect(heard.textsOn(ref)).toEqual(publications.map(textOf))
        expect(peerHeard.textsOn(ref)).toEqual(publications.map(textOf))
      })

      test('two gateways publish one after another: every subscriber sees their order', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        const texts = Array.from({ length: 20 }, (_, n) => `"${n}"`)
        for (const [n, text] of texts.entries()) await say(text, { by: n % 2 === 0 ? broker : peer })
        await Promise.all([heard.untilCount(ref, texts.length), peerHeard.untilCount(ref, texts.length)])
        expect(heard.textsOn(ref)).toEqual(texts)
        expect(peerHeard.textsOn(ref)).toEqual(texts)
      })

      test('two tenants’ channels of one name never meet', async () => {
        await peer.subscribe(foreign)
        await say('"ours"')
        await say('"theirs"', { ref: foreign, options: {} })
        await peerHeard.untilText(foreign, '"theirs"')
        expect(peerHeard.publications.map(({ publication }) => textOf(publication))).toEqual(['"theirs"'])
        expect((await peer.history(foreign, { limit: 10 })).publications).toEqual([])
      })
    })

    describe('what a publication carries', () => {
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
        await broker.publish(ref, { data }, kept)
        await broker.publish(ref, { data }, {})
        await peerHeard.untilCount(ref, 2)
        const page = await peer.history(ref, { limit: 10 })
        for (const got of [...peerHeard.on(ref), ...page.publications]) {
          expect(Buffer.compare(Buffer.from(got.data), data)).toBe(0)
        }
        expect(page.publications).toHaveLength(1)
      })

      test('data that is a view of a larger buffer, which is then used for something else', async () => {
        const buffer = Buffer.from('…"view"…')
        const start = buffer.indexOf('"')
        await broker.publish(ref, { data: buffer.subarray(start, start + 6) }, kept)
        buffer.fill(0)
        const { publications } = await peer.history(ref, { limit: 1 })
        expect(publications.map(textOf)).toEqual(['"view"'])
      })

      test.each([
        ['with history', kept],
        ['without history', {}],
      ])('who published, and whom to skip, %s', async (_, publishOptions) => {
        await peer.subscribe(ref)
        await broker.publish(
          ref,
          { data: Buffer.from('1'), info, skipSession: 'session-1 é' },
          publishOptions,
        )
        await peerHeard.untilCount(ref, 1)
        const [live] = peerHeard.on(ref)
        expect(live?.skipSession).toBe('session-1 é')
        expectSameInfo(live?.info, info)
      })

      test.each([
        ['with history', kept],
        ['without history', {}],
      ])('what it is about, live and later, %s', async (_, publishOptions) => {
        const tags = new Map([
          ['kind', 'shot'],
          ['__proto__', 'a "name"\nlike any 🦜'],
          ['', ''],
        ])
        await peer.subscribe(ref)
        await broker.publish(ref, { data: Buffer.from('1'), tags }, publishOptions)
        await broker.publish(ref, { data: Buffer.from('2') }, publishOptions)
        await peerHeard.untilCount(ref, 2)
        const page = await peer.history(ref, { limit: 10 })
        for (const publications of [peerHeard.on(ref), page.publications]) {
          if (publications.length > 0)
            expect(publications.map((publication) => publication.tags)).toEqual([tags, undefined])
        }
        expect(page.publications).toHaveLength(publishOptions === kept ? 2 : 0)
      })

      test('without a publisher there is none at the other end', async () => {
        await peer.subscribe(ref)
        await say('1')
        await peerHeard.untilCount(ref, 1)
        expect(peerHeard.on(ref)[0]?.info).toBeUndefined()
        expect(peerHeard.on(ref)[0]?.skipSession).toBeUndefined()
      })

      test('a publisher without name and info has none at the other end', async () => {
        await peer.subscribe(ref)
        await broker.publish(ref, { data: Buffer.from('1'), info: { user: '', client: 'guest-1' } }, kept)
        await peerHeard.untilCount(ref, 1)
        expectSameInfo(peerHeard.on(ref)[0]?.info, { user: '', client: 'guest-1' })
      })

      test('history gives the same as the listener got', async () => {
        await peer.subscribe(ref)
        await broker.publish(ref, { data: Buffer.from('1'), info, skipSession: 's' }, kept)
        await peerHeard.untilCount(ref, 1)
        const [live] = peerHeard.on(ref)
        const [stored] = (await peer.history(ref, { limit: 1 })).publications
        expect(stored?.timeMs).toBeGreaterThan(0)
        expect(stored).toMatchObject({
          offset: live?.offset,
          epoch: live?.epoch,
          timeMs: live?.timeMs,
          skipSession: 's',
        })
        expectSameInfo(stored?.info, info)
      })

      test('without history it has no place: offset 0, no epoch, no position', async () => {
        await peer.subscribe(ref)
        const published = await say('"a"', { options: {} })
        await peerHeard.untilCount(ref, 1)
        expect(published.position).toBeUndefined()
        expect(peerHeard.on(ref)[0]).toMatchObject({ offset: 0, epoch: '' })
      })
    })

    describe('positions', () => {
      test('offsets are 1, 2, 3 …', async () => {
        const published = await sayAll(5)
        expect(published.map(({ position }) => position?.offset)).toEqual([1, 2, 3, 4, 5])
      })

      test('the acknowledged position is the one that listeners and history tell', async () => {
        await peer.subscribe(ref)
        const { position } = await say('"a"')
        await peerHeard.untilCount(ref, 1)
        const page = await peer.history(ref, { limit: 10 })
        expect(page.top).toEqual(position)
        expect([peerHeard.on(ref)[0], page.publications[0]]).toMatchObject([position, position])
      })

      test('an acknowledged publication is found by history, on the other gateway as well', async () => {
        await say('"a"')
        const { publications } = await peer.history(ref, { limit: 10 })
        expect(publications.map(textOf)).toEqual(['"a"'])
      })

      test('a stream has its epoch before the first publication, and keeps it', async () => {
        const before = await topOf()
        const { position } = await say('"a"')
        expect(before).toEqual({ epoch: expect.stringMatching(/^\S+$/), offset: 0 })
        expect(position).toEqual({ epoch: before.epoch, offset: 1 })
      })

      test('both gateways see one epoch', async () => {
        const [ours, theirs] = await Promise.all([
          broker.history(ref, { limit: 0 }),
          peer.history(ref, { limit: 0 }),
        ])
        expect(ours.top).toEqual(theirs.top)
      })

      test('standing() is known where the channel is subscribed to, and follows what was heard', async () => {
        await say('"a"')
        expect(peer.confirmedPosition(ref)).toBeUndefined()
        await peer.subscribe(ref)
        const { position } = await say('"b"')
        await peerHeard.untilText(ref, '"b"')
        expect(peer.confirmedPosition(ref)).toEqual(position)
        await peer.unsubscribe(ref)
        expect(peer.confirmedPosition(ref)).toBeUndefined()
      })

      test('standing() is never behind what was published here', async () => {
        await peer.subscribe(ref)
        for (let n = 1; n <= 20; n += 1) {
          await say(`"${n}"`, { by: peer })
          expect([undefined, n]).toContain(peer.confirmedPosition(ref)?.offset)
        }
        await peerHeard.untilText(ref, '"20"')
        expect(peer.confirmedPosition(ref)?.offset).toBe(20)
      })

      test('standing() is known before anything was heard, once history has proven it', async () => {
        await say('"a"')
        await peer.subscribe(ref)
        const { top } = await peer.history(ref, { limit: 0 })
        expect(peer.confirmedPosition(ref)).toEqual(top)
      })

      test('a publication without history takes no offset', async () => {
        await say('"a"')
        await say('"passing"', { options: {} })
        expect((await say('"b"')).position?.offset).toBe(2)
        expect(await offsetsOf({ limit: 10 })).toEqual([1, 2])
      })

      test('channels count for themselves', async () => {
        await say('"a"')
        expect((await say('"b"', { ref: elsewhere })).position?.offset).toBe(1)
        expect((await say('"c"', { ref: foreign })).position?.offset).toBe(1)
      })

      test('removeHistory() forgets the publications and keeps position and epoch', async () => {
        await sayAll(3)
        const top = await topOf()
        await broker.removeHistory(ref)
        expect(await peer.history(ref, { limit: 10 })).toEqual({ publications: [], top, continuous: true })
        expect((await say('"d"')).position).toEqual({ epoch: top.epoch, offset: 4 })
        expect(await offsetsOf({ limit: 10 })).toEqual([4])
      })

      test('removeHistory() of an unknown channel is no error', async () => {
        await broker.removeHistory(ref)
        expect((await topOf()).offset).toBe(0)
      })

      test('removeHistory() leaves other channels alone', async () => {
        await say('"a"', { ref: foreign })
        await say('"b"', { ref: elsewhere })
        await broker.removeHistory(ref)
        expect((await broker.history(foreign, { limit: 1 })).publications).toHaveLength(1)
        expect((await broker.history(elsewhere, { limit: 1 })).publications).toHaveLength(1)
      })
    })

    describe('retention', () => {
      test('at most `size` are kept, the newest', async () => {
        const total = 5 + sizeSlack
        await sayAll(total, { history: { size: 3, ttlMs: 3_600_000 } })
        const offsets = await offsetsOf({ limit: 1000 })
        expect(offsets.length).toBeGreaterThanOrEqual(3)
        expect(offsets.length).toBeLessThanOrEqual(3 + sizeSlack)
        expect(offsets).toEqual(Array.from(offsets, (_, index) => total - offsets.length + 1 + index))
      })

      test('a smaller size holds from the next publish on', async () => {
        await sayAll(5 + sizeSlack)
        await say('"b"', { options: { history: { size: 2, ttlMs: 3_600_000 } } })
        expect((await offsetsOf({ limit: 1000 })).length).toBeLessThanOrEqual(2 + sizeSlack)
      })

      test('trimming never gives an offset again', async () => {
        const total = 5 + sizeSlack
        await sayAll(total, { history: { size: 1, ttlMs: 3_600_000 } })
        expect((await say('"b"')).position?.offset).toBe(total + 1)
      })

      test('what is older than the time to live is gone, and nothing younger', async () => {
        const mortal = { history: { size: 100, ttlMs: historyTtlMs } }
        await say('"a"', { options: mortal })
        await opened.advance(historyTtlMs * 0.6)
        await say('"b"', { options: mortal })
        await opened.advance(historyTtlMs * 0.6)
        expect(await offsetsOf({ limit: 10 })).toEqual([2])
      })

      test('a stream that time has emptied keeps its position and epoch', async () => {
        const mortal = { history: { size: 100, ttlMs: historyTtlMs } }
        await sayAll(3, mortal)
        const top = await topOf()
        await opened.advance(historyTtlMs * 1.5)
        expect(await broker.history(ref, { limit: 10 })).toEqual({ publications: [], top, continuous: true })
        expect(top.offset).toBe(3)
        expect((await say('"d"', { options: mortal })).position).toEqual({ epoch: top.epoch, offset: 4 })
      })
    })

    describe('history', () => {
      const at = (epoch: string, offset: number): Position => ({ epoch, offset })

      test('of a channel that nobody published to: nothing, and the top is 0', async () => {
        const page = await broker.history(ref, { limit: 10 })
        expect(page).toMatchObject({ publications: [], top: { offset: 0 }, continuous: true })
      })

      test('limit 0 gives the top alone', async () => {
        const [, last] = await sayAll(2)
        expect(await broker.history(ref, { limit: 0 })).toEqual({
          publications: [],
          top: last?.position,
          continuous: true,
        })
      })

      test('without `since`: from the oldest, at most `limit`', async () => {
        await sayAll(5)
        expect(await offsetsOf({ limit: 2 })).toEqual([1, 2])
        expect(await offsetsOf({ limit: 10 })).toEqual([1, 2, 3, 4, 5])
      })

      test('`since` is exclusive', async () => {
        await sayAll(5)
        const { epoch } = await topOf()
        expect(await offsetsOf({ limit: 10, since: at(epoch, 2) })).toEqual([3, 4, 5])
        expect(await offsetsOf({ limit: 2, since: at(epoch, 2) })).toEqual([3, 4])
      })

      test('`since` 0 is the beginning', async () => {
        const before = await topOf()
        await sayAll(3)
        const page = await broker.history(ref, { limit: 10, since: before })
        expect(page.publications.map((publication) => publication.offset)).toEqual([1, 2, 3])
        expect(page.continuous).toBe(true)
      })

      test('`since` without an epoch counts the offset alone', async () => {
        await sayAll(3)
        const page = await broker.history(ref, { limit: 10, since: at('', 1) })
        expect(page.publications.map((publication) => publication.offset)).toEqual([2, 3])
        expect(page.continuous).toBe(true)
      })

      test('`since` equal to the top: nothing is missing', async () => {
        await sayAll(3)
        const top = await topOf()
        expect(await broker.history(ref, { limit: 10, since: top })).toEqual({
          publications: [],
          top,
          continuous: true,
        })
      })

      test('`since` of another epoch: no publications, not continuous', async () => {
        await sayAll(3)
        const top = await topOf()
        const page = await broker.history(ref, { limit: 10, since: at(`${top.epoch}x`, 1) })
        expect(page).toEqual({ publications: [], top, continuous: false })
      })

      test('`since` above the top: no publications, not continuous', async () => {
        await sayAll(3)
        const top = await topOf()
        const page = await broker.history(ref, { limit: 10, since: at(top.epoch, 4) })
        expect(page).toEqual({ publications: [], top, continuous: false })
      })

      test('`since` above the top of an empty stream: not continuous', async () => {
        const { epoch } = await topOf()
        expect((await broker.history(ref, { limit: 10, since: at(epoch, 1) })).continuous).toBe(false)
      })

      test('`since` trimmed away by size: from the oldest kept, not continuous', async () => {
        await sayAll(5 + sizeSlack, { history: { size: 2, ttlMs: 3_600_000 } })
        const { epoch } = await topOf()
        const page = await broker.history(ref, { limit: 1000, since: at(epoch, 1) })
        expect(page.continuous).toBe(false)
        expect(page.publications.map((publication) => publication.offset)).toEqual(
          await offsetsOf({ limit: 1000 }),
        )
      })

      test('`since` is gone itself, but all after it is there: continuous', async () => {
        await sayAll(5 + sizeSlack, { history: { size: 2, ttlMs: 3_600_000 } })
        const [oldest = 0] = await offsetsOf({ limit: 1 })
        const { epoch } = await topOf()
        expect((await broker.history(ref, { limit: 1000, since: at(epoch, oldest - 1) })).continuous).toBe(
          true,
        )
        expect((await broker.history(ref, { limit: 1000, since: at(epoch, oldest - 2) })).continuous).toBe(
          false,
        )
      })

      test('after time emptied the stream: only the top itself is continuous', async () => {
        await sayAll(3, { history: { size: 100, ttlMs: historyTtlMs } })
        const top = await topOf()
        await opened.advance(historyTtlMs * 1.5)
        expect((await broker.history(ref, { limit: 10, since: top })).continuous).toBe(true)
        expect((await broker.history(ref, { limit: 10, since: at(top.epoch, 2) })).continuous).toBe(false)
      })

      test('after removeHistory(): only the top itself is continuous', async () => {
        await sayAll(3)
        const top = await topOf()
        await broker.removeHistory(ref)
        expect((await broker.history(ref, { limit: 10, since: top })).continuous).toBe(true)
        expect((await broker.history(ref, { limit: 10, since: at(top.epoch, 2) })).continuous).toBe(false)
      })

      test('limit 0 with `since` still tells whether it is continuous', async () => {
        await sayAll(3)
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
        await sayAll(5)
        expect(await offsetsOf({ limit: 10, reverse: true })).toEqual([5, 4, 3, 2, 1])
        expect(await offsetsOf({ limit: 2, reverse: true })).toEqual([5, 4])
      })

      test('reverse: `since` is the upper bound, exclusive', async () => {
        await sayAll(5)
        const { epoch } = await topOf()
        expect(await offsetsOf({ limit: 10, reverse: true, since: at(epoch, 4) })).toEqual([3, 2, 1])
        expect(await offsetsOf({ limit: 2, reverse: true, since: at(epoch, 4) })).toEqual([3, 2])
        expect(await offsetsOf({ limit: 10, reverse: true, since: at(epoch, 1) })).toEqual([])
      })

      test('limit is capped', async () => {
        const total = historyLimitMax + 5
        await sayAll(total, roomy)
        expect(await offsetsOf({ limit: 5000 })).toEqual(
          Array.from({ length: historyLimitMax }, (_, index) => index + 1),
        )
        expect(await offsetsOf({ limit: 5000, reverse: true })).toHaveLength(historyLimitMax)
      })
    })

    describe('idempotency', () => {
      const keyed = { ...kept, idempotencyKey: 'k1' }

      test('a repeat gets the first result and says so', async () => {
        const first = await say('"a"', { options: keyed })
        const again = await say('"a"', { options: keyed })
        expect(first.repeated).toBe(false)
        expect(again).toEqual({ ...first, repeated: true })
      })

      test('a repeat is delivered and stored once', async () => {
        await peer.subscribe(ref)
        await say('"a"', { options: keyed })
        await say('"a"', { options: keyed })
        await say('"marker"')
        await peerHeard.untilText(ref, '"marker"')
        expect(peerHeard.textsOn(ref)).toEqual(['"a"', '"marker"'])
        expect(await offsetsOf({ limit: 10 })).toEqual([1, 2])
      })

      test('a repeat without history is delivered once', async () => {
        await peer.subscribe(ref)
        await say('"a"', { options: { idempotencyKey: 'k1' } })
        const again = await say('"a"', { options: { idempotencyKey: 'k1' } })
        await say('"marker"', { options: {} })
        await peerHeard.untilText(ref, '"marker"')
        expect(again).toMatchObject({ repeated: true })
        expect(again.position).toBeUndefined()
        expect(peerHeard.textsOn(ref)).toEqual(['"a"', '"marker"'])
      })

      test('a repeat through another gateway is a repeat', async () => {
        const first = await say('"a"', { options: keyed })
        expect(await say('"a"', { by: peer, options: keyed })).toEqual({ ...first, repeated: true })
      })

      test('the same key with other data is refused, and not delivered', async () => {
        await peer.subscribe(ref)
        await say('"a"', { options: keyed })
        await expectRefused(say('"b"', { options: keyed }), 'IDEMPOTENCY_MISMATCH')
        await say('"marker"')
        await peerHeard.untilText(ref, '"marker"')
        expect(peerHeard.textsOn(ref)).toEqual(['"a"', '"marker"'])
      })

      test('the same key with other data is refused without history as well', async () => {
        await say('"a"', { options: { idempotencyKey: 'k1' } })
        await expectRefused(say('"b"', { options: { idempotencyKey: 'k1' } }), 'IDEMPOTENCY_MISMATCH')
      })

      test('the same key with other tags is refused, with the same in another order it is a repeat', async () => {
        const tagged = (...tags: [string, string][]) =>
          broker.publish(ref, { ...publicationOf('"a"'), tags: new Map(tags) }, keyed)
        await tagged(['x', '1'], ['y', '2'])
        await expectRefused(tagged(['x', '1']), 'IDEMPOTENCY_MISMATCH')
        await expectRefused(say('"a"', { options: keyed }), 'IDEMPOTENCY_MISMATCH')
        expect((await tagged(['y', '2'], ['x', '1'])).repeated).toBe(true)
      })

      test('a key counts for its channel and tenant alone', async () => {
        await say('"a"', { options: keyed })
        expect((await say('"b"', { ref: elsewhere, options: keyed })).repeated).toBe(false)
        expect((await say('"c"', { ref: foreign, options: keyed })).repeated).toBe(false)
      })

      test('other keys are other publications', async () => {
        await say('"a"', { options: keyed })
        expect((await say('"a"', { options: { ...kept, idempotencyKey: 'k2' } })).position?.offset).toBe(2)
      })

      test('without a key the same data is published twice', async () => {
        await say('"a"')
        expect((await say('"a"')).position?.offset).toBe(2)
      })

      test('a repeat within the window is one even when the history has forgotten it', async () => {
        const first = await say('"a"', { options: keyed })
        await opened.advance(windowMs * 0.6)
        await broker.removeHistory(ref)
        expect(await say('"a"', { options: keyed })).toEqual({ ...first, repeated: true })
      })

      const passing: PublishOptions = { idempotencyKey: 'k1' }
      test.each([
        ['stored, then passing', keyed, passing],
        ['passing, then stored', passing, keyed],
      ])('a key stands for what was sent, however the channel keeps it: %s', async (_, first, then) => {
        expect((await say('"a"', { options: first })).repeated).toBe(false)
        expect((await say('"a"', { options: then })).repeated).toBe(true)
        await expectRefused(say('"b"', { options: then }), 'IDEMPOTENCY_MISMATCH')
      })

      test('long after the window the key is free', async () => {
        await say('"a"', { options: keyed })
        await opened.advance(windowMs * 2.1)
        expect(await say('"b"', { options: keyed })).toMatchObject({
          repeated: false,
          position: { offset: 2 },
        })
      })

      test.each([
        ['with history', keyed],
        ['without history', { idempotencyKey: 'k1' }],
      ])(
        'a thousand publishes at once with one key from two gateways are one, %s',
        async (_, publishOptions) => {
          await peer.subscribe(ref)
          const publishing = Array.from({ length: 1000 }, (_empty, n) =>
            say('"a"', { by: n % 2 === 0 ? broker : peer, options: publishOptions }),
          )
          const published = await Promise.all(publishing)
          // One from each gateway: without history nothing orders what two of them announce, but each keeps
          // its own order.
          const markerOptions = publishOptions.history ? kept : {}
          await say('"marker 1"', { by: broker, options: markerOptions })
          await say('"marker 2"', { by: peer, options: markerOptions })
          await peerHeard.untilText(ref, '"marker 1"')
          await peerHeard.untilText(ref, '"marker 2"')
          expect(published.filter(({ repeated }) => !repeated)).toHaveLength(1)
          expect(new Set(published.map(({ position }) => position?.offset)).size).toBe(1)
          const texts = peerHeard.textsOn(ref)
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

      test('a publish that asks for nothing reaches what the broker is made for', async () => {
        expect((await say('"a"')).durability).toBe(options.reaches)
      })

      test.each(reached)('"%s" is reached, or more', async (asked) => {
        const published = await say('"a"', { options: { ...kept, durability: asked } })
        expect(durabilities.indexOf(published.durability)).toBeGreaterThanOrEqual(durabilities.indexOf(asked))
      })

      // With nothing to refuse this makes no test.
      test.each(refused)('"%s" is refused, and nothing is stored or delivered', async (asked) => {
        await peer.subscribe(ref)
        await expectRefused(say('"a"', { options: { ...kept, durability: asked } }), 'DURABILITY_UNAVAILABLE')
        await say('"marker"')
        await peerHeard.untilText(ref, '"marker"')
        expect(peerHeard.textsOn(ref)).toEqual(['"marker"'])
        expect(await offsetsOf({ limit: 10 })).toEqual([1])
      })
    })

    describe('announcements', () => {
      const info: ClientInfo = { user: 'ann', client: 'c1', name: 'Ann é', info: Buffer.from('{"a": 1}') }

      test('reach every subscribed gateway, the own one too, in order', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        await broker.announce(ref, { kind: 'join', info, userEdge: true })
        await broker.announce(ref, { kind: 'leave', info, userEdge: false })
        for (const listener of [heard, peerHeard]) {
          await listener.until('two announcements', () => listener.announcements.length === 2)
          const [join, leave] = listener.announcements
          expect(join).toMatchObject({ ref, announcement: { kind: 'join', userEdge: true } })
          expect(leave).toMatchObject({ ref, announcement: { kind: 'leave', userEdge: false } })
          expectSameInfo(join?.announcement.info, info)
        }
      })

      test('reach nobody else', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(elsewhere), peer.subscribe(foreign)])
        await broker.announce(ref, { kind: 'join', info, userEdge: true })
        await heard.until('the announcement', () => heard.announcements.length === 1)
        await say('"marker"', { ref: elsewhere })
        await peerHeard.untilText(elsewhere, '"marker"')
        expect(peerHeard.announcements).toEqual([])
      })

      test('have no place in the stream', async () => {
        await say('"a"')
        await broker.announce(ref, { kind: 'join', info, userEdge: true })
        expect((await topOf()).offset).toBe(1)
      })
    })

    describe('close()', () => {
      test('settles, and a second time too', async () => {
        await broker.subscribe(ref)
        await broker.close()
        await expect(broker.close()).resolves.toBeUndefined()
      })

      test('ends delivery to its gateway and leaves the others alone', async () => {
        await Promise.all([broker.subscribe(ref), peer.subscribe(ref)])
        await broker.close()
        await say('"a"', { by: peer })
        await peerHeard.untilText(ref, '"a"')
        expect(heard.publications).toEqual([])
      })

      test('leaves no publish hanging', async () => {
        const publishing = sayAll(20)
        await broker.close()
        const [settled] = await Promise.allSettled([publishing])
        expect(settled?.status).toMatch(/fulfilled|rejected/)
      })

      test('then refuses what it is asked', async () => {
        await broker.close()
        await expectRefused(say('"a"'), 'INTERNAL')
        await expectRefused(broker.history(ref, { limit: 1 }), 'INTERNAL')
        await expectRefused(broker.subscribe(ref), 'INTERNAL')
      })
    })
  })
}

/** For tests that look at more than is kept by default. */
const roomy: PublishOptions = { history: { size: 5000, ttlMs: 3_600_000 } }

function publicationOf(text: string): NewPublication {
  return { data: Buffer.from(text) }
}

async function expectRefused(refused: Promise<unknown>, code: ErrorCode): Promise<void> {
  await expect(refused).rejects.toMatchObject({ name: 'CommandError', code })
}

/** Bytes may come back as another kind of array, and absent fields as undefined ones. */
function expectSameInfo(got: ClientInfo | undefined, wanted: ClientInfo): void {
  const comparable = (info: ClientInfo | undefined) => ({
    user: info?.user,
    client: info?.client,
    name: info?.name,
    info: info?.info && Buffer.from(info.info).toString('hex'),
  })
  expect(comparable(got)).toEqual(comparable(wanted))
}
