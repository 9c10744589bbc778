import { describe, expect, test } from 'vitest'
import { claimAt, claimTexts } from './claims.js'

describe('claimAt', () => {
  test.each([
    ['a top-level claim', { team: 'red' }, 'team', 'red'],
    ['a nested claim', { realm_access: { roles: ['admin'] } }, 'realm_access.roles', ['admin']],
    ['an exact top-level name before descending', { 'a.b': 1, a: { b: 2 } }, 'a.b', 1],
    ['a URL as name', { 'https://acme.example/roles': ['x'] }, 'https://acme.example/roles', ['x']],
    ['null, unchanged', { team: null }, 'team', null],
    ['nothing below a scalar', { team: 'red' }, 'team.length', undefined],
    ['nothing inside an array', { team: ['red'] }, 'team.0', undefined],
    ['nothing for an empty path', { team: 'red' }, '', undefined],
  ])('finds %s', (_, claims, path, expected) => {
    expect(claimAt(claims, path)).toEqual(expected)
  })

  test.each([
    'constructor',
    '__proto__',
    'toString',
    'constructor.name',
    '__proto__.constructor',
    'hasOwnProperty',
  ])('does not treat the inherited %s as a claim', (path) => {
    expect(claimAt({ team: 'red' }, path)).toBeUndefined()
  })

  test('reads an own claim with the name __proto__', () => {
    const claims = JSON.parse('{"__proto__": {"role": "admin"}}') as Record<string, unknown>
    expect(claimAt(claims, '__proto__.role')).toBe('admin')
    expect(claimAt(claims, 'role')).toBeUndefined()
  })
})

describe('claimTexts', () => {
  test.each([
    ['red', ['red']],
    ['', ['']],
    [7, ['7']],
    [-0, ['0']],
    [true, ['true']],
    [
      ['red', 7, false],
      ['red', '7', 'false'],
    ],
    [[['nested']], []],
    [Number.POSITIVE_INFINITY, []],
    [Number.NaN, []],
    [null, []],
    [undefined, []],
    [{ a: 1 }, []],
  ])('%j offers %j', (value, expected) => {
    expect(claimTexts(value)).toEqual(expected)
  })
})
