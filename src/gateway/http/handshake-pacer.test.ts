import { expect, test } from 'vitest'
import { HandshakePacer } from './handshake-pacer.js'

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Sends `count` through; gives who has passed, in order. */
function rush(turnstile: HandshakePacer, count: number): number[] {
  const passed: number[] = []
  for (let n = 0; n < count; n += 1) {
    const turn = turnstile.waitForTurn()
    const pass = (): void => void passed.push(n)
    if (turn) turn.then(pass, expect.unreachable)
    else pass()
  }
  return passed
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

test('few at once go through at once', () => {
  const turnstile = new HandshakePacer()
  expect(rush(turnstile, 32)).toEqual(upTo(32))
  expect(turnstile.waiting).toBe(0)
})

test('more wait: 32 go through in each turn of the event loop, in the order in which they came', async () => {
  const turnstile = new HandshakePacer()
  const passed = rush(turnstile, 100)
  expect([passed, turnstile.waiting]).toEqual([upTo(32), 68])
  await nextTurn()
  expect(passed).toEqual(upTo(64))
  await nextTurn()
  await nextTurn()
  expect([passed, turnstile.waiting]).toEqual([upTo(100), 0])
})

test('who comes while others wait goes behind them', async () => {
  const turnstile = new HandshakePacer()
  rush(turnstile, 64)
  await nextTurn()
  const late = rush(turnstile, 1)
  expect(late).toEqual([])
  await nextTurn()
  expect(late).toEqual([0])
})

test('in a later turn as many go through again', async () => {
  const turnstile = new HandshakePacer()
  rush(turnstile, 32)
  await nextTurn()
  expect(rush(turnstile, 32)).toHaveLength(32)
})
