// Shared fixture for the tests of the hub.
import { onTestFinished } from 'vitest'
import { ManualClock } from '../auth/auth.testing.js'
import type { Announcement, ChannelRef, ClientInfo, Publication, Tags } from '../broker/broker.js'
import { MemoryBroker, MemoryBrokerData } from '../broker/memory.js'
import { LimitedLog } from '../log.js'
import { TenantMetrics } from '../metrics-tenants.js'
import { Metrics } from '../metrics.js'
import { centrifugeJson } from '../protocol/centrifuge/json.js'
import { chatCodec } from '../protocol/chat/codec.js'
import type { Codec, DeltaBase } from '../protocol/commands.js'
import { policyOf, silentLog } from '../session/session.testing.js'
import { FairScheduler } from '../session/sharing/fair-scheduler.js'
import { MemoryCeiling } from '../session/sharing/memory-ceiling.js'
import { Subscription, type Subscriber } from '../session/subscription.js'
import { TenantRuntime } from '../session/tenant/runtime.js'
import type { Frame } from '../session/transport.js'
import { TimerWheel } from '../time.js'
import { Hub } from './hub.js'
import { LocalLedger } from '../quota/local.js'
import { LocalRevocations } from '../revocation/local.js'

export const ref: ChannelRef = { tenantId: 't1', channel: 'general' }
export const info: ClientInfo = { user: 'ann', client: 'c' }

/** Wraps a codec and counts its encodings. */
function counting(codec: Codec): Codec & { encoded: number } {
  const counted = {
    ...codec,
    encoded: 0,
    publication(channel: string, publication: Publication, base?: DeltaBase) {
      counted.encoded += 1
      return codec.publication(channel, publication, base)
    },
    announcement(channel: string, announcement: Announcement) {
      counted.encoded += 1
      return codec.announcement(channel, announcement)
    },
  }
  return counted
}

/** Records calls of subscribe and unsubscribe. The next `failures` subscriptions fail. */
class RecordingBroker extends MemoryBroker {
  readonly calls: string[] = []
  failures = 0

  override async subscribe(to: ChannelRef): Promise<void> {
    this.calls.push(`subscribe ${to.channel}`)
    if (this.failures > 0) {
      this.failures -= 1
      throw new Error('Redis is unavailable')
    }
    return super.subscribe(to)
  }

  override async unsubscribe(from: ChannelRef): Promise<void> {
    this.calls.push(`unsubscribe ${from.channel}`)
    return super.unsubscribe(from)
  }
}

/**
 * A hub between a real broker and subscriptions with fake sessions, which record the pushed frames. Ends with
 * its test.
 */
export class HubFixture {
  readonly clock = new ManualClock()
  readonly wheel = new TimerWheel({ clock: this.clock })
  readonly scheduler = new FairScheduler({
    clock: this.clock,
    onError: (error) => {
      throw error
    },
  })
  readonly broker = new RecordingBroker(new MemoryBrokerData({ clock: this.clock }))
  readonly tenant = new TenantRuntime(policyOf(), {
    clock: this.clock,
    log: silentLog,
    allowPrivateJwks: false,
    arrivalDelay: { at: () => 0 },
    ledger: new LocalLedger(),
    guestSecrets: [Buffer.alloc(32)],
    revocations: new LocalRevocations(this.clock),
  })
  readonly chat = counting(chatCodec)
  readonly centrifuge = counting(centrifugeJson)
  readonly hub: Hub
  #sessions = 0

  constructor() {
    const nothing = {
      connections: 0,
      connectionsMax: 0,
      unauthenticated: 0,
      unauthenticatedMax: 0,
      unauthenticatedOfOneAddress: 0,
      subscriptions: 0,
      channels: 0,
      memory: { bytes: 0, bytesMax: 0 },
      tenants: 0,
      manifestProblems: 0,
      ready: true,
      draining: false,
      redisAwaySeconds: undefined,
      redisMemory: undefined,
      catalogAgeSeconds: undefined,
      certificateExpiresSeconds: undefined,
    }
    this.hub = new Hub({
      broker: this.broker,
      clock: this.clock,
      wheel: this.wheel,
      log: new LimitedLog(silentLog, this.clock),
      metrics: new Metrics(() => nothing, { process: false }),
      tenantMetrics: new TenantMetrics(() => []),
      lingerMs: 5_000,
      scheduler: this.scheduler,
      memory: new MemoryCeiling({
        bytesMax: 1_000_000_000,
        holdersOf: () => ({ tenant: '', holders: [] }),
        onCut() {},
        log: new LimitedLog(silentLog, this.clock),
      }),
    })
    this.broker.listen(this.hub)
    onTestFinished(() => this.broker.close())
  }

  /**
   * Creates a subscription that is not added to the hub yet. `frames` collects the frames pushed to its
   * session.
   */
  subscriber(codec: Codec = this.chat, options: Partial<ConstructorParameters<typeof Subscription>[2]> = {}) {
    this.#sessions += 1
    const frames: Frame[] = []
    const ended: number[] = []
    const client: Subscriber = {
      id: `s${this.#sessions}`,
      codec,
      tenant: this.tenant,
      identity: { info },
      push: (frame: Frame) => void frames.push(frame),
      hold: () => undefined,
      endSubscription: (_subscription, { code }) => void ended.push(code),
    }
    const subscription = new Subscription(client, ref, {
      positioned: true,
      joinLeave: true,
      present: false,
      byToken: false,
      ...options,
    })
    return { ended, frames, subscription }
  }

  /** Creates a subscription, adds it to the hub, and makes it live. */
  async live(codec: Codec = this.chat, options: Partial<ConstructorParameters<typeof Subscription>[2]> = {}) {
    const subscriber = this.subscriber(codec, options)
    await this.hub.add(subscriber.subscription)
    subscriber.subscription.goLive(undefined)
    return subscriber
  }

  async publish(text = '1', tags?: Tags): Promise<void> {
    const history = { size: 10, ttlMs: 60_000 }
    await this.broker.publish(ref, { data: Buffer.from(text), tags }, { history })
  }

  pass(ms: number): void {
    this.clock.advance(ms)
    this.wheel.advance()
  }
}
