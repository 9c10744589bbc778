import { describe, expect, test } from 'vitest'
import type { ChannelRef } from '../broker/broker.js'
import type { Clock } from '../time.js'
import { MemoryPresence } from './memory.js'
import { presenceContract } from './presence.contract.js'
import { presenceTtlMs } from './presence.js'

class ManualClock implements Clock {
  #nowMs = 0

  epochMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }
}

presenceContract('MemoryPresence', async () => {
  const clock = new ManualClock()
  const presence = new MemoryPresence({ clock })
  return {
    presence,
    // One process is one gateway, so both presences are the same object.
    peer: presence,
    advance: async (ms) => clock.advance(ms),
    close: async () => presence.close(),
  }
})

describe('MemoryPresence', () => {
  const ann = { user: 'ann', client: 'c1' }
  const refOf = (n: number): ChannelRef => ({ tenantId: 't', channel: `c${n}` })

  function openOne() {
    const clock = new ManualClock()
    return { clock, presence: new MemoryPresence({ clock }) }
  }

  test('an entry expires exactly at the end of its time to live', async () => {
    const { clock, presence } = openOne()
    await presence.add(refOf(1), 's1', ann)
    clock.advance(presenceTtlMs - 1)
    expect(await presence.stats(refOf(1))).toEqual({ clients: 1, users: 1 })
    clock.advance(1)
    expect(await presence.stats(refOf(1))).toEqual({ clients: 0, users: 0 })
  })

  test('channels whose joined names are equal stay separate', async () => {
    const { presence } = openOne()
    await presence.add({ tenantId: 'a', channel: 'b:c' }, 's1', ann)
    expect(await presence.stats({ tenantId: 'a:b', channel: 'c' })).toEqual({ clients: 0, users: 0 })
  })

  test('a channel without sessions uses no memory', async () => {
    const { presence } = openOne()
    await presence.add(refOf(1), 's1', ann)
    await presence.remove(refOf(1), 's1')
    expect(presence.held()).toEqual({ channels: 0, clients: 0 })
  })

  test('reading a channel uses no memory', async () => {
    const { presence } = openOne()
    await presence.stats(refOf(1))
    await presence.members(refOf(1), { limit: 1 })
    await presence.refresh(refOf(1), new Map())
    expect(presence.held()).toEqual({ channels: 0, clients: 0 })
  })

  test('sweeps expired channels that are not read, a bounded number per call', async () => {
    const { clock, presence } = openOne()
    for (let n = 0; n < 1500; n += 1) await presence.add(refOf(n), 's1', ann)
    clock.advance(presenceTtlMs)
    await presence.add(refOf(2000), 's1', ann)
    presence.sweep()
    expect(presence.held()).toEqual({ channels: 501, clients: 501 })
    presence.sweep()
    expect(presence.held()).toEqual({ channels: 1, clients: 1 })
  })
})
