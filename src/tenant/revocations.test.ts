import { describe, expect, test } from 'vitest'
import { isOfUser, mergeRevocations, revocationName, RevocationSet, type Revocation } from './revocations.js'

const nowMs = 1_000_000
const token = { user: 'ann', jti: 'id-1', issuedAtMs: 500_000, tokenExpiresAtMs: 2_000_000 }

describe('find()', () => {
  test.each<[why: string, Revocation]>([
    ['the user', { user: 'ann' }],
    ['the id', { jti: 'id-1' }],
    ['the time of issue', { issuedBeforeMs: 500_001 }],
    ['the time of issue of the user', { user: 'ann', issuedBeforeMs: 500_001 }],
    ['a revocation that has not ended', { user: 'ann', expiresAtMs: nowMs + 1 }],
  ])('a token is refused because of %s', (_why, revocation) => {
    expect(new RevocationSet([revocation]).find(token, nowMs)).toEqual(revocation)
  })

  test.each<[why: string, Revocation]>([
    ['another user', { user: 'bob' }],
    ['the user in other letters', { user: 'Ann' }],
    ['a user with more letters', { user: 'ann ' }],
    ['the user as an id', { jti: 'ann' }],
    ['the id as a user', { user: 'id-1' }],
    ['another id', { jti: 'id-2' }],
    ['the same time of issue', { issuedBeforeMs: 500_000 }],
    ['the time of issue of another user', { user: 'bob', issuedBeforeMs: nowMs }],
    ['the same time of issue of the user', { user: 'ann', issuedBeforeMs: 500_000 }],
    ['a revocation that has ended', { user: 'ann', expiresAtMs: nowMs }],
    ['a user called like an object’s property', { user: '__proto__' }],
  ])('a token is not refused because of %s', (_why, revocation) => {
    expect(new RevocationSet([revocation]).find(token, nowMs)).toBeUndefined()
  })

  test('a token without iat counts as issued before every time', () => {
    const set = new RevocationSet([{ issuedBeforeMs: 1 }])
    expect(set.find({ ...token, issuedAtMs: 0 }, nowMs)).toBeDefined()
  })

  test('a guest is refused by its id alone', () => {
    const guest = { user: 'guest:g1' }
    expect(new RevocationSet([{ issuedBeforeMs: nowMs }]).find(guest, nowMs)).toBeUndefined()
    expect(new RevocationSet([{ user: 'guest:g1' }]).find(guest, nowMs)).toBeDefined()
    expect(new RevocationSet([{ user: 'g1' }]).find(guest, nowMs)).toBeUndefined()
  })

  test('an ended revocation does not hide another one', () => {
    const set = new RevocationSet([{ user: 'ann', expiresAtMs: nowMs }, { jti: 'id-1' }])
    expect(set.find(token, nowMs)).toEqual({ jti: 'id-1' })
  })
})

test('a revocation of the user is found before that of a token, because it is final', () => {
  const set = new RevocationSet([{ jti: 'id-1' }, { user: 'ann' }])
  const found = set.find(token, nowMs)
  expect(found && isOfUser(found)).toBe(true)
})

test('of two revocations with one name, the later times hold', () => {
  const known = { user: 'ann', issuedBeforeMs: 10, expiresAtMs: 100 }
  expect(mergeRevocations(known, { user: 'ann', issuedBeforeMs: 5, expiresAtMs: 200 })).toEqual({
    user: 'ann',
    issuedBeforeMs: 10,
    expiresAtMs: 200,
  })
  expect(mergeRevocations(known, { user: 'ann', issuedBeforeMs: 20 })).toEqual({
    user: 'ann',
    issuedBeforeMs: 20,
  })
  expect([...new RevocationSet([known, { ...known, issuedBeforeMs: 1 }])]).toEqual([known])
})

test('names tell all kinds apart, whatever users and ids contain', () => {
  const all: Revocation[] = [
    { user: 'a' },
    { jti: 'a' },
    { user: 'a', issuedBeforeMs: 1 },
    { issuedBeforeMs: 1 },
    { user: 'tenant' },
    { user: 'jti:a' },
    { jti: 'user:a' },
    { jti: 'issued:a:b' },
  ]
  expect(new Set(all.map(revocationName)).size).toBe(all.length)
  const set = new RevocationSet(all)
  expect(set.size).toBe(all.length)
  for (const one of all) expect(set.get(revocationName(one))).toEqual(one)
  for (const one of all) set.remove(revocationName(one))
  expect([set.size, [...set]]).toEqual([0, []])
})

test('removeExpired() removes exactly what has ended', () => {
  const set = new RevocationSet([{ jti: 'a', expiresAtMs: 10 }, { jti: 'b', expiresAtMs: 11 }, { jti: 'c' }])
  expect(set.expiredNames(10)).toEqual(['jti:a'])
  set.removeExpired(10)
  expect([...set]).toEqual([{ jti: 'b', expiresAtMs: 11 }, { jti: 'c' }])
})

test('a name of an unknown kind names nothing', () => {
  const all: Revocation[] = [
    { user: 'a', issuedBeforeMs: 1 },
    { user: 'a' },
    { jti: 'a' },
    { issuedBeforeMs: 1 },
  ]
  const set = new RevocationSet(all)
  for (const name of ['later-kind:a', 'a', '', ':a', 'constructor:a', '__proto__:a', 'tenant:a']) {
    expect(set.get(name)).toBeUndefined()
    set.remove(name)
  }
  expect(set.size).toBe(all.length)
})
