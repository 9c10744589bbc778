import { expect, test } from 'vitest'
import { WorkQueue } from '../../session/sharing/work-queue.js'
import { ArrivalPacer, perTickMax, type ArrivalPacerOptions } from './arrival-pacer.js'

const nextTick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const newPacer = (
  scheduler: ArrivalPacerOptions['scheduler'] = { hasCredit: () => true, charge() {} },
): ArrivalPacer => new ArrivalPacer({ scheduler, workOf: () => undefined })

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

test('a few handshakes start at once', () => {
  const pacer = newPacer()
  expect(startHandshakes(pacer, perTickMax)).toEqual(upTo(perTickMax))
  expect(pacer.waiting).toBe(0)
})

test('further handshakes wait: as many start in each tick of the event loop, in order of arrival', async () => {
  const pacer = newPacer()
  const started = startHandshakes(pacer, 3 * perTickMax + 1)
  expect([started, pacer.waiting]).toEqual([upTo(perTickMax), 2 * perTickMax + 1])
  await nextTick()
  expect(started).toEqual(upTo(2 * perTickMax))
  await nextTick()
  await nextTick()
  expect([started, pacer.waiting]).toEqual([upTo(3 * perTickMax + 1), 0])
})

test('a handshake that arrives while others wait starts after them', async () => {
  const pacer = newPacer()
  startHandshakes(pacer, 2 * perTickMax)
  await nextTick()
  const late = startHandshakes(pacer, 1)
  expect(late).toEqual([])
  await nextTick()
  expect(late).toEqual([0])
})

test('a later tick starts as many handshakes again', async () => {
  const pacer = newPacer()
  startHandshakes(pacer, perTickMax)
  await nextTick()
  expect(startHandshakes(pacer, perTickMax)).toHaveLength(perTickMax)
})

test('those who wait take turns by tenant, and within a tenant by address', async () => {
  const pacer = newPacer()
  startHandshakes(pacer, perTickMax)
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
  expect(started).toEqual(['flood x', 'b z', 'flood y', 'flood x'])
})

test('a tenant that has used its time waits, while another one starts', async () => {
  const [busy, idle] = [new WorkQueue(), new WorkQueue()]
  let hasBusyCredit = false
  const charged: WorkQueue[] = []
  const pacer = new ArrivalPacer({
    scheduler: {
      hasCredit: (queue) => queue !== busy || hasBusyCredit,
      charge: (queue) => void charged.push(queue),
    },
    workOf: (tenant) => ({ busy, idle })[tenant],
  })
  const started: string[] = []
  const arrive = (tenant: string): void => {
    const turn = pacer.waitForTurn({ tenant, address: '192.0.2.1' })
    if (turn) turn.then(() => started.push(`${tenant}, later`), expect.unreachable)
    else started.push(tenant)
  }
  for (const tenant of ['busy', 'idle', 'busy', 'unknown']) arrive(tenant)
  expect([started, pacer.waiting]).toEqual([['idle', 'unknown'], 2])
  await nextTick()
  expect(pacer.waiting).toBe(2)
  hasBusyCredit = true
  await nextTick()
  expect(started.slice(2)).toEqual(['busy, later', 'busy, later'])
  expect(charged.filter((queue) => queue === busy)).toHaveLength(2)
})
