import { expect, test } from 'vitest'
import { type Arrival, Log } from './message-log.js'

const ada = { user: 'ada', name: 'ada', own: false }
const me = { user: 'me', name: 'me', own: true }

function arrival(text: string, offset: number | undefined, more: Partial<Arrival> = {}): Arrival {
  const place = offset === undefined ? undefined : { epoch: 'a', offset }
  return { author: ada, text, timeMs: 1_000, place, fromHere: false, ...more }
}

function textsOf(log: Log): string[] {
  return log.entries.map((entry) => (entry.kind === 'gap' ? `(${entry.words})` : entry.text))
}

function draft(log: Log, text: string): number {
  return log.draft(me, text, { timeMs: 2_000, delivery: { kind: 'sending' } }).id
}

test('history that comes late stands before what came live', () => {
  const log = new Log({ entriesMax: 10 })
  log.receive(arrival('live', 3))
  for (const offset of [2, 1]) log.receive(arrival(`old ${offset}`, offset))
  expect(textsOf(log)).toEqual(['old 1', 'old 2', 'live'])
})

test('what came live and stands in history too is there once', () => {
  const log = new Log({ entriesMax: 10 })
  expect(log.receive(arrival('one', 1))).toBeDefined()
  expect(log.receive(arrival('one', 1))).toBeUndefined()
  expect(textsOf(log)).toEqual(['one'])
})

test('a draft becomes the publication that it was, with the id it had', () => {
  const log = new Log({ entriesMax: 10 })
  const id = draft(log, 'hello')
  const message = log.receive(arrival('hello', 1, { author: me, fromHere: true }))
  expect(message?.id).toBe(id)
  expect(textsOf(log)).toEqual(['hello'])
  expect(log.find(id)?.delivery.kind).toBe('delivered')
})

test('an acknowledgement before the publication does not make it two', () => {
  const log = new Log({ entriesMax: 10 })
  log.setDelivery(draft(log, 'hello'), { kind: 'delivered' })
  log.receive(arrival('hello', 1, { author: me, fromHere: true }))
  expect(textsOf(log)).toEqual(['hello'])
})

test('a draft in doubt is settled when it turns up in what was recovered', () => {
  const log = new Log({ entriesMax: 10 })
  const id = draft(log, 'did it arrive?')
  log.setDelivery(id, { kind: 'unsure' })
  log.receive(arrival('did it arrive?', 7, { author: me, fromHere: true }))
  expect(log.find(id)?.delivery.kind).toBe('delivered')
})

test('the same words twice are two messages, settled in the order they were sent', () => {
  const log = new Log({ entriesMax: 10 })
  const ids = [draft(log, 'yes'), draft(log, 'yes')]
  const settled = [1, 2].map(
    (offset) => log.receive(arrival('yes', offset, { author: me, fromHere: true }))?.id,
  )
  expect(settled).toEqual(ids)
})

test('the same words from another tab of ours leave the draft alone', () => {
  const log = new Log({ entriesMax: 10 })
  draft(log, 'yes')
  log.receive(arrival('yes', 1, { author: me }))
  expect(textsOf(log)).toEqual(['yes', 'yes'])
})

test('what is on its way stays below what has arrived', () => {
  const log = new Log({ entriesMax: 10 })
  log.receive(arrival('one', 1))
  draft(log, 'mine')
  log.receive(arrival('two', 2))
  log.receive(arrival('without a place', undefined))
  expect(textsOf(log)).toEqual(['one', 'two', 'without a place', 'mine'])
})

test('a gap stays where it was found: older history comes above it, newer below', () => {
  const log = new Log({ entriesMax: 10 })
  log.receive(arrival('five', 5))
  log.gap('gap')
  log.receive(arrival('nine', 9))
  log.receive(arrival('eight', 8))
  log.receive(arrival('four', 4))
  expect(textsOf(log)).toEqual(['four', 'five', '(gap)', 'eight', 'nine'])
})

test('a new epoch goes on below the gap, though its offsets begin again', () => {
  const log = new Log({ entriesMax: 10 })
  log.receive(arrival('old', 500))
  log.gap('gap')
  log.receive(arrival('new', 1, { place: { epoch: 'b', offset: 1 } }))
  expect(textsOf(log)).toEqual(['old', '(gap)', 'new'])
})

test('two gaps in a row are one, and an empty log has none', () => {
  const log = new Log({ entriesMax: 10 })
  log.gap('gap')
  expect(textsOf(log)).toEqual([])
  log.receive(arrival('one', 1))
  log.gap('gap')
  log.gap('gap')
  expect(textsOf(log)).toEqual(['one', '(gap)'])
})

test('above its bound the oldest go, and may be read again', () => {
  const log = new Log({ entriesMax: 3 })
  for (const offset of [1, 2, 3, 4]) log.receive(arrival(String(offset), offset))
  expect(textsOf(log)).toEqual(['2', '3', '4'])
  expect(log.oldest).toEqual({ epoch: 'a', offset: 2 })
  expect(log.receive(arrival('1', 1))).toBeDefined()
})

test('without one stream, time is the order', () => {
  const log = new Log({ entriesMax: 10 })
  for (const [text, timeMs] of [
    ['b', 20],
    ['a', 10],
    ['c', 30],
  ] as const) {
    log.receiveByTime(arrival(text, undefined, { timeMs }))
  }
  draft(log, 'mine')
  log.receiveByTime(arrival('d', undefined, { timeMs: 99_999 }))
  expect(textsOf(log)).toEqual(['a', 'b', 'c', 'd', 'mine'])
})

test('a discarded draft is gone, and takes no publication any more', () => {
  const log = new Log({ entriesMax: 10 })
  log.discard(draft(log, 'never mind'))
  expect(textsOf(log)).toEqual([])
  expect(log.receive(arrival('never mind', 1, { author: me, fromHere: true }))).toBeDefined()
})
