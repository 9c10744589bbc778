import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { openRule, policyOf } from '../../session/session.testing.js'
import type { Session } from '../../session/session.js'
import type { FleetMember } from './rebalance-policy.js'
import { startOps } from '../http/ops.testing.js'
import { Rebalancer } from './rebalancer.js'

const patience = { timeout: 20_000, interval: 5 }

interface Crowd {
  readonly connectsPerSecond?: number
  readonly windowMs?: number
}

/** A gateway with 120 guests of one tenant beside an empty one, and what becomes of them. Ends with its test. */
async function crowded({ connectsPerSecond = 10_000, windowMs = 100 }: Crowd = {}) {
  const { limits } = policyOf()
  const connections = { ...limits.connections, connectsPerSecond }
  const ops = await startOps([policyOf({ channels: [openRule('general')], limits: { ...limits, connections } })])
  const { gateway } = ops
  const sessions: Session[] = []
  for (let index = 0; index < 120; index += 1) sessions.push(await ops.enter(`guest-${index}`))
  let looks = 0
  let members: (() => FleetMember[]) | undefined = () => [
    { id: 'this', connections: gateway.context.sessions.size, ready: true, ageMs: 0 },
    { id: 'that', connections: 0, ready: true, ageMs: 0 },
  ]
  const fleet = async () => {
    looks += 1
    return members?.()
  }
  const stop = new AbortController()
  const running = new Rebalancer(gateway, { id: 'this', fleet, windowMs }).run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running
  })
  return {
    gateway,
    /** Indices of those that were sent away. */
    gone: () => sessions.flatMap((session, index) => (session.closed ? [index] : [])),
    lose: () => void (members = undefined),
    /** So many further looks have been had. */
    async looked(count: number) {
      const until = looks + count
      await vi.waitFor(() => expect(looks).toBeGreaterThanOrEqual(until), patience)
    },
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

describe('Rebalancer', () => {
  test('sends those away that are here longest, with 3001, and counts them', async () => {
    const { gateway, gone } = await crowded()
    await vi.waitFor(() => expect(gone()).toEqual(upTo(60)), patience)
    const text = async () => gateway.metrics.registry.metrics()
    await vi.waitFor(
      async () => expect(await text()).toContain('parley_rebalanced_sessions_total 60'),
      patience,
    )
    expect(await text()).toContain('parley_closes_total{endpoint="chat",code="3001"} 60')
  })

  test('of each tenant no more than may connect again in that time', async () => {
    const { gone, looked } = await crowded({ connectsPerSecond: 400 })
    await vi.waitFor(() => expect(gone()).toEqual(upTo(20)), patience)
    // The round is over.
    await looked(2)
    expect(gone()).toEqual(upTo(20))
  })

  test('nobody while nothing is known of the others', async () => {
    const { gone, looked, lose } = await crowded()
    lose()
    await looked(15)
    expect(gone()).toEqual([])
  })

  test('leaves the rest of a round to the drain that begins in the middle of it', async () => {
    const { gateway, gone } = await crowded({ windowMs: 1_000 })
    await vi.waitFor(() => expect(gone()).not.toEqual([]), patience)
    gateway.startDraining()
    await vi.waitFor(async () => {
      const counted = await gateway.metrics.rebalancedSessions.get()
      expect(counted.values[0]?.value).toBeGreaterThan(0)
    }, patience)
    expect(gone().length).toBeLessThan(60)
  })
})
