import { expect, test } from 'vitest'
import type { LogEntry, ChatMessage } from './message-log.js'
import { rowsOf } from './rows.js'

const noon = new Date(2026, 10, 22, 12).getTime()
const minuteMs = 60_000

function message(id: number, user: string, timeMs: number | undefined): ChatMessage {
  const author = { user, name: user, isOwn: false }
  return {
    kind: 'message',
    id,
    author,
    text: String(id),
    timeMs,
    position: undefined,
    delivery: { kind: 'delivered' },
  }
}

function kindsOf(entries: readonly LogEntry[], newFromId?: number): string[] {
  return rowsOf(entries, { newFromId }).map((row) =>
    row.kind === 'message' && row.startsGroup ? 'group-start' : row.kind,
  )
}

test('messages of one author form a group, until five minutes are between two of them', () => {
  const entries = [
    message(1, 'ada', noon),
    message(2, 'ada', noon + minuteMs),
    message(3, 'ada', noon + 10 * minuteMs),
  ]
  expect(kindsOf(entries)).toEqual(['day', 'group-start', 'message', 'group-start'])
  expect(kindsOf([message(1, 'ada', noon), message(2, 'bob', noon)])).toEqual([
    'day',
    'group-start',
    'group-start',
  ])
})

test('each day begins with a divider, and a group ends at midnight', () => {
  const midnight = new Date(2026, 10, 23).getTime()
  const entries = [message(1, 'ada', midnight - minuteMs), message(2, 'ada', midnight)]
  expect(kindsOf(entries)).toEqual(['day', 'group-start', 'day', 'group-start'])
})

test('messages without a time have no day divider', () => {
  expect(kindsOf([message(1, 'ada', undefined), message(2, 'ada', undefined)])).toEqual([
    'group-start',
    'message',
  ])
})

test('a gap marker and the divider above unread messages end a group', () => {
  const gap = { kind: 'gap', id: 9, text: 'gap' } as const
  expect(kindsOf([message(1, 'ada', noon), gap, message(2, 'ada', noon)])).toEqual([
    'day',
    'group-start',
    'gap',
    'group-start',
  ])
  expect(kindsOf([message(1, 'ada', noon), message(2, 'ada', noon)], 2)).toEqual([
    'day',
    'group-start',
    'new',
    'group-start',
  ])
})

test('no two rows share a key', () => {
  const entries = Array.from({ length: 20 }, (_, id) =>
    message(id, id % 3 ? 'ada' : 'bob', noon + id * 60 * minuteMs),
  )
  const keys = rowsOf(entries, { newFromId: 7 }).map((row) => row.key)
  expect(new Set(keys).size).toBe(keys.length)
})
