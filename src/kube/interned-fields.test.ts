import { expect, test } from 'vitest'
import { InternedFields } from './interned-fields.js'

const fields = (uid: string) => ({
  'f:metadata': { 'f:labels': { 'f:a': {} }, 'f:ownerReferences': { [`k:{"uid":"${uid}"}`]: {} } },
  'f:data': { '.': {}, 'f:uri': {} },
})

test('equal maps become one object, and different maps stay different', () => {
  const interned = new InternedFields()
  const [one, again, other] = ['1', '1', '2'].map((uid) => interned.intern(fields(uid))) as ReturnType<
    typeof fields
  >[]
  expect(one).toEqual(fields('1'))
  expect(other).toEqual(fields('2'))
  expect(again).toBe(one)
  expect(other?.['f:data']).toBe(one?.['f:data'])
  expect(other?.['f:metadata']['f:labels']).toBe(one?.['f:metadata']['f:labels'])
})

test('a map that was evicted is returned equal, but no longer shared', () => {
  const interned = new InternedFields()
  const before = interned.intern({ a: {} })
  for (let index = 0; index < 5_000; index += 1) interned.intern({ [`k${index}`]: {} })
  expect(interned.intern({ a: {} })).toEqual(before)
})

test.each([[undefined], [null], ['text'], [[{}]]])('%j is returned as it is', (value) => {
  expect(new InternedFields().intern(value)).toBe(value)
})
