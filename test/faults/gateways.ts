// Faults 1, 6, 16, 19 and 20 with gateway processes and clients of both endpoints.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import { ReconnectingChatClient } from './endpoint-clients.js'
import { pauseTargetMs, type Fault } from './fault.js'
import {
  largeText,
  waitForClients,
  waitForCorrectCounts,
  openFloodClient,
  gatewayVerifyOptions,
  leaseTargetMs,
  startGateways,
} from './gateway-setup.js'
import { recordMeasurement, slack } from './measurements.js'
import type { PublishRecord } from './oracle.js'

/** A gateway detects a silent connection within 3 s, and becomes unready 15 s later. */
const unreadyTargetMs = 20_000

export const gatewayFaults: readonly Fault[] = [
  {
    number: 1,
    title: 'the master is killed: clients of both endpoints keep their sockets and miss nothing',
    run: async (fault) => {
      const { clients, scenario } = await startGateways(fault)
      const old = await scenario.trio.master()
      scenario.markFault()
      await old.kill()
      await scenario.trio.failedOver(old)
      await scenario.waitForAcks(100)
      await scenario.measurePause(pauseTargetMs)
      expect(clients.flat().map(({ losses }) => losses)).toEqual(clients.flat().map(() => 0))
      await scenario.verify()
    },
  },
  ...[
    { title: 'replies of the master do not reach the gateways', rule: { holdToClient: true } },
    { title: 'commands of the gateways do not reach the master', rule: { holdToServer: true } },
  ].map(({ rule, title }) => ({
    number: 6,
    title: `${title} for more than 15 s: /readyz reports it, and all clients stay connected`,
    run: async (fault: string) => {
      const { clients, gateways, scenario } = await startGateways(fault, { trio: { proxied: true } })
      const { proxy } = await scenario.trio.master()
      scenario.markFault()
      const cutMs = performance.now()
      proxy?.set(rule)
      const reasons = await Promise.all(
        gateways.map((gateway) =>
          until('an unready gateway', () => gateway.unready(), { deadlineMs: unreadyTargetMs * slack }),
        ),
      )
      const unreadyMs = performance.now() - cutMs
      // A failover is shorter than that: it must not remove all pods from the Service.
      expect(unreadyMs).toBeGreaterThan(15_000)
      for (const reported of reasons)
        expect(reported).toContainEqual(expect.stringMatching(/^Redis has been unavailable for \d+ s: /))
      await recordMeasurement({ fault, what: 'unready', ms: unreadyMs, targetMs: unreadyTargetMs })
      const sinceMs = performance.now()
      await sleep(1_000)
      expect(scenario.load.ackedSince(sinceMs), 'acknowledged while Redis was unreachable').toBe(0)
      proxy?.heal()
      scenario.markHealed()
      const healedMs = performance.now()
      for (const gateway of gateways)
        await until('a ready gateway', async () => (await gateway.unready()) === undefined, {
          deadlineMs: 75_000,
        })
      await recordMeasurement({ fault, what: 'ready again', ms: performance.now() - healedMs })
      await scenario.waitForAcks(100)
      expect(clients.flat().map(({ losses }) => losses)).toEqual(clients.flat().map(() => 0))
      await scenario.verify(gatewayVerifyOptions)
    },
  })),
  {
    number: 16,
    title: 'a gateway is stopped until Redis disconnects its subscriber because it does not read',
    run: async (fault) => {
      const config = ['client-output-buffer-limit pubsub 64kb 32kb 2']
      const { gateways, tenants, scenario } = await startGateways(fault, { trio: { config } })
      const master = await scenario.trio.master()
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const flood = await openFloodClient(second, tenants)
      scenario.markFault()
      first.signal('SIGSTOP')
      const endMs = performance.now() + 15_000
      const channel = { tenant: 'red', channel: 'one' }
      let count = 0
      const isDisconnected = async () =>
        (await master.cli('CLIENT', 'LIST')).split('name=parley-subscriber').length - 1 < gateways.length
      // The kernel's buffers take megabytes before Redis has to buffer anything.
      while (performance.now() < endMs || !(await isDisconnected())) {
        count += 1
        const text = `red|one|flood-${count}`
        const sent: PublishRecord = { text, ...channel, sentMs: performance.now(), outcome: 'open' }
        scenario.load.sent.push(sent)
        await flood.ask({ type: 'room_message', room: 'one', content: { t: text, largeText } })
        sent.outcome = 'acked'
        sent.ackedMs = performance.now()
        if (performance.now() > endMs + 30_000) throw new Error('Redis did not disconnect the subscriber')
        if (count > 600) await sleep(100)
      }
      flood.close()
      first.signal('SIGCONT')
      scenario.markHealed()
      await scenario.waitForAcks(100)
      await scenario.verify(gatewayVerifyOptions)
    },
  },
  {
    number: 19,
    title: 'a gateway is killed: its clients continue at the other one, and its presence ends within 30 s',
    run: async (fault) => {
      const setup = await startGateways(fault)
      const { clients, gateways, redirectFirst, scenario } = setup
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const [, remaining = []] = clients
      const witness = remaining.find((client) => client instanceof ReconnectingChatClient)
      const members = async () => {
        const { members: found = [] } = (await witness?.ask({ type: 'presence', room: 'one' })) ?? {}
        return found.length
      }
      expect(await members()).toBe(4)
      scenario.markFault()
      redirectFirst()
      await first.kill()
      const killedMs = performance.now()
      const presence = async () => {
        await until('at least the actual members', async () => (await members()) >= 4)
        // The clients of the dead gateway are listed twice until the leases of their old connections expire.
        await until('the actual number of members', async () => (await members()) === 4, {
          deadlineMs: leaseTargetMs * slack,
        })
        const ms = performance.now() - killedMs
        await recordMeasurement({ fault, what: 'presence correct again', ms, targetMs: leaseTargetMs })
      }
      const quotas = async () => {
        await waitForClients(setup, second)
        await waitForCorrectCounts(setup, second, { sinceMs: killedMs })
      }
      await scenario.waitForAcks(100)
      await Promise.all([presence(), quotas()])
      await scenario.verify(gatewayVerifyOptions)
    },
  },
  {
    number: 19,
    title: 'the event loop of a gateway is blocked for 6 s',
    run: async (fault) => {
      const { gateways, scenario } = await startGateways(fault)
      scenario.markFault()
      gateways[0]?.signal('SIGSTOP')
      await sleep(6_000)
      gateways[0]?.signal('SIGCONT')
      scenario.markHealed()
      await scenario.waitForAcks(100)
      await scenario.verify(gatewayVerifyOptions)
    },
  },
  {
    number: 20,
    title: 'a gateway is drained by SIGTERM: its clients continue at the other one',
    run: async (fault) => {
      const setup = await startGateways(fault, { args: ['--drain-window', '3'] })
      const { clients, gateways, redirectFirst, scenario } = setup
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      scenario.markFault()
      redirectFirst()
      first.signal('SIGTERM')
      expect(await first.exited()).toBe(0)
      const endedMs = performance.now()
      await waitForClients(setup, second)
      await waitForCorrectCounts(setup, second, { sinceMs: endedMs })
      await scenario.waitForAcks(100)
      expect(clients[1]?.map(({ losses }) => losses)).toEqual([0, 0, 0, 0])
      await scenario.verify(gatewayVerifyOptions)
    },
  },
  {
    number: 20,
    title: 'a gateway is killed in the middle of its drain',
    run: async (fault) => {
      const setup = await startGateways(fault, { args: ['--drain-window', '20'] })
      const { gateways, redirectFirst, scenario } = setup
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      scenario.markFault()
      redirectFirst()
      first.signal('SIGTERM')
      await sleep(1_000)
      await first.kill()
      const killedMs = performance.now()
      await waitForClients(setup, second)
      await waitForCorrectCounts(setup, second, { sinceMs: killedMs })
      await scenario.waitForAcks(100)
      await scenario.verify(gatewayVerifyOptions)
    },
  },
]
