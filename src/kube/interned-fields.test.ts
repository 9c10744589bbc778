import { expect, test } from 'vitest'
import { SharedParts } from './interned-fields.js'

const fields = (uid: string) => ({
  'f:metadata': { 'f:labels': { 'f:a': {} }, 'f:ownerReferences': { [`k:{"uid":"${uid}"}`]: {} } },
  'f:data': { '.': {}, 'f:uri': {} },
})

test('equal maps are the same, and what differs is itself', () => {
  const parts = new SharedParts()
  const [one, again, other] = ['1', '1', '2'].map((uid) => parts.of(fields(uid))) as ReturnType<
    typeof fields
  >[]
  expect(one).toEqual(fields('1'))
  expect(other).toEqual(fields('2'))
  expect(again).toBe(one)
  expect(other?.['f:data']).toBe(one?.['f:data'])
  expect(other?.['f:metadata']['f:labels']).toBe(one?.['f:metadata']['f:labels'])
})

test('what was forgotten is only shared no more', () => {
  const parts = new SharedParts()
  const before = parts.of({ a: {} })
  for (let index = 0; index < 5_000; index += 1) parts.of({ [`k${index}`]: {} })
  expect(parts.of({ a: {} })).toEqual(before)
})

test.each([[undefined], [null], ['text'], [[{}]]])('%j is left as it is', (value) => {
  expect(new SharedParts().of(value)).toBe(value)
})
