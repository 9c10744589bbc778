// Fault 18: the clock of the promoted node differs from that of the old master and of the gateways.
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import { ReconnectingChatClient } from './endpoint-clients.js'
import { pauseTargetMs, type Fault } from './fault.js'
import {
  clientsPerTenant,
  waitForCorrectCounts,
  gatewayVerifyOptions,
  leaseTargetMs,
  startGateways,
} from './gateway-setup.js'
import { recordMeasurement, slack } from './measurements.js'

/**
 * Environment that shifts the clock with libfaketime. It does the same as the command `faketime`, but also
 * replaces the allocator with that of the C library: the jemalloc of Debian's Redis reads the time before
 * libfaketime is loaded. Only the time of day is shifted; the monotonic clock is not.
 */
const clockOff = (minutes: number): Record<string, string> => ({
  // The dynamic linker expands `$LIB`.
  LD_PRELOAD: '/usr/$LIB/faketime/libfaketime.so.1 libc.so.6',
  FAKETIME: `${minutes < 0 ? '' : '+'}${minutes * 60}s`,
  DONT_FAKE_MONOTONIC: '1',
})

export const clockFaults: readonly Fault[] = [-10, 10].map((minutes) => ({
  number: 18,
  title: `the master is killMaster, and the clock of the new master is ${Math.abs(minutes)} minutes ${minutes < 0 ? 'behind' : 'ahead'}`,
  run: async (fault: string) => {
    const setup = await startGateways(fault, { trio: { replicaEnv: clockOff(minutes) } })
    const { clients, gateways, scenario } = setup
    const [first] = gateways
    if (!first) throw new Error('a gateway is needed')
    const witness = clients.flat().find((client) => client instanceof ReconnectingChatClient)
    const members = async () =>
      ((await witness?.ask({ type: 'presence', room: 'one' }))?.members ?? []).length
    expect(await members()).toBe(clientsPerTenant)
    const old = await scenario.trio.master()
    scenario.markFault()
    await old.kill()
    const killedMs = performance.now()
    const next = await scenario.trio.failedOver(old)
    const offMs = Number((await next.cli('TIME')).split('\n')[0]) * 1_000 - Date.now()
    expect(Math.round(offMs / 60_000), 'minutes by which the clock of the new master is off').toBe(minutes)
    await scenario.waitForAcks(100)
    await scenario.measurePause(pauseTargetMs)
    const presence = async () => {
      await until('all members', async () => (await members()) === clientsPerTenant, {
        deadlineMs: leaseTargetMs * slack,
      })
      const ms = performance.now() - killedMs
      await recordMeasurement({ fault, what: 'presence correct again', ms, targetMs: leaseTargetMs })
    }
    await Promise.all([presence(), waitForCorrectCounts(setup, first, { sinceMs: killedMs })])
    expect(clients.flat().map(({ losses }) => losses)).toEqual(clients.flat().map(() => 0))
    // Idempotency keys expire after less than ten minutes, so a clock that is ahead by that much expires
    // them.
    await scenario.verify({ ...gatewayVerifyOptions, keysForgotten: minutes > 0 })
  },
}))
