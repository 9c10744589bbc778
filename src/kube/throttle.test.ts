import { beforeEach, expect, test } from 'vitest'
import { Throttle } from './throttle.js'
import { ManualTime } from './time.testing.js'

let time: ManualTime
let throttle: Throttle
let admitted: number[]

beforeEach(() => {
  time = new ManualTime()
  admitted = []
  throttle = new Throttle({
    clock: time,
    after: time.after,
    perSecond: 50,
    burst: 100,
    concurrencyMax: 4,
    waitingMax: 200,
  })
})

const never = () => new AbortController().signal
const settled = () => new Promise((resolve) => setImmediate(resolve))

/** Queues `count` calls, each of which ends immediately. */
async function queueCalls(count: number): Promise<void> {
  const calls = Array.from({ length: count }, async (_, index) => {
    await throttle.acquire(never())
    admitted.push(index)
    throttle.release()
  })
  await Promise.race([Promise.all(calls), settled()])
}

test('P2: a hundred calls start immediately, then fifty per second, in the order of queueing', async () => {
  await queueCalls(150)
  expect(admitted).toHaveLength(100)
  for (let step = 0; step < 50; step += 1) {
    time.move(20)
    await settled()
  }
  expect(admitted).toHaveLength(150)
  expect(admitted).toEqual(admitted.toSorted((a, b) => a - b))
  expect(time.pending).toBe(0)
})

test('P2: at most four calls are in flight', async () => {
  const calls = Array.from({ length: 6 }, (_, index) =>
    throttle.acquire(never()).then(() => admitted.push(index)),
  )
  await settled()
  expect(admitted).toEqual([0, 1, 2, 3])
  throttle.release()
  throttle.release()
  await Promise.all(calls)
})

test('P2: a call is rejected when the queue is full', async () => {
  for (let index = 0; index < 204; index += 1) throttle.acquire(never()).catch(() => {})
  await expect(throttle.acquire(never())).rejects.toThrow('200 calls to the API server are queued already')
})

test('P2: a call that is aborted while queued uses no slot', async () => {
  for (let index = 0; index < 4; index += 1) await throttle.acquire(never())
  const aborted = new AbortController()
  const first = throttle.acquire(aborted.signal)
  const second = throttle.acquire(never())
  aborted.abort(new Error('enough'))
  await expect(first).rejects.toThrow('enough')
  throttle.release()
  await expect(second).resolves.toBeUndefined()
  expect(throttle.waiting).toBe(0)
})

test('calls of different groups take turns, and urgent ones come first', async () => {
  for (let index = 0; index < 4; index += 1) await throttle.acquire(never())
  const order: string[] = []
  const call = (name: string, priority: 'urgent' | 'normal' | 'background', group: string) =>
    void throttle.acquire(never(), { priority, group }).then(() => {
      order.push(name)
      throttle.release()
    })
  for (const name of ['a1', 'a2', 'a3']) call(name, 'normal', 'a')
  call('status of b', 'background', 'b')
  call('b1', 'normal', 'b')
  call('list', 'urgent', '')
  throttle.release()
  while (order.length < 6) await settled()
  expect(order).toEqual(['list', 'a1', 'b1', 'status of b', 'a2', 'a3'])
})

test('a call that is aborted while queued leaves its place', async () => {
  for (let index = 0; index < 4; index += 1) await throttle.acquire(never())
  const aborted = new AbortController()
  const call = throttle.acquire(aborted.signal, { priority: 'background', group: 'a' })
  expect(throttle.waiting).toBe(1)
  aborted.abort(new Error('enough'))
  await expect(call).rejects.toThrow('enough')
  expect(throttle.waiting).toBe(0)
})
