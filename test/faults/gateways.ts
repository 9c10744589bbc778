// Faults 6, 16, 19 and 20, and 1 once more: gateway processes with clients at both doors.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import { ChatPerson } from './doors.js'
import { pauseBarMs, type Fault } from './fault.js'
import {
  bulk,
  clientsBack,
  countsTrueAgain,
  floodAt,
  gatewayPatience,
  leasesBarMs,
  openDoors,
} from './gateway-world.js'
import { measured, slack } from './measures.js'
import type { Sent } from './oracle.js'

/** Silence is noticed within 3 s; 15 s after that the gateway says so. */
const unreadyBarMs = 20_000

export const gatewayFaults: readonly Fault[] = [
  {
    number: 1,
    words: 'the master is killed: clients at both doors keep their sockets and miss nothing',
    run: async (fault) => {
      const { clients, world } = await openDoors(fault)
      const old = await world.trio.master()
      world.strike()
      await old.kill()
      await world.trio.failedOver(old)
      await world.someAcks(100)
      await world.pause(pauseBarMs)
      expect(clients.flat().map(({ losses }) => losses)).toEqual(clients.flat().map(() => 0))
      await world.judge()
    },
  },
  ...[
    { words: 'what the master says does not reach the gateways', rule: { holdToClient: true } },
    { words: 'what the gateways say does not reach the master', rule: { holdToServer: true } },
  ].map(({ rule, words }) => ({
    number: 6,
    words: `${words} for longer than 15 s: /readyz says so, and everybody stays`,
    run: async (fault: string) => {
      const { clients, gateways, world } = await openDoors(fault, { trio: { proxied: true } })
      const { proxy } = await world.trio.master()
      world.strike()
      const cutMs = performance.now()
      proxy?.set(rule)
      const reasons = await Promise.all(
        gateways.map((gateway) =>
          until('an unready gateway', () => gateway.unready(), { deadlineMs: unreadyBarMs * slack }),
        ),
      )
      const unreadyMs = performance.now() - cutMs
      // A failover must not empty the Service.
      expect(unreadyMs).toBeGreaterThan(15_000)
      for (const told of reasons)
        expect(told).toContainEqual(expect.stringMatching(/^Redis has been unavailable for \d+ s: /))
      await measured({ fault, what: 'unready', ms: unreadyMs, barMs: unreadyBarMs })
      const sinceMs = performance.now()
      await sleep(1_000)
      expect(world.load.ackedSince(sinceMs), 'acknowledged by nobody').toBe(0)
      proxy?.heal()
      world.healed()
      const healedMs = performance.now()
      for (const gateway of gateways)
        await until('a ready gateway', async () => (await gateway.unready()) === undefined, {
          deadlineMs: 75_000,
        })
      await measured({ fault, what: 'ready again', ms: performance.now() - healedMs })
      await world.someAcks(100)
      expect(clients.flat().map(({ losses }) => losses)).toEqual(clients.flat().map(() => 0))
      await world.judge(gatewayPatience)
    },
  })),
  {
    number: 16,
    words: 'a gateway is stopped until Redis cuts its subscriber off for what it does not read',
    run: async (fault) => {
      const config = ['client-output-buffer-limit pubsub 64kb 32kb 2']
      const { gateways, tenants, world } = await openDoors(fault, { trio: { config } })
      const master = await world.trio.master()
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const flood = await floodAt(second, tenants)
      world.strike()
      first.signal('SIGSTOP')
      const endMs = performance.now() + 15_000
      const channel = { tenant: 'red', channel: 'one' }
      let count = 0
      const cutOff = async () =>
        (await master.cli('CLIENT', 'LIST')).split('name=parley-subscriber').length - 1 < gateways.length
      // The system's own buffers take megabytes before Redis keeps a byte.
      while (performance.now() < endMs || !(await cutOff())) {
        count += 1
        const text = `red|one|flood-${count}`
        const sent: Sent = { text, ...channel, sentMs: performance.now(), outcome: 'open' }
        world.load.sent.push(sent)
        await flood.ask({ type: 'room_message', room: 'one', content: { t: text, bulk } })
        sent.outcome = 'acked'
        sent.ackedMs = performance.now()
        if (performance.now() > endMs + 30_000) throw new Error('Redis never cut the subscriber off')
        if (count > 600) await sleep(100)
      }
      flood.close()
      first.signal('SIGCONT')
      world.healed()
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 19,
    words: 'a gateway is killed: its clients go on at the other, its presence ends within 30 s',
    run: async (fault) => {
      const doors = await openDoors(fault)
      const { clients, gateways, leaveFirst, world } = doors
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const [, staying = []] = clients
      const witness = staying.find((client) => client instanceof ChatPerson)
      const members = async () => {
        const { members: found = [] } = (await witness?.ask({ type: 'presence', room: 'one' })) ?? {}
        return found.length
      }
      expect(await members()).toBe(4)
      world.strike()
      leaveFirst()
      await first.kill()
      const killedMs = performance.now()
      const presence = async () => {
        await until('more than the true members, or them', async () => (await members()) >= 4)
        // Those of the dead gateway are there twice until their leases end.
        await until('the true number of members', async () => (await members()) === 4, {
          deadlineMs: leasesBarMs * slack,
        })
        const ms = performance.now() - killedMs
        await measured({ fault, what: 'presence true again', ms, barMs: leasesBarMs })
      }
      const quotas = async () => {
        await clientsBack(doors, second)
        await countsTrueAgain(doors, second, { sinceMs: killedMs })
      }
      await world.someAcks(100)
      await Promise.all([presence(), quotas()])
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 19,
    words: 'the event loop of a gateway stands still for 6 s',
    run: async (fault) => {
      const { gateways, world } = await openDoors(fault)
      world.strike()
      gateways[0]?.signal('SIGSTOP')
      await sleep(6_000)
      gateways[0]?.signal('SIGCONT')
      world.healed()
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 20,
    words: 'a gateway is drained by SIGTERM: its clients go on at the other',
    run: async (fault) => {
      const doors = await openDoors(fault, { args: ['--drain-window', '3'] })
      const { clients, gateways, leaveFirst, world } = doors
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      world.strike()
      leaveFirst()
      first.signal('SIGTERM')
      expect(await first.exited()).toBe(0)
      const endedMs = performance.now()
      await clientsBack(doors, second)
      await countsTrueAgain(doors, second, { sinceMs: endedMs })
      await world.someAcks(100)
      expect(clients[1]?.map(({ losses }) => losses)).toEqual([0, 0, 0, 0])
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 20,
    words: 'a gateway is killed in the middle of its drain',
    run: async (fault) => {
      const doors = await openDoors(fault, { args: ['--drain-window', '20'] })
      const { gateways, leaveFirst, world } = doors
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      world.strike()
      leaveFirst()
      first.signal('SIGTERM')
      await sleep(1_000)
      await first.kill()
      const killedMs = performance.now()
      await clientsBack(doors, second)
      await countsTrueAgain(doors, second, { sinceMs: killedMs })
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
]
