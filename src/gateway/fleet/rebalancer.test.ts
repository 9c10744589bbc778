import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { openRule, policyOf } from '../../session/session.testing.js'
import type { Session } from '../../session/session.js'
import type { FleetMember } from './rebalance-policy.js'
import { startOps } from '../http/ops.testing.js'
import { Rebalancer } from './rebalancer.js'

const waitOptions = { timeout: 20_000, interval: 5 }

interface Load {
  readonly connectsPerSecond?: number
  readonly windowMs?: number
  /** Guests of a second tenant, which connected before. */
  readonly others?: number
}

/**
 * Starts a rebalancer for a gateway with 120 guests of one tenant, beside an empty gateway. Ends with its
 * test.
 */
async function loadedGateway({ connectsPerSecond = 10_000, windowMs = 100, others = 0 }: Load = {}) {
  const { limits } = policyOf()
  const connections = { ...limits.connections, connectsPerSecond }
  const ops = await startOps([
    policyOf({ channels: [openRule('general')], limits: { ...limits, connections } }),
    policyOf({ name: 'beta', tenantId: 't2' }),
  ])
  const { gateway } = ops
  const sessions: Session[] = []
  const otherSessions: Session[] = []
  for (let index = 0; index < others; index += 1)
    otherSessions.push(await ops.enter(`other-${index}`, 'demo/beta'))
  for (let index = 0; index < 120; index += 1) sessions.push(await ops.enter(`guest-${index}`))
  let reads = 0
  let members: (() => FleetMember[]) | undefined = () => [
    { id: 'this', connections: gateway.context.sessions.size, ready: true, ageMs: 0 },
    { id: 'that', connections: 0, ready: true, ageMs: 0 },
  ]
  const fleet = async () => {
    reads += 1
    return members?.()
  }
  const loads = async () => [
    {
      id: 'this',
      ready: true,
      usage: new Map([...gateway.tenants].map(({ key, sessions: { size } }) => [key, { connections: size }])),
    },
    { id: 'that', ready: true, usage: new Map<string, { connections: number }>() },
  ]
  const stop = new AbortController()
  const running = new Rebalancer(gateway, { id: 'this', fleet, loads, windowMs }).run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running
  })
  return {
    gateway,
    /** The indices of the closed sessions. */
    closed: () => sessions.flatMap((session, index) => (session.closed ? [index] : [])),
    closedOthers: () => otherSessions.filter(({ closed }) => closed).length,
    loseHeartbeats: () => void (members = undefined),
    /** Resolves when the heartbeats were read `count` more times. */
    async readAgain(count: number) {
      const until = reads + count
      await vi.waitFor(() => expect(reads).toBeGreaterThanOrEqual(until), waitOptions)
    },
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

describe('Rebalancer', () => {
  test('closes the longest connected sessions with 3001, and counts them', async () => {
    const { closed, gateway } = await loadedGateway()
    await vi.waitFor(() => expect(closed()).toEqual(upTo(60)), waitOptions)
    const text = async () => gateway.metrics.registry.metrics()
    await vi.waitFor(
      async () => expect(await text()).toContain('parley_rebalanced_sessions_total 60'),
      waitOptions,
    )
    expect(await text()).toContain('parley_closes_total{endpoint="chat",code="3001"} 60')
  })

  test('closes no more sessions of a tenant than it may connect again within the window', async () => {
    const { closed, readAgain } = await loadedGateway({ connectsPerSecond: 400 })
    await vi.waitFor(() => expect(closed()).toEqual(upTo(20)), waitOptions)
    // By then the round has ended.
    await readAgain(2)
    expect(closed()).toEqual(upTo(20))
  })

  test('closes no session of a tenant that is not above its share', async () => {
    const { closed, closedOthers, readAgain } = await loadedGateway({ others: 50 })
    await vi.waitFor(() => expect(closed()).toEqual(upTo(60)), waitOptions)
    // By then the round has ended.
    await readAgain(2)
    expect(closedOthers()).toBe(0)
  })

  test('closes no session while the heartbeats cannot be read', async () => {
    const { closed, loseHeartbeats, readAgain } = await loadedGateway()
    loseHeartbeats()
    await readAgain(15)
    expect(closed()).toEqual([])
  })

  test('leaves the rest of a round to a drain that starts during it', async () => {
    const { closed, gateway } = await loadedGateway({ windowMs: 1_000 })
    await vi.waitFor(() => expect(closed()).not.toEqual([]), waitOptions)
    gateway.startDraining()
    await vi.waitFor(async () => {
      const counted = await gateway.metrics.rebalancedSessions.get()
      expect(counted.values[0]?.value).toBeGreaterThan(0)
    }, waitOptions)
    expect(closed().length).toBeLessThan(60)
  })
})
