// The brokers that the suite is run on.
import { afterAll } from 'vitest'
import type { GatewayOptions } from '../../src/gateway/gateway.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { gatewayFor, gatewayOnRedis } from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'
import { clients, type SdkClient } from './clients.js'

/** Where the driver is, and where everybody else is: two gateways where the broker lets several share it. */
interface Place {
  readonly here: TestGateway
  readonly there: TestGateway
}

export interface BrokerKind {
  readonly broker: string
  /** With nothing in it. */
  start(policy?: Partial<TenantPolicy>, options?: Partial<GatewayOptions>): Promise<Place>
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
      // Each waits for the other's part of an answer.
      const two = { ...options, count: async () => 2 }
      const [here, there] = [await gatewayOnRedis(url, policy, two), await gatewayOnRedis(url, policy, two)]
      await until('gateways that hear each other', () =>
        [here, there].every(({ gateway }) => gateway.unreadyReasons().length === 0),
      )
      return { here, there }
    },
  },
]

/** Every client on every broker. */
export const everywhere: readonly (SdkClient & BrokerKind)[] = clients.flatMap((client) =>
  brokers.map((broker) => ({ ...client, ...broker })),
)
