// What is to be done about a user, wherever he is connected: a channel of the gateways' own that each of them hears. It has a short history
// like any channel, so a gateway that loses Redis for a moment learns what it missed.
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type {
  Announcement,
  Broker,
  BrokerListener,
  ChannelRef,
  Position,
  Publication,
} from '../broker/broker.js'
import type { Log } from '../log.js'

/** No tenant has this id: theirs are UIDs and hashes. */
const controlRef: ChannelRef = { tenantId: '$gateways', channel: 'control' }

/** Longer than a failover; after that an order is of the past. */
const history = { size: 1_000, ttlMs: 60_000 }
const retryMs = 1_000

const Disconnect = z.object({
  kind: z.literal('disconnect'),
  /** `<namespace>/<name>`, and its identity: a tenant recreated under the name is another. */
  tenant: z.string(),
  tenantId: z.string(),
  user: z.string(),
  client: z.string().optional(),
  session: z.string().optional(),
  except: z.array(z.string()).optional(),
  code: z.int(),
  reason: z.string(),
})
/** Ends the connections of `user`: all, those named `client`, or the one of `session`; never those named in `except`. */
export type Disconnect = z.infer<typeof Disconnect>

export interface ControlDeps {
  readonly broker: Broker
  /** Gets everything that is not ours. */
  readonly listener: BrokerListener
  readonly log: Log
  /** Called on every gateway, the sender's included. Must not throw. */
  readonly carryOut: (order: Disconnect) => void
}

export class ControlChannel implements BrokerListener {
  readonly #deps: ControlDeps
  #state: 'idle' | 'subscribing' | 'heard' = 'idle'

  constructor(deps: ControlDeps) {
    this.#deps = deps
  }

  /** Why orders would not be heard; undefined when they are. */
  get trouble(): string | undefined {
    return this.#state === 'subscribing'
      ? 'orders of other gateways are not heard yet: Redis does not answer'
      : undefined
  }

  /** Subscribes, however long it takes. */
  async run(signal: AbortSignal): Promise<void> {
    this.#state = 'subscribing'
    while (!signal.aborted) {
      try {
        await this.#deps.broker.subscribe(controlRef)
        this.#state = 'heard'
        return
      } catch (error) {
        if (signal.aborted) return
        this.#deps.log.warn({ err: error }, 'cannot hear the orders of other gateways; it is tried again')
        await delay(retryMs, undefined, { signal }).catch(() => {})
      }
    }
  }

  /** Resolves when every gateway will hear it. Rejects like `Broker.publish`. */
  async send(order: Disconnect): Promise<void> {
    await this.#deps.broker.publish(controlRef, { data: Buffer.from(JSON.stringify(order)) }, { history })
  }

  onPublication(ref: ChannelRef, publication: Publication): void {
    if (ref.tenantId !== controlRef.tenantId) return this.#deps.listener.onPublication(ref, publication)
    const order = decode(publication.data)
    if (order) this.#deps.carryOut(order)
    // While gateways are being upgraded, newer ones may know more kinds.
    else this.#deps.log.warn({ bytes: publication.data.byteLength }, 'an order that is not known here')
  }

  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    this.#deps.listener.onAnnouncement(ref, announcement)
  }

  onContinuityLost(ref: ChannelRef, top: Position): void {
    if (ref.tenantId !== controlRef.tenantId) this.#deps.listener.onContinuityLost(ref, top)
    else this.#deps.log.warn({}, 'orders of other gateways may have been missed: Redis lost its data')
  }
}

function decode(data: Uint8Array): Disconnect | undefined {
  try {
    return Disconnect.safeParse(JSON.parse(Buffer.from(data).toString())).data
  } catch {
    return undefined
  }
}
