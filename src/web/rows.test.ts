import { expect, test } from 'vitest'
import type { Entry, Message } from './message-log.js'
import { rowsOf } from './rows.js'

const noon = new Date(2026, 10, 22, 12).getTime()
const minuteMs = 60_000

function message(id: number, user: string, timeMs: number | undefined): Message {
  const author = { user, name: user, own: false }
  return {
    kind: 'message',
    id,
    author,
    text: String(id),
    timeMs,
    place: undefined,
    delivery: { kind: 'delivered' },
  }
}

function kindsOf(entries: readonly Entry[], newFromId?: number): string[] {
  return rowsOf(entries, { newFromId }).map((row) =>
    row.kind === 'message' && row.leads ? 'leads' : row.kind,
  )
}

test('neighbours of one author stand together, for a while', () => {
  const entries = [
    message(1, 'ada', noon),
    message(2, 'ada', noon + minuteMs),
    message(3, 'ada', noon + 10 * minuteMs),
  ]
  expect(kindsOf(entries)).toEqual(['day', 'leads', 'message', 'leads'])
  expect(kindsOf([message(1, 'ada', noon), message(2, 'bob', noon)])).toEqual(['day', 'leads', 'leads'])
})

test('each day begins with a line, and a group does not reach over midnight', () => {
  const midnight = new Date(2026, 10, 23).getTime()
  const entries = [message(1, 'ada', midnight - minuteMs), message(2, 'ada', midnight)]
  expect(kindsOf(entries)).toEqual(['day', 'leads', 'day', 'leads'])
})

test('messages without a time have no day', () => {
  expect(kindsOf([message(1, 'ada', undefined), message(2, 'ada', undefined)])).toEqual(['leads', 'message'])
})

test('gaps and the line before what is new end a group', () => {
  const gap = { kind: 'gap', id: 9, words: 'gap' } as const
  expect(kindsOf([message(1, 'ada', noon), gap, message(2, 'ada', noon)])).toEqual([
    'day',
    'leads',
    'gap',
    'leads',
  ])
  expect(kindsOf([message(1, 'ada', noon), message(2, 'ada', noon)], 2)).toEqual([
    'day',
    'leads',
    'new',
    'leads',
  ])
})

test('no two rows share a key', () => {
  const entries = Array.from({ length: 20 }, (_, id) =>
    message(id, id % 3 ? 'ada' : 'bob', noon + id * 60 * minuteMs),
  )
  const keys = rowsOf(entries, { newFromId: 7 }).map((row) => row.key)
  expect(new Set(keys).size).toBe(keys.length)
})
