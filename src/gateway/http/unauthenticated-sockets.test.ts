import { expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { UnauthenticatedSockets } from './unauthenticated-sockets.js'

interface Holding {
  readonly address: string
  readonly sockets: number
  readonly total: number
}

function socketsOf(limits: { max: number; perAddress: number }) {
  const clock = new ManualClock()
  const majorities: Holding[] = []
  const sockets = new UnauthenticatedSockets(limits, {
    clock,
    onMajority: (holding) => majorities.push(holding),
  })
  const open = (address: string): boolean => sockets.add() && sockets.attribute(address)
  return { clock, majorities, sockets, open }
}

test('an address has a limit, and so have all together', () => {
  const { open, sockets } = socketsOf({ max: 5, perAddress: 2 })
  expect(['a', 'a', 'a', 'b', 'c', 'd'].map(open)).toEqual([true, true, false, true, true, false])
  // The refused socket of `a` counts until it is removed.
  expect([sockets.total, sockets.largest]).toEqual([5, 2])
  sockets.remove()
  expect(open('d')).toBe(true)
})

test('a socket that is removed leaves room for another', () => {
  const { open, sockets } = socketsOf({ max: 10, perAddress: 1 })
  expect([open('a'), open('a')]).toEqual([true, false])
  sockets.unattribute('a')
  sockets.remove()
  expect(open('a')).toBe(true)
})

test('warns of a majority once per minute, and not of a few sockets', () => {
  const { clock, majorities, open, sockets } = socketsOf({ max: 10_000, perAddress: 1_000 })
  for (let n = 0; n < 99; n += 1) open('a')
  expect(majorities).toEqual([])
  for (let n = 0; n < 400; n += 1) open('a')
  expect(majorities).toEqual([{ address: 'a', sockets: 100, total: 100 }])
  clock.advance(60_000)
  open('a')
  expect(majorities).toHaveLength(2)
  clock.advance(60_000)
  for (let n = 0; n < 600; n += 1) open(`other ${n}`)
  open('a')
  expect(majorities).toHaveLength(2)
  expect(sockets.total).toBe(1_101)
})

test('finds the largest of very many addresses', () => {
  const count = 200_000
  const { open, sockets } = socketsOf({ max: 2 * count, perAddress: 10 })
  for (let n = 0; n < count; n += 1) open(`address ${n}`)
  open('address 7')
  expect(sockets.largest).toBe(2)
})
