import { expect, test } from 'vitest'
import { type ReceivedMessage, MessageLog } from './message-log.js'

const ada = { user: 'ada', name: 'ada', isOwn: false }
const ownAuthor = { user: 'me', name: 'me', isOwn: true }

function received(
  text: string,
  offset: number | undefined,
  more: Partial<ReceivedMessage> = {},
): ReceivedMessage {
  const position = offset === undefined ? undefined : { epoch: 'a', offset }
  return { author: ada, text, timeMs: 1_000, position, isFromThisPage: false, ...more }
}

function textsOf(log: MessageLog): string[] {
  return log.entries.map((entry) => (entry.kind === 'gap' ? `(${entry.text})` : entry.text))
}

function draft(log: MessageLog, text: string): number {
  return log.draft(ownAuthor, text, { timeMs: 2_000, delivery: { kind: 'sending' } }).id
}

test('history that arrives late is inserted before live messages', () => {
  const log = new MessageLog({ entriesMax: 10 })
  log.receive(received('live', 3))
  for (const offset of [2, 1]) log.receive(received(`old ${offset}`, offset))
  expect(textsOf(log)).toEqual(['old 1', 'old 2', 'live'])
})

test('a message that arrives live and in history is shown once', () => {
  const log = new MessageLog({ entriesMax: 10 })
  expect(log.receive(received('one', 1))).toBeDefined()
  expect(log.receive(received('one', 1))).toBeUndefined()
  expect(textsOf(log)).toEqual(['one'])
})

test('a draft keeps its id when its publication arrives', () => {
  const log = new MessageLog({ entriesMax: 10 })
  const id = draft(log, 'hello')
  const message = log.receive(received('hello', 1, { author: ownAuthor, isFromThisPage: true }))
  expect(message?.id).toBe(id)
  expect(textsOf(log)).toEqual(['hello'])
  expect(log.find(id)?.delivery.kind).toBe('delivered')
})

test('a reply that arrives before the publication does not duplicate the message', () => {
  const log = new MessageLog({ entriesMax: 10 })
  log.setDelivery(draft(log, 'hello'), { kind: 'delivered' })
  log.receive(received('hello', 1, { author: ownAuthor, isFromThisPage: true }))
  expect(textsOf(log)).toEqual(['hello'])
})

test('an unconfirmed draft is delivered when its publication is recovered', () => {
  const log = new MessageLog({ entriesMax: 10 })
  const id = draft(log, 'did it arrive?')
  log.setDelivery(id, { kind: 'unconfirmed' })
  log.receive(received('did it arrive?', 7, { author: ownAuthor, isFromThisPage: true }))
  expect(log.find(id)?.delivery.kind).toBe('delivered')
})

test('two drafts with the same text are matched in the order in which they were sent', () => {
  const log = new MessageLog({ entriesMax: 10 })
  const ids = [draft(log, 'yes'), draft(log, 'yes')]
  const settled = [1, 2].map(
    (offset) => log.receive(received('yes', offset, { author: ownAuthor, isFromThisPage: true }))?.id,
  )
  expect(settled).toEqual(ids)
})

test('the same text from another tab of the user does not match a draft', () => {
  const log = new MessageLog({ entriesMax: 10 })
  draft(log, 'yes')
  log.receive(received('yes', 1, { author: ownAuthor }))
  expect(textsOf(log)).toEqual(['yes', 'yes'])
})

test('drafts stay below the messages that arrived', () => {
  const log = new MessageLog({ entriesMax: 10 })
  log.receive(received('one', 1))
  draft(log, 'mine')
  log.receive(received('two', 2))
  log.receive(received('without a position', undefined))
  expect(textsOf(log)).toEqual(['one', 'two', 'without a position', 'mine'])
})

test('a gap marker keeps its place: older history is inserted above it, newer below', () => {
  const log = new MessageLog({ entriesMax: 10 })
  log.receive(received('five', 5))
  log.gap('gap')
  log.receive(received('nine', 9))
  log.receive(received('eight', 8))
  log.receive(received('four', 4))
  expect(textsOf(log)).toEqual(['four', 'five', '(gap)', 'eight', 'nine'])
})

test('messages of a new epoch follow the gap marker, although their offsets start again', () => {
  const log = new MessageLog({ entriesMax: 10 })
  log.receive(received('old', 500))
  log.gap('gap')
  log.receive(received('new', 1, { position: { epoch: 'b', offset: 1 } }))
  expect(textsOf(log)).toEqual(['old', '(gap)', 'new'])
})

test('two gap markers in a row are one, and an empty log has none', () => {
  const log = new MessageLog({ entriesMax: 10 })
  log.gap('gap')
  expect(textsOf(log)).toEqual([])
  log.receive(received('one', 1))
  log.gap('gap')
  log.gap('gap')
  expect(textsOf(log)).toEqual(['one', '(gap)'])
})

test('above the limit the oldest entries are removed, and can be received again', () => {
  const log = new MessageLog({ entriesMax: 3 })
  for (const offset of [1, 2, 3, 4]) log.receive(received(String(offset), offset))
  expect(textsOf(log)).toEqual(['2', '3', '4'])
  expect(log.oldest).toEqual({ epoch: 'a', offset: 2 })
  expect(log.receive(received('1', 1))).toBeDefined()
})

test('receiveByTime orders messages by time', () => {
  const log = new MessageLog({ entriesMax: 10 })
  for (const [text, timeMs] of [
    ['b', 20],
    ['a', 10],
    ['c', 30],
  ] as const) {
    log.receiveByTime(received(text, undefined, { timeMs }))
  }
  draft(log, 'mine')
  log.receiveByTime(received('d', undefined, { timeMs: 99_999 }))
  expect(textsOf(log)).toEqual(['a', 'b', 'c', 'd', 'mine'])
})

test('a discarded draft is removed and matches no publication', () => {
  const log = new MessageLog({ entriesMax: 10 })
  log.discard(draft(log, 'never mind'))
  expect(textsOf(log)).toEqual([])
  expect(log.receive(received('never mind', 1, { author: ownAuthor, isFromThisPage: true }))).toBeDefined()
})
