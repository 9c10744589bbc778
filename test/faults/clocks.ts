// Fault 18: the clock of the node that is promoted goes otherwise than that of the old master, and of the gateways.
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import { ChatPerson } from './doors.js'
import { pauseBarMs, type Fault } from './fault.js'
import {
  clientsPerTenant,
  countsTrueAgain,
  gatewayPatience,
  leasesBarMs,
  openDoors,
} from './gateway-world.js'
import { measured, slack } from './measures.js'

/**
 * As `faketime` does it, which Debian's Redis cannot bear: its jemalloc asks for the time before there is a libfaketime, so the allocator
 * must be the C library's. Only the time of day is moved: intervals stay true.
 */
const clockOff = (minutes: number): Record<string, string> => ({
  // `$LIB` is for the dynamic linker.
  LD_PRELOAD: '/usr/$LIB/faketime/libfaketime.so.1 libc.so.6',
  FAKETIME: `${minutes < 0 ? '' : '+'}${minutes * 60}s`,
  DONT_FAKE_MONOTONIC: '1',
})

export const clockFaults: readonly Fault[] = [-10, 10].map((minutes) => ({
  number: 18,
  words: `the master is killed, and the clock of the next one is ${Math.abs(minutes)} minutes ${minutes < 0 ? 'behind' : 'ahead'}`,
  run: async (fault: string) => {
    const doors = await openDoors(fault, { trio: { replicaEnv: clockOff(minutes) } })
    const { clients, gateways, world } = doors
    const [first] = gateways
    if (!first) throw new Error('a gateway is needed')
    const witness = clients.flat().find((client) => client instanceof ChatPerson)
    const members = async () =>
      ((await witness?.ask({ type: 'presence', room: 'one' }))?.members ?? []).length
    expect(await members()).toBe(clientsPerTenant)
    const old = await world.trio.master()
    world.strike()
    await old.kill()
    const killedMs = performance.now()
    const next = await world.trio.failedOver(old)
    const offMs = Number((await next.cli('TIME')).split('\n')[0]) * 1_000 - Date.now()
    expect(Math.round(offMs / 60_000), 'minutes by which its clock is off').toBe(minutes)
    await world.someAcks(100)
    await world.pause(pauseBarMs)
    const presence = async () => {
      await until('all members', async () => (await members()) === clientsPerTenant, {
        deadlineMs: leasesBarMs * slack,
      })
      const ms = performance.now() - killedMs
      await measured({ fault, what: 'presence true again', ms, barMs: leasesBarMs })
    }
    await Promise.all([presence(), countsTrueAgain(doors, first, { sinceMs: killedMs })])
    expect(clients.flat().map(({ losses }) => losses)).toEqual(clients.flat().map(() => 0))
    // Ten minutes ahead are more than idempotency keys live.
    await world.judge({ ...gatewayPatience, keysForgotten: minutes > 0 })
  },
}))
