// The brokers with which the suite runs.
import { afterAll } from 'vitest'
import type { GatewayOptions } from '../../src/gateway/gateway.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { gatewayFor, gatewayOnRedis } from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'
import { clients, type SdkClient } from './clients.js'

/**
 * The gateway of the driver (`here`), and that of all other clients (`there`). With the memory broker, both
 * are the same.
 */
interface Gateways {
  readonly here: TestGateway
  readonly there: TestGateway
}

export interface BrokerKind {
  readonly broker: string
  /** Starts the gateways with an empty broker. */
  start(policy?: Partial<TenantPolicy>, options?: Partial<GatewayOptions>): Promise<Gateways>
}

let redis: Promise<RedisProcess> | undefined
afterAll(() => endRedisProcesses())

export const brokers: readonly BrokerKind[] = [
  {
    broker: 'memory',
    async start(policy, options) {
      const gateway = await gatewayFor(policy, options)
      return { here: gateway, there: gateway }
    },
  },
  {
    broker: 'Redis',
    async start(policy, options) {
      redis ??= startRedis()
      const { port } = await redis
      await (await redis).cli('FLUSHALL')
      const url = `redis://127.0.0.1:${port}`
      // The number of gateways tells each gateway how many answers a survey has.
      const two: Partial<GatewayOptions> = { ...options, countGateways: async () => 2 }
      const [here, there] = [await gatewayOnRedis(url, policy, two), await gatewayOnRedis(url, policy, two)]
      await until('gateways that receive each other’s messages', () =>
        [here, there].every(({ gateway }) => gateway.unreadyReasons().length === 0),
      )
      return { here, there }
    },
  },
]

/** Every client with every broker. */
export const everywhere: readonly (SdkClient & BrokerKind)[] = clients.flatMap((client) =>
  brokers.map((broker) => ({ ...client, ...broker })),
)
