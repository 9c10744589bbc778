// Gateways reduced to what the faults are about: their brokers, in this process, with a subscriber on every channel and a publisher each.
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
import type { Logged, SubscriberLog } from './oracle.js'

/** As the oracle knows history: nothing is trimmed during a run. */
export const history = { size: 1_000_000, ttlMs: 3_600_000 }

export const refOf = ({ channel, tenant }: Channel): ChannelRef => ({ tenantId: tenant, channel })

class BrokerLog implements BrokerListener {
  readonly name: string
  readonly #logs = new Map<string, { tenant: string; channel: string; items: Logged[] }>()

  constructor(name: string) {
    this.name = name
  }

  get logs(): SubscriberLog[] {
    return [...this.#logs.values()].map((log) => ({ name: this.name, ...log }))
  }

  /** Before the first publish: all that the channel will ever hold is still to come. */
  begin({ channel, tenant }: Channel): void {
    const start: Logged = { kind: 'from', position: { epoch: '', offset: 0 }, atMs: performance.now() }
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

  #of({ channel, tenantId }: ChannelRef): Logged[] {
    return this.#logs.get(`${tenantId} ${channel}`)?.items ?? []
  }
}

export interface BrokerGatewayOptions {
  readonly limits?: Partial<RedisBrokerLimits> | undefined
  readonly spoil?: BrokerFault | undefined
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
  const { channels, durability, limits, name, spoil } = options
  const opened = openTestBroker(url, { limits, fault: spoil })
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
