import { expect, test } from 'vitest'
import { ArrivalPacer } from './arrival-pacer.js'

const nextTick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * Starts `count` handshakes and returns the numbers of those whose turn has come, in order. The array grows
 * later.
 */
function startHandshakes(pacer: ArrivalPacer, count: number): number[] {
  const started: number[] = []
  for (let n = 0; n < count; n += 1) {
    const turn = pacer.waitForTurn({ tenant: 'a', address: '192.0.2.1' })
    const start = (): void => void started.push(n)
    if (turn) turn.then(start, expect.unreachable)
    else start()
  }
  return started
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

test('up to 32 handshakes start at once', () => {
  const pacer = new ArrivalPacer()
  expect(startHandshakes(pacer, 32)).toEqual(upTo(32))
  expect(pacer.waiting).toBe(0)
})

test('further handshakes wait: 32 start in each tick of the event loop, in order of arrival', async () => {
  const pacer = new ArrivalPacer()
  const started = startHandshakes(pacer, 100)
  expect([started, pacer.waiting]).toEqual([upTo(32), 68])
  await nextTick()
  expect(started).toEqual(upTo(64))
  await nextTick()
  await nextTick()
  expect([started, pacer.waiting]).toEqual([upTo(100), 0])
})

test('a handshake that arrives while others wait starts after them', async () => {
  const pacer = new ArrivalPacer()
  startHandshakes(pacer, 64)
  await nextTick()
  const late = startHandshakes(pacer, 1)
  expect(late).toEqual([])
  await nextTick()
  expect(late).toEqual([0])
})

test('a later tick starts as many handshakes again', async () => {
  const pacer = new ArrivalPacer()
  startHandshakes(pacer, 32)
  await nextTick()
  expect(startHandshakes(pacer, 32)).toHaveLength(32)
})

test('those who wait take turns by tenant, and within a tenant by address', async () => {
  const pacer = new ArrivalPacer()
  startHandshakes(pacer, 32)
  const started: string[] = []
  const wait = (tenant: string, address: string): void => {
    pacer
      .waitForTurn({ tenant, address })
      ?.then(() => started.push(`${tenant} ${address}`), expect.unreachable)
  }
  for (let n = 0; n < 100; n += 1) wait('flood', 'x')
  wait('flood', 'y')
  wait('b', 'z')
  await nextTick()
  expect(started).toHaveLength(32)
  expect(started.slice(0, 4)).toEqual(['flood x', 'b z', 'flood y', 'flood x'])
})
