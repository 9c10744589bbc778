import { expect, test } from 'vitest'
import { isRecord, parseJson } from './json.js'

test('parseJson() returns the value, or undefined when the text is not JSON', () => {
  expect(parseJson('null')).toBeNull()
  expect(parseJson('{"a":[1]}')).toEqual({ a: [1] })
  for (const text of ['', ' ', '{', '{}{}', 'NaN', "{'a':1}", '\ufeff{}', '"\n"', '01', '[1,]']) {
    expect(parseJson(text)).toBeUndefined()
  }
})

test('isRecord() is true for objects only, not for arrays or null', () => {
  expect([{}, { a: 1 }].every(isRecord)).toBe(true)
  expect([null, undefined, [], 'text', 1].some(isRecord)).toBe(false)
})
