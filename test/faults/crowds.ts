// Faults 25 and 26: a crowd that comes at once, and a crowd that does not read.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import type { Fault } from './fault.js'
import type { GatewayProcess, Vitals } from './gateway-process.js'
import {
  bulk,
  clientsPerTenant,
  countsTrueAgain,
  floodAt,
  gatewayPatience,
  openDoors,
} from './gateway-world.js'
import { measured } from './measures.js'
import { Visitor, type VisitorRefusal } from './visitor.js'

const mib = 2 ** 20

/** All in the rooms that Visitors are in. */
async function gather(count: number, port: number, token: string): Promise<Visitor[]> {
  const crowd = Array.from({ length: count }, () => new Visitor())
  for (let start = 0; start < crowd.length; start += 50)
    await Promise.all(crowd.slice(start, start + 50).map((one) => one.join(port, token)))
  return crowd
}

/** All of the crowd at once, as often as it takes: nobody came back with a gap, and whoever was refused was told when to come again. */
async function comeBack(
  fault: string,
  crowd: readonly Visitor[],
  to: { port: number; token: string },
): Promise<VisitorRefusal[]> {
  const startMs = performance.now()
  const came = await Promise.all(crowd.map((one) => one.joinUntilIn(to.port, to.token)))
  await measured({ fault, what: 'all back', ms: performance.now() - startMs })
  expect(
    came.filter((recovered) => !recovered),
    'came back with a gap',
  ).toEqual([])
  const refusals = crowd.flatMap((one) => one.refusals)
  await measured({ fault, what: 'refused (times)', ms: refusals.length })
  const unadvised = refusals.filter(({ retryAfterS = 0 }) => !(retryAfterS > 0))
  expect(unadvised, 'refused without being told when to come again').toEqual([])
  return refusals
}

/** Beyond what the heap was before: what a minute of any life leaves behind, and far less than a crowd that was not let go. */
const heapGrowthMaxBytes = 24 * mib
/** The allocator keeps pages that the heap has given up. */
const residentGrowthMaxBytes = 300 * mib
/** A retry, a reconnection, a question of an operator. */
const passing = 20

/** I6: the gateway holds no more than before. */
async function calmAgain(fault: string, gateway: GatewayProcess, before: Vitals): Promise<void> {
  const overOf = (now: Vitals) => ({
    sessions: now.sessions - before.sessions,
    subscriptions: now.subscriptions - before.subscriptions,
    channels: Math.max(0, now.channels - before.channels),
    timers: Math.max(0, now.timers - before.timers - passing),
    sockets: Math.max(0, now.sockets - before.sockets - passing),
    heapBytes: Math.max(0, now.heapBytes - before.heapBytes - heapGrowthMaxBytes),
    residentBytes: Math.max(0, now.residentBytes - before.residentBytes - residentGrowthMaxBytes),
  })
  let now = before
  const isCalm = async () => {
    now = await gateway.vitals()
    return Object.values(overOf(now)).every((over) => over === 0)
  }
  await until('a calm gateway', isCalm, { deadlineMs: 60_000, everyMs: 500 }).catch(() => {})
  const rest = { sessions: 0, subscriptions: 0, channels: 0, timers: 0, sockets: 0, heapBytes: 0 }
  expect(overOf(now), 'held beyond what it was before').toEqual({ ...rest, residentBytes: 0 })
  await measured({ fault, what: 'heap grew by (MiB)', ms: (now.heapBytes - before.heapBytes) / mib })
  const residentMiB = (now.residentBytes - before.residentBytes) / mib
  await measured({ fault, what: 'memory grew by, in the end (MiB)', ms: residentMiB })
}

export const crowdFaults: readonly Fault[] = [
  {
    number: 25,
    words: '2,000 clients lose their gateway at once and come back with what they missed',
    run: async (fault) => {
      // A crowd of readers: what few say is much.
      const doors = await openDoors(fault, { perSecond: 4 })
      const { gateways, leaveFirst, tenants, world } = doors
      const token = await tenants.token('red', 'crowd')
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const [firstBefore, secondBefore] = [await first.vitals(), await second.vitals()]
      const crowd = await gather(2_000, first.port, token)
      world.strike()
      leaveFirst()
      await first.kill()
      const startMs = performance.now()
      await comeBack(fault, crowd, { port: second.port, token })
      const red = clientsPerTenant + crowd.length
      await countsTrueAgain(doors, second, { sinceMs: startMs, connections: { red } })
      for (const one of crowd) one.leave()
      await world.someAcks(100)
      // It has its own clients and those of the other.
      const sum = (of: (vitals: Vitals) => number) => of(firstBefore) + of(secondBefore)
      await calmAgain(fault, second, {
        ...secondBefore,
        sessions: sum(({ sessions }) => sessions),
        subscriptions: sum(({ subscriptions }) => subscriptions),
        channels: sum(({ channels }) => channels),
        sockets: sum(({ sockets }) => sockets),
      })
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 25,
    words:
      '160 clients come back at once where 40 may connect per second: who is refused is told when to come',
    run: async (fault) => {
      const { gateways, leaveFirst, tenants, world } = await openDoors(fault, { connectsPerSecond: 40 })
      const token = await tenants.token('red', 'crowd')
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const crowd = Array.from({ length: 160 }, () => new Visitor())
      await Promise.all(crowd.map((one) => one.joinUntilIn(first.port, token)))
      world.strike()
      leaveFirst()
      await first.kill()
      const refusals = await comeBack(fault, crowd, { port: second.port, token })
      expect(refusals.length).toBeGreaterThan(0)
      for (const one of crowd) one.leave()
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 26,
    words: '200 clients read nothing: they are closed, and nobody else notices',
    run: async (fault) => {
      const { gateways, tenants, world } = await openDoors(fault)
      const token = await tenants.token('red', 'slow')
      const [first] = gateways
      if (!first) throw new Error('a gateway is needed')
      const before = await first.vitals()
      const slow = await gather(200, first.port, token)
      for (const one of slow) one.pause()
      world.strike()
      const flood = await floodAt(first, tenants)
      const content = { t: bulk.slice(0, 20_000) }
      // More than the kernel's buffers and an outbox hold; in a room of its own, so that the oracle need not know it.
      for (let count = 0; count < 300; count += 1)
        await flood.ask({ type: 'room_message', room: 'flood', content })
      flood.close()
      await sleep(12_000)
      const grownMiB = ((await first.memory()) - before.residentBytes) / mib
      await measured({ fault, what: 'memory grew by, at most (MiB)', ms: grownMiB })
      // 200 full outboxes and what surrounds them.
      expect(grownMiB).toBeLessThan(300)
      const codes = await Promise.all(slow.map((one) => one.codeAfterReading()))
      // 1006: it was closed with 3008, and had no room left to hear it.
      expect(codes.filter((code) => code !== 3008 && code !== 1006)).toEqual([])
      await world.someAcks(100)
      await calmAgain(fault, first, before)
      await world.judge()
    },
  },
]
