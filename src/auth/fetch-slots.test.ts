import { describe, expect, test } from 'vitest'
import { FetchSlots } from './fetch-slots.js'

/** Starts a fetch that ends when the test says so. */
function begin(slots: FetchSlots, signal = new AbortController().signal) {
  const state = { running: false, end: (): void => {}, done: Promise.resolve() }
  state.done = slots.run(signal, () => {
    state.running = true
    return new Promise<void>((resolve) => (state.end = resolve))
  })
  return state
}

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

describe('FetchSlots', () => {
  test('runs as many fetches as it has slots, and the others in order', async () => {
    const slots = new FetchSlots(2)
    const fetches = [begin(slots), begin(slots), begin(slots), begin(slots)]
    await turn()
    expect(fetches.map(({ running }) => running)).toEqual([true, true, false, false])
    fetches[1]?.end()
    await turn()
    expect(fetches.map(({ running }) => running)).toEqual([true, true, true, false])
    for (const fetch of fetches) {
      fetch.end()
      await turn()
    }
    await Promise.all(fetches.map(({ done }) => done))
  })

  test('a tenant that uses all its slots takes none of another tenant', async () => {
    const all = new FetchSlots(3)
    const [hostile, other] = [new FetchSlots(2, all), new FetchSlots(2, all)]
    const fetches = Array.from({ length: 10 }, () => begin(hostile))
    const desired = begin(other)
    await turn()
    expect(fetches.filter(({ running }) => running)).toHaveLength(2)
    expect(desired.running).toBe(true)
  })

  test('a fetch that is aborted while it waits gives up its place', async () => {
    const slots = new FetchSlots(1)
    const first = begin(slots)
    const stop = new AbortController()
    const second = begin(slots, stop.signal)
    const third = begin(slots)
    stop.abort(new Error('too late'))
    await expect(second.done).rejects.toThrow('too late')
    first.end()
    await turn()
    expect([second.running, third.running]).toEqual([false, true])
  })

  test('a failed fetch frees its slot', async () => {
    const slots = new FetchSlots(1)
    const fail = () => Promise.reject(new Error('broken'))
    await expect(slots.run(new AbortController().signal, fail)).rejects.toThrow('broken')
    const next = begin(slots)
    await turn()
    expect(next.running).toBe(true)
  })
})
