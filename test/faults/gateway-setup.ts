// The setup of faults with gateway processes: two gateways with clients of both endpoints, and checks of what
// the gateways report.
import { expect } from 'vitest'
import { leaseKey } from '../../src/redis/keys.js'
import { TestProxy } from '../support/proxy.js'
import { startSentinelTrio, until, type SentinelTrio, type TrioOptions } from '../support/redis-processes.js'
import { ReconnectingChatClient, sdkClient, Tenants, type EndpointClient } from './endpoint-clients.js'
import { GatewayProcess } from './gateway-process.js'
import { Load } from './load.js'
import { recordMeasurement, slack } from './measurements.js'
import { Scenario, defaultChannels } from './scenario.js'

export interface GatewaySetup {
  readonly scenario: Scenario
  readonly gateways: readonly GatewayProcess[]
  readonly tenants: Tenants
  /** The clients of the first gateway, and those of the second. */
  readonly clients: readonly (readonly EndpointClient[])[]
  /**
   * Leads new connections of the first gateway's clients to the second one, as a load balancer does when a
   * gateway is not ready.
   */
  redirectFirst(): void
}

export interface GatewaySetupOptions {
  readonly trio?: TrioOptions
  /** Additional command line arguments of each gateway. */
  readonly args?: readonly string[]
  /** Limit of each tenant. Default: 10,000, more than any test needs. */
  readonly connectsPerSecond?: number
  /** Publishes per second of each client. Default: 12. */
  readonly perSecond?: number
}

export const tenantNames = ['red', 'blue'] as const
export type TenantName = (typeof tenantNames)[number]

/** Number of clients that `startGateways` connects for each tenant, at both gateways together. */
export const clientsPerTenant = 4

/**
 * Starts two gateways. Each has two clients per tenant: one of the chat endpoint, and one with the SDK. All
 * of them publish.
 */
export async function startGateways(fault: string, options: GatewaySetupOptions = {}): Promise<GatewaySetup> {
  const trio = await startSentinelTrio({ downAfterMs: 1_000, ...options.trio })
  const { connectsPerSecond } = options
  const tenants = await Tenants.write(connectsPerSecond === undefined ? {} : { connectsPerSecond })
  const start = () => GatewayProcess.start(trio.url, tenants.folder, options.args)
  const gateways = [await start(), await start()]
  const balancers = await Promise.all(gateways.map(({ port }) => new TestProxy(port).start()))
  const clients = await Promise.all(
    balancers.map(({ port }, index) => connectClients(tenants, { port, index })),
  )
  const all = clients.flat()
  const scenario = scenarioOf(fault, { trio, tenants, clients: all, perSecond: options.perSecond ?? 12 })
  scenario.onClose(async () => {
    for (const client of all) client.close()
    await Promise.all(balancers.map((balancer) => balancer.stop()))
    await Promise.all(gateways.map((gateway) => gateway.kill()))
    await tenants.remove()
  })
  scenario.load.start()
  await scenario.waitForAcks(100)
  return {
    scenario,
    gateways,
    tenants,
    clients,
    redirectFirst() {
      const [first] = balancers
      const [, second] = gateways
      if (second) first?.retarget(second.port)
    },
  }
}

/** Connects two clients of each tenant at `port`: one of the chat endpoint, and one with the SDK. */
export async function connectClients(
  tenants: Tenants,
  { port, index }: { port: number; index: number },
): Promise<EndpointClient[]> {
  const made = tenantNames.map(async (tenant) => {
    const common = { tenant, channels: defaultChannels, port, tenants }
    return [
      await ReconnectingChatClient.open({ ...common, name: `chat-${tenant}-${index}` }),
      await sdkClient({ ...common, name: `sdk-${tenant}-${index}` }),
    ]
  })
  return (await Promise.all(made)).flat()
}

/** Returns a scenario in which all clients publish, each `perSecond` times per second. */
export function scenarioOf(
  fault: string,
  parts: {
    trio: SentinelTrio
    tenants: Tenants
    clients: readonly EndpointClient[]
    perSecond: number
  },
): Scenario {
  const { clients, perSecond, tenants, trio } = parts
  return new Scenario({
    fault,
    redis: trio,
    load: new Load({
      publishers: clients.map(({ publisher }) => publisher),
      channels: defaultChannels,
      perSecond,
    }),
    logs: () => clients.flatMap(({ logs }) => logs),
    tenantIdOf: (tenant) => tenants.idOf(tenant),
  })
}

/** A text of 30 kB. */
export const largeText = 'x'.repeat(30_000)

/** Connects a client that publishes outside of the load, so that the oracle does not know its messages. */
export function openFloodClient(gateway: GatewayProcess, tenants: Tenants): Promise<ReconnectingChatClient> {
  return ReconnectingChatClient.open({
    name: 'flood',
    tenant: 'red',
    channels: [],
    port: gateway.port,
    tenants,
  })
}

export const gatewayVerifyOptions = { gapTargetMs: 10_000 }

/** Target for correct presence and quota counts after a fault of a gateway. */
export const leaseTargetMs = 30_000

/** Resolves when all clients are connected to `gateway`. Fails after 60 s. */
export async function waitForClients({ clients }: GatewaySetup, gateway: GatewayProcess): Promise<void> {
  const all = clients.flat().length
  await until('all clients', async () => (await gateway.stats()).connections === all, { deadlineMs: 60_000 })
}

/**
 * I5: waits until the counted connections of each tenant are correct in the quota and in `/stats` of
 * `gateway`, and records the time since `sinceMs`. Call `waitForClients` first: otherwise the connections
 * that a dead gateway held could be counted as those of its clients.
 */
export async function waitForCorrectCounts(
  { tenants, scenario }: GatewaySetup,
  gateway: GatewayProcess,
  options: { sinceMs: number; connections?: Partial<Record<TenantName, number>> },
): Promise<void> {
  const expectedOf = (tenant: TenantName) => options.connections?.[tenant] ?? clientsPerTenant
  const expected = tenantNames.map((tenant) => ({
    tenant,
    quota: expectedOf(tenant),
    reported: expectedOf(tenant),
  }))
  const counted = async () => {
    const stats = await gateway.stats()
    return Promise.all(
      tenantNames.map(async (tenant) => ({
        tenant,
        quota: await connectionsInQuota(scenario, tenants.idOf(tenant)),
        reported: stats.cluster.tenants?.[`faults/${tenant}`]?.connections ?? 0,
      })),
    )
  }
  let last: unknown
  await until(
    'correct counts',
    async () => {
      last = await counted()
      return JSON.stringify(last) === JSON.stringify(expected)
    },
    { deadlineMs: leaseTargetMs * slack, everyMs: 100 },
  ).catch(() => expect(last, `${scenario.fault}: connections counted`).toEqual(expected))
  const ms = performance.now() - options.sinceMs
  await recordMeasurement({
    fault: scenario.fault,
    what: 'quota counters correct again',
    ms,
    targetMs: leaseTargetMs,
  })
}

/**
 * The connections that an admission counts: the leases in Redis that have not expired by the clock of Redis.
 */
async function connectionsInQuota({ trio }: Scenario, tenantId: string): Promise<number> {
  const master = await trio.master()
  const nowMs = Number((await master.cli('TIME')).split('\n')[0]) * 1_000
  const lines = (await master.cli('HGETALL', leaseKey(tenantId, 'connections'))).split('\n')
  const leases = lines.filter((_line, index) => index % 2 === 1).map((line) => line.split(' ').map(Number))
  return leases.filter(([endsMs = 0]) => endsMs > nowMs).reduce((sum, [, held = 0]) => sum + held, 0)
}
