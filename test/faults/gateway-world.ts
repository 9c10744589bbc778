// The stage of faults with gateway processes: clients at both doors, and what the gateways themselves say of all that they hold.
import { expect } from 'vitest'
import { leaseKey } from '../../src/redis/keys.js'
import { TestProxy } from '../support/proxy.js'
import { startSentinelTrio, until, type TrioOptions } from '../support/redis-processes.js'
import { ChatPerson, sdkClient, Tenants, type DoorClient } from './doors.js'
import { GatewayProcess } from './gateway-process.js'
import { Load } from './load.js'
import { measured, slack } from './measures.js'
import { World, worldChannels } from './world.js'

export interface Doors {
  readonly world: World
  readonly gateways: readonly GatewayProcess[]
  readonly tenants: Tenants
  /** Those of the first gateway, and those of the second. */
  readonly clients: readonly (readonly DoorClient[])[]
  /** As a balancer does with a gateway that is not ready: new connections of its clients lead to the other. */
  leaveFirst(): void
}

export interface DoorsOptions {
  readonly trio?: TrioOptions
  /** Of each gateway's command line. */
  readonly args?: readonly string[]
  /** Of each tenant. Default: more than anybody needs. */
  readonly connectsPerSecond?: number
  /** Publishes of each client. */
  readonly perSecond?: number
}

export const tenantNames = ['red', 'blue'] as const
export type TenantName = (typeof tenantNames)[number]

/** Those of `openDoors`, wherever they are connected. */
export const clientsPerTenant = 4

/** Two gateways; at each, of each tenant, one at the chat door who also publishes and one with the SDK. */
export async function openDoors(fault: string, options: DoorsOptions = {}): Promise<Doors> {
  const trio = await startSentinelTrio({ downAfterMs: 1_000, ...options.trio })
  const { connectsPerSecond } = options
  const tenants = await Tenants.write(connectsPerSecond === undefined ? {} : { connectsPerSecond })
  const start = () => GatewayProcess.start(trio.url, tenants.folder, options.args)
  const gateways = [await start(), await start()]
  const balancers = await Promise.all(gateways.map(({ port }) => new TestProxy(port).start()))
  const clients = await Promise.all(
    balancers.map(async ({ port: at }, index) => {
      const made = tenantNames.map(async (tenant) => {
        const common = { tenant, channels: worldChannels, at, tenants }
        return [
          await ChatPerson.open({ ...common, name: `chat-${tenant}-${index}` }),
          await sdkClient({ ...common, name: `sdk-${tenant}-${index}` }),
        ]
      })
      return (await Promise.all(made)).flat()
    }),
  )
  const all = clients.flat()
  const load = new Load({
    publishers: all.map(({ publisher }) => publisher),
    channels: worldChannels,
    perSecond: options.perSecond ?? 12,
  })
  const world = new World({
    fault,
    redis: trio,
    load,
    logs: () => all.flatMap(({ logs }) => logs),
    tenantIdOf: (tenant) => tenants.idOf(tenant),
  })
  world.alsoClose(async () => {
    for (const client of all) client.close()
    await Promise.all(balancers.map((balancer) => balancer.stop()))
    await Promise.all(gateways.map((gateway) => gateway.kill()))
    await tenants.remove()
  })
  load.start()
  await world.someAcks(100)
  return {
    world,
    gateways,
    tenants,
    clients,
    leaveFirst() {
      const [first] = balancers
      const [, second] = gateways
      if (second) first?.retarget(second.port)
    },
  }
}

/** 30 kB. */
export const bulk = 'x'.repeat(30_000)

/** Publishes in rooms of its own, which the oracle need not know. */
export function floodAt(gateway: GatewayProcess, tenants: Tenants): Promise<ChatPerson> {
  return ChatPerson.open({ name: 'flood', tenant: 'red', channels: [], at: gateway.port, tenants })
}

export const gatewayPatience = { gapBarMs: 10_000 }

/** Of presence and quotas, after whatever befell a gateway. */
export const leasesBarMs = 30_000

/** Resolves when all clients are at `gateway`, and nothing that another held is still needed for the count. */
export async function clientsBack({ clients }: Doors, gateway: GatewayProcess): Promise<void> {
  const all = clients.flat().length
  await until('all clients', async () => (await gateway.stats()).connections === all, { deadlineMs: 60_000 })
}

/**
 * I5: what the cluster counts of each tenant's connections is again what there is: in the quota, and in `/stats` of `asked`. Wait for the
 * clients to be back first, or what a dead gateway held is taken for them.
 */
export async function countsTrueAgain(
  { tenants, world }: Doors,
  asked: GatewayProcess,
  options: { sinceMs: number; connections?: Partial<Record<TenantName, number>> },
): Promise<void> {
  const trueOf = (tenant: TenantName) => options.connections?.[tenant] ?? clientsPerTenant
  const wanted = tenantNames.map((tenant) => ({ tenant, quota: trueOf(tenant), told: trueOf(tenant) }))
  const seen = async () => {
    const stats = await asked.stats()
    return Promise.all(
      tenantNames.map(async (tenant) => ({
        tenant,
        quota: await placesHeld(world, tenants.idOf(tenant)),
        told: stats.cluster.tenants?.[`faults/${tenant}`]?.connections ?? 0,
      })),
    )
  }
  let last: unknown
  await until(
    'true counts',
    async () => {
      last = await seen()
      return JSON.stringify(last) === JSON.stringify(wanted)
    },
    { deadlineMs: leasesBarMs * slack, everyMs: 100 },
  ).catch(() => expect(last, `${world.fault}: connections counted`).toEqual(wanted))
  const ms = performance.now() - options.sinceMs
  await measured({ fault: world.fault, what: 'quota counters true again', ms, barMs: leasesBarMs })
}

/** As an admission counts them: what lies in Redis and has not ended by its clock. */
async function placesHeld({ trio }: World, tenantId: string): Promise<number> {
  const master = await trio.master()
  const nowMs = Number((await master.cli('TIME')).split('\n')[0]) * 1_000
  const lines = (await master.cli('HGETALL', leaseKey(tenantId, 'connections'))).split('\n')
  const leases = lines.filter((_line, index) => index % 2 === 1).map((line) => line.split(' ').map(Number))
  return leases.filter(([endsMs = 0]) => endsMs > nowMs).reduce((sum, [, held = 0]) => sum + held, 0)
}
