// Faults 25 and 26: many clients that connect at once, and many clients that do not read.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import type { Fault } from './fault.js'
import type { GatewayProcess, ResourceUsage } from './gateway-process.js'
import {
  largeText,
  clientsPerTenant,
  waitForCorrectCounts,
  openFloodClient,
  gatewayVerifyOptions,
  startGateways,
} from './gateway-setup.js'
import { recordMeasurement } from './measurements.js'
import { MinimalChatClient, type Refusal } from './minimal-chat-client.js'

const mib = 2 ** 20

/** Connects `count` clients, 50 at a time. */
async function connectAll(count: number, port: number, token: string): Promise<MinimalChatClient[]> {
  const clients = Array.from({ length: count }, () => new MinimalChatClient())
  for (let start = 0; start < clients.length; start += 50)
    await Promise.all(clients.slice(start, start + 50).map((one) => one.join(port, token)))
  return clients
}

/**
 * Reconnects all clients at once, with retries. Expects that every client recovered without a gap, and that
 * every refusal named the time of the next attempt. Returns the refusals.
 */
async function reconnectAll(
  fault: string,
  clients: readonly MinimalChatClient[],
  to: { port: number; token: string },
): Promise<Refusal[]> {
  const startMs = performance.now()
  const recoveries = await Promise.all(clients.map((one) => one.joinWithRetries(to.port, to.token)))
  await recordMeasurement({ fault, what: 'all back', ms: performance.now() - startMs })
  expect(
    recoveries.filter((recovered) => !recovered),
    'reconnected with a gap',
  ).toEqual([])
  const refusals = clients.flatMap((one) => one.refusals)
  await recordMeasurement({ fault, what: 'refused (times)', ms: refusals.length })
  const withoutAdvice = refusals.filter(({ retryAfterS = 0 }) => !(retryAfterS > 0))
  expect(withoutAdvice, 'refused without a time for the next attempt').toEqual([])
  return refusals
}

/**
 * Tolerated growth of the heap: what a minute of normal operation retains, and far less than the sessions of
 * all clients.
 */
const heapGrowthMaxBytes = 24 * mib
/** Tolerated growth of the resident memory. The allocator keeps pages that the heap has released. */
const residentGrowthMaxBytes = 300 * mib
/**
 * Tolerated number of timers and sockets of short-lived work, such as retries, reconnections and requests of
 * operators.
 */
const shortLivedMax = 20

/** I6: waits until the gateway holds no more resources than before. Fails after 60 s. */
async function expectReleased(fault: string, gateway: GatewayProcess, before: ResourceUsage): Promise<void> {
  const overOf = (now: ResourceUsage) => ({
    sessions: now.sessions - before.sessions,
    subscriptions: now.subscriptions - before.subscriptions,
    channels: Math.max(0, now.channels - before.channels),
    timers: Math.max(0, now.timers - before.timers - shortLivedMax),
    sockets: Math.max(0, now.sockets - before.sockets - shortLivedMax),
    heapBytes: Math.max(0, now.heapBytes - before.heapBytes - heapGrowthMaxBytes),
    residentBytes: Math.max(0, now.residentBytes - before.residentBytes - residentGrowthMaxBytes),
  })
  let current = before
  const isReleased = async () => {
    current = await gateway.resourceUsage()
    return Object.values(overOf(current)).every((over) => over === 0)
  }
  await until('a gateway that released its resources', isReleased, {
    deadlineMs: 60_000,
    everyMs: 500,
  }).catch(() => {})
  const none = { sessions: 0, subscriptions: 0, channels: 0, timers: 0, sockets: 0, heapBytes: 0 }
  expect(overOf(current), 'held in addition to before').toEqual({ ...none, residentBytes: 0 })
  await recordMeasurement({
    fault,
    what: 'heap grew by (MiB)',
    ms: (current.heapBytes - before.heapBytes) / mib,
  })
  const residentMiB = (current.residentBytes - before.residentBytes) / mib
  await recordMeasurement({ fault, what: 'memory grew in the end by (MiB)', ms: residentMiB })
}

export const manyClientsFaults: readonly Fault[] = [
  {
    number: 25,
    title: '2,000 clients lose their gateway at once, reconnect and recover what they missed',
    run: async (fault) => {
      // Each publication goes to 2,000 clients, so the rate is low.
      const setup = await startGateways(fault, { perSecond: 4 })
      const { gateways, redirectFirst, tenants, scenario } = setup
      const token = await tenants.token('red', 'many')
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const [firstBefore, secondBefore] = [await first.resourceUsage(), await second.resourceUsage()]
      const clients = await connectAll(2_000, first.port, token)
      scenario.markFault()
      redirectFirst()
      await first.kill()
      const startMs = performance.now()
      await reconnectAll(fault, clients, { port: second.port, token })
      const red = clientsPerTenant + clients.length
      await waitForCorrectCounts(setup, second, { sinceMs: startMs, connections: { red } })
      for (const one of clients) one.disconnect()
      await scenario.waitForAcks(100)
      // The gateway now has its own clients and those of the other one.
      const sum = (of: (resourceUsage: ResourceUsage) => number) => of(firstBefore) + of(secondBefore)
      await expectReleased(fault, second, {
        ...secondBefore,
        sessions: sum(({ sessions }) => sessions),
        subscriptions: sum(({ subscriptions }) => subscriptions),
        channels: sum(({ channels }) => channels),
        sockets: sum(({ sockets }) => sockets),
      })
      await scenario.verify(gatewayVerifyOptions)
    },
  },
  {
    number: 25,
    title:
      '160 clients reconnect at once with a limit of 40 per second: each refusal names the time of the next attempt',
    run: async (fault) => {
      const { gateways, redirectFirst, tenants, scenario } = await startGateways(fault, {
        connectsPerSecond: 40,
      })
      const token = await tenants.token('red', 'many')
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const clients = Array.from({ length: 160 }, () => new MinimalChatClient())
      await Promise.all(clients.map((one) => one.joinWithRetries(first.port, token)))
      scenario.markFault()
      redirectFirst()
      await first.kill()
      const refusals = await reconnectAll(fault, clients, { port: second.port, token })
      expect(refusals.length).toBeGreaterThan(0)
      for (const one of clients) one.disconnect()
      await scenario.waitForAcks(100)
      await scenario.verify(gatewayVerifyOptions)
    },
  },
  {
    number: 26,
    title: '200 clients read nothing: they are closed, and other clients are not affected',
    run: async (fault) => {
      const { gateways, tenants, scenario } = await startGateways(fault)
      const token = await tenants.token('red', 'slow')
      const [first] = gateways
      if (!first) throw new Error('a gateway is needed')
      const before = await first.resourceUsage()
      const slow = await connectAll(200, first.port, token)
      for (const one of slow) one.pause()
      scenario.markFault()
      const flood = await openFloodClient(first, tenants)
      const content = { t: largeText.slice(0, 20_000) }
      // More than the kernel's buffers and an outbox hold. The messages go to a separate room, which the
      // oracle ignores.
      for (let count = 0; count < 300; count += 1)
        await flood.ask({ type: 'room_message', room: 'flood', content })
      flood.close()
      await sleep(12_000)
      const grownMiB = ((await first.memory()) - before.residentBytes) / mib
      await recordMeasurement({ fault, what: 'memory grew at most by (MiB)', ms: grownMiB })
      // The memory of 200 full outboxes, with overhead.
      expect(grownMiB).toBeLessThan(300)
      const codes = await Promise.all(slow.map((one) => one.closeCodeAfterResume()))
      // 1006 means that the gateway closed with 3008, but the full socket could not transmit the close frame.
      expect(codes.filter((code) => code !== 3008 && code !== 1006)).toEqual([])
      await scenario.waitForAcks(100)
      await expectReleased(fault, first, before)
      await scenario.verify()
    },
  },
]
