// In-process gateways that consist of their broker only: each has one publisher, and subscribes to every
// channel.
import type { RedisBrokerLimits } from '../../src/broker/redis/limits.js'
import type {
  BrokerListener,
  ChannelRef,
  Durability,
  Position,
  Publication,
} from '../../src/broker/broker.js'
import { openTestBroker, type BrokerFault, type TestRedisBroker } from '../support/redis-gateway.js'
import type { Channel, Publisher } from './load.js'
import type { LogItem, SubscriberLog } from './oracle.js'

/**
 * Large enough that nothing is trimmed during a run, because the oracle compares with the complete history.
 */
export const history = { size: 1_000_000, ttlMs: 3_600_000 }

export const refOf = ({ channel, tenant }: Channel): ChannelRef => ({ tenantId: tenant, channel })

class BrokerLog implements BrokerListener {
  readonly name: string
  readonly #logs = new Map<string, { tenant: string; channel: string; items: LogItem[] }>()

  constructor(name: string) {
    this.name = name
  }

  get logs(): SubscriberLog[] {
    return [...this.#logs.values()].map((log) => ({ name: this.name, ...log }))
  }

  /**
   * Starts the log of a channel. Call it before the first publish, so that the log covers the whole history.
   */
  begin({ channel, tenant }: Channel): void {
    const start: LogItem = { kind: 'from', position: { epoch: '', offset: 0 }, atMs: performance.now() }
    this.#logs.set(`${tenant} ${channel}`, { tenant, channel, items: [start] })
  }

  onPublication(ref: ChannelRef, { data, epoch, offset }: Publication): void {
    const text = Buffer.from(data).toString()
    this.#of(ref).push({ kind: 'received', position: { epoch, offset }, text, atMs: performance.now() })
  }

  onAnnouncement(): void {}

  onContinuityLost(ref: ChannelRef, position: Position): void {
    this.#of(ref).push({ kind: 'mark', position, atMs: performance.now() })
  }

  #of({ channel, tenantId }: ChannelRef): LogItem[] {
    return this.#logs.get(`${tenantId} ${channel}`)?.items ?? []
  }
}

export interface BrokerGatewayOptions {
  readonly limits?: Partial<RedisBrokerLimits> | undefined
  readonly brokerFault?: BrokerFault | undefined
  readonly durability?: Durability | undefined
}

export interface BrokerGateway {
  readonly name: string
  readonly broker: TestRedisBroker
  readonly logs: () => SubscriberLog[]
  readonly publisher: Publisher
}

export async function openBrokerGateway(
  url: string,
  options: BrokerGatewayOptions & { name: string; channels: readonly Channel[] },
): Promise<BrokerGateway> {
  const { channels, durability, limits, name, brokerFault } = options
  const opened = openTestBroker(url, { limits, fault: brokerFault })
  const log = new BrokerLog(name)
  opened.broker.listen(log)
  for (const channel of channels) {
    log.begin(channel)
    await opened.broker.subscribe(refOf(channel))
  }
  return {
    name,
    broker: opened,
    logs: () => log.logs,
    publisher: {
      name,
      keys: true,
      async publish(to, text, key) {
        const done = await opened.broker.publish(
          refOf(to),
          { data: Buffer.from(text) },
          { history, idempotencyKey: key, durability },
        )
        return done.position
      },
    },
  }
}
