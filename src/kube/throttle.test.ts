import { beforeEach, expect, test } from 'vitest'
import { Throttle } from './throttle.js'
import { ManualTime } from './time.testing.js'

let time: ManualTime
let throttle: Throttle
let entered: number[]

beforeEach(() => {
  time = new ManualTime()
  entered = []
  throttle = new Throttle({
    clock: time,
    after: time.after,
    perSecond: 50,
    burst: 100,
    atOnceMax: 4,
    waitingMax: 200,
  })
})

const never = () => new AbortController().signal
const settled = () => new Promise((resolve) => setImmediate(resolve))

/** Asks for `count` turns, each of which ends at once. */
async function ask(count: number): Promise<void> {
  const turns = Array.from({ length: count }, async (_, index) => {
    await throttle.enter(never())
    entered.push(index)
    throttle.release()
  })
  await Promise.race([Promise.all(turns), settled()])
}

test('P2: a hundred at once, then fifty a second, in the order of asking', async () => {
  await ask(150)
  expect(entered).toHaveLength(100)
  for (let step = 0; step < 50; step += 1) {
    time.move(20)
    await settled()
  }
  expect(entered).toHaveLength(150)
  expect(entered).toEqual(entered.toSorted((a, b) => a - b))
  expect(time.pending).toBe(0)
})

test('P2: four at a time', async () => {
  const turns = Array.from({ length: 6 }, (_, index) =>
    throttle.enter(never()).then(() => entered.push(index)),
  )
  await settled()
  expect(entered).toEqual([0, 1, 2, 3])
  throttle.release()
  throttle.release()
  await Promise.all(turns)
})

test('P2: when too many wait, the next one is told so', async () => {
  for (let index = 0; index < 204; index += 1) throttle.enter(never()).catch(() => {})
  await expect(throttle.enter(never())).rejects.toThrow('200 calls wait for their turn already')
})

test('P2: who gives up waiting takes no turn', async () => {
  for (let index = 0; index < 4; index += 1) await throttle.enter(never())
  const impatient = new AbortController()
  const given = throttle.enter(impatient.signal)
  const patient = throttle.enter(never())
  impatient.abort(new Error('enough'))
  await expect(given).rejects.toThrow('enough')
  throttle.release()
  await expect(patient).resolves.toBeUndefined()
  expect(throttle.waiting).toBe(0)
})
