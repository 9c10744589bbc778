// The processes of a soak: Redis with its Sentinels, two gateways behind balancers, and the clients of the
// tenants `red` and `blue`, whose messages the oracle follows.
import { setTimeout as sleep } from 'node:timers/promises'
import { Tenants, type EndpointClient } from '../faults/endpoint-clients.js'
import { GatewayProcess, type ResourceUsage } from '../faults/gateway-process.js'
import { connectClients, scenarioOf } from '../faults/gateway-setup.js'
import type { Scenario } from '../faults/scenario.js'
import { TestProxy } from '../support/proxy.js'
import { startSentinelTrio, until, type SentinelTrio } from '../support/redis-processes.js'

/** A gateway that can be replaced, and the balancer in front of it. */
interface Place {
  gateway: GatewayProcess
  readonly balancer: TestProxy
}

export class SoakRig {
  readonly scenario: Scenario
  readonly tenants: Tenants
  readonly #trio: SentinelTrio
  readonly #places: readonly Place[]
  readonly #clients: readonly EndpointClient[]

  private constructor(parts: {
    scenario: Scenario
    tenants: Tenants
    trio: SentinelTrio
    places: readonly Place[]
    clients: readonly EndpointClient[]
  }) {
    this.scenario = parts.scenario
    this.tenants = parts.tenants
    this.#trio = parts.trio
    this.#places = parts.places
    this.#clients = parts.clients
  }

  static async start(): Promise<SoakRig> {
    const trio = await startSentinelTrio({ downAfterMs: 1_000 })
    const tenants = await Tenants.write()
    const places = await Promise.all(
      [0, 1].map(async () => {
        const gateway = await GatewayProcess.start(trio.url, tenants.folder)
        return { gateway, balancer: await new TestProxy(gateway.port).start() }
      }),
    )
    const connected = places.map(({ balancer }, index) =>
      connectClients(tenants, { port: balancer.port, index }),
    )
    const clients = (await Promise.all(connected)).flat()
    const scenario = scenarioOf('soak', { trio, tenants, clients, perSecond: 5 })
    const rig = new SoakRig({ scenario, tenants, trio, places, clients })
    scenario.onClose(() => rig.#close())
    scenario.load.start()
    await scenario.waitForAcks(100)
    return rig
  }

  get gateways(): readonly GatewayProcess[] {
    return this.#places.map(({ gateway }) => gateway)
  }

  get clients(): number {
    return this.#clients.length
  }

  /** How often a client of `red` or `blue` lost its connection. */
  get losses(): number {
    return this.#clients.reduce((sum, { losses }) => sum + losses, 0)
  }

  usage(): Promise<ResourceUsage[]> {
    return Promise.all(this.gateways.map((gateway) => gateway.resourceUsage()))
  }

  /** The faults in the order in which a soak repeats them. Each resolves when publishing has resumed. */
  readonly faults: Readonly<Record<string, () => Promise<void>>> = {
    'the Redis master is killed': async () => {
      const old = await this.#trio.master()
      await old.kill()
      await this.#trio.failedOver(old)
      await this.#trio.rejoin(old)
    },
    'a gateway is killed and replaced': async () => {
      const [first, second] = this.#places
      if (!first || !second) return
      first.balancer.retarget(second.gateway.port)
      await first.gateway.kill()
      first.gateway = await GatewayProcess.start(this.#trio.url, this.tenants.folder)
      first.balancer.retarget(first.gateway.port)
    },
    'a gateway stops for 4 s': async () => {
      const [, second] = this.#places
      second?.gateway.signal('SIGSTOP')
      await sleep(4_000)
      second?.gateway.signal('SIGCONT')
    },
    'a gateway drains and is replaced': async () => {
      const [first, second] = this.#places
      if (!first || !second) return
      second.balancer.retarget(first.gateway.port)
      second.gateway.signal('SIGTERM')
      await second.gateway.exited()
      second.gateway = await GatewayProcess.start(this.#trio.url, this.tenants.folder)
      second.balancer.retarget(second.gateway.port)
    },
    'the Redis master stops for 3 s': async () => {
      const master = await this.#trio.master()
      master.stop()
      await sleep(3_000)
      master.cont()
      await this.#trio.settled()
    },
  }

  /** Resolves when the gateways hold no connection besides those of the clients of `red` and `blue`. */
  async withoutStrangers(): Promise<void> {
    await until(
      'gateways without hostile clients',
      async () => {
        const stats = await Promise.all(this.gateways.map((gateway) => gateway.stats()))
        return stats.reduce((sum, { connections }) => sum + connections, 0) === this.clients
      },
      { deadlineMs: 120_000, everyMs: 500 },
    )
  }

  async #close(): Promise<void> {
    for (const client of this.#clients) client.close()
    await Promise.all(this.#places.map(({ balancer }) => balancer.stop()))
    await Promise.all(this.gateways.map((gateway) => gateway.kill()))
    await this.tenants.remove()
  }
}
