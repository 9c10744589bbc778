// What one gateway has to say to the others: a channel of the gateways' own that each of them hears. It has a short history like any channel,
// so a gateway that loses Redis for a moment learns what it missed. Answers come back on a channel of the asker's own.
import { setTimeout as delay } from 'node:timers/promises'
import type { z } from 'zod'
import type {
  Announcement,
  Broker,
  BrokerListener,
  ChannelRef,
  Position,
  Publication,
} from '../../broker/broker.js'
import { parseJson } from '../../json.js'
import type { Log } from '../../log.js'
import { ControlCommand, SurveyAnswer } from './control-messages.js'

/** No tenant has this id: theirs are UIDs and hashes. */
const controlRef: ChannelRef = { tenantId: '$gateways', channel: 'control' }
const answersRef = (gateway: string): ChannelRef => ({ ...controlRef, channel: `answers:${gateway}` })

/** Longer than a failover; after that an order is of the past. */
const history = { size: 1_000, ttlMs: 60_000 }
const retryMs = 1_000

export interface ControlChannelDeps {
  readonly broker: Broker
  /** Of this gateway among all. */
  readonly id: string
  /** Gets everything that is not ours. */
  readonly listener: BrokerListener
  readonly log: Log
  /** Called on every gateway, the sender's included. Must not throw. */
  readonly onCommand: (order: ControlCommand) => void
  /** An answer to this gateway. Must not throw. */
  readonly onSurveyAnswer: (answer: SurveyAnswer) => void
}

export class ControlChannel implements BrokerListener {
  readonly #deps: ControlChannelDeps
  #state: 'idle' | 'subscribing' | 'heard' = 'idle'

  constructor(deps: ControlChannelDeps) {
    this.#deps = deps
  }

  /** Why orders would not be heard; undefined when they are. */
  get unavailableReason(): string | undefined {
    return this.#state === 'subscribing'
      ? 'orders of other gateways are not heard yet: Redis does not answer'
      : undefined
  }

  /** Subscribes, however long it takes. */
  async run(signal: AbortSignal): Promise<void> {
    const { broker, id, log } = this.#deps
    this.#state = 'subscribing'
    while (!signal.aborted) {
      try {
        await Promise.all([broker.subscribe(controlRef), broker.subscribe(answersRef(id))])
        this.#state = 'heard'
        return
      } catch (error) {
        if (signal.aborted) return
        log.warn({ err: error }, 'cannot hear the orders of other gateways; it is tried again')
        await delay(retryMs, undefined, { signal }).catch(() => {})
      }
    }
  }

  /** Resolves when every gateway will hear it. Rejects like `Broker.publish`. */
  async send(order: ControlCommand): Promise<void> {
    // Nobody waits any more for the answers to an old question.
    await this.#publish(controlRef, order, order.kind === 'survey' ? {} : { history })
  }

  /** To the gateway that asked. Rejects like `Broker.publish`. */
  async answer(gateway: string, answer: SurveyAnswer): Promise<void> {
    await this.#publish(answersRef(gateway), answer, {})
  }

  onPublication(ref: ChannelRef, publication: Publication): void {
    if (ref.tenantId !== controlRef.tenantId) return this.#deps.listener.onPublication(ref, publication)
    if (ref.channel === controlRef.channel) this.#take(ControlCommand, publication.data, this.#deps.onCommand)
    else this.#take(SurveyAnswer, publication.data, this.#deps.onSurveyAnswer)
  }

  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    this.#deps.listener.onAnnouncement(ref, announcement)
  }

  onContinuityLost(ref: ChannelRef, top: Position): void {
    if (ref.tenantId !== controlRef.tenantId) this.#deps.listener.onContinuityLost(ref, top)
    else this.#deps.log.warn({}, 'orders of other gateways may have been missed: Redis lost its data')
  }

  #publish(ref: ChannelRef, message: ControlCommand | SurveyAnswer, options: { history?: typeof history }) {
    return this.#deps.broker.publish(ref, { data: Buffer.from(JSON.stringify(message)) }, options)
  }

  #take<Message>(schema: z.ZodType<Message>, data: Uint8Array, take: (message: Message) => void): void {
    const message = schema.safeParse(parseJson(Buffer.from(data).toString())).data
    if (message) take(message)
    // While gateways are being upgraded, newer ones may know more kinds.
    else this.#deps.log.warn({ bytes: data.byteLength }, 'an order that is not known here')
  }
}
