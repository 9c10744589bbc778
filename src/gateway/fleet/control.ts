// The control channel: a broker channel over which gateways send commands to each other. Every gateway
// subscribes to it. Like any channel it has a short history, so a gateway that loses Redis for a moment
// receives what it missed. Survey answers return on a separate channel of the gateway that sent the survey.
import { setTimeout as delay } from 'node:timers/promises'
import type { z } from 'zod'
import type { Broker, ChannelRef, Publication } from '../../broker/broker.js'
import { parseJson } from '../../json.js'
import type { Log } from '../../log.js'
import { ControlCommand, SurveyAnswer } from './control-messages.js'

/** The tenant id of the gateways' own channels. No tenant has it: tenant ids are UIDs and hashes. */
export const controlTenantId = '$gateways'

const commandsRef: ChannelRef = { tenantId: controlTenantId, channel: 'control' }
const answersRef = (gateway: string): ChannelRef => ({
  tenantId: controlTenantId,
  channel: `answers:${gateway}`,
})

/** Longer than a Redis failover. A command older than this is stale. */
const history = { size: 1_000, ttlMs: 60_000 }
const retryMs = 1_000

export interface ControlChannelDeps {
  readonly broker: Broker
  /** The id of this gateway, unique among all gateways. */
  readonly id: string
  readonly log: Log
  /** Called on every gateway, the sender included. Must not throw. */
  readonly onCommand: (command: ControlCommand) => void
  /** Called with each answer to a survey of this gateway. Must not throw. */
  readonly onSurveyAnswer: (answer: SurveyAnswer) => void
}

export class ControlChannel {
  readonly #deps: ControlChannelDeps
  #state: 'idle' | 'subscribing' | 'subscribed' = 'idle'

  constructor(deps: ControlChannelDeps) {
    this.#deps = deps
  }

  /**
   * The reason why this gateway receives no control commands yet, for `/readyz`. Undefined when it receives
   * them.
   */
  get unavailableReason(): string | undefined {
    return this.#state === 'subscribing'
      ? 'not subscribed to the control channel of the gateways yet: Redis does not answer'
      : undefined
  }

  /** Subscribes to the control channel and retries every second until it succeeds or `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { broker, id, log } = this.#deps
    this.#state = 'subscribing'
    while (!signal.aborted) {
      try {
        await Promise.all([broker.subscribe(commandsRef), broker.subscribe(answersRef(id))])
        this.#state = 'subscribed'
        return
      } catch (error) {
        if (signal.aborted) return
        log.warn({ err: error }, 'cannot subscribe to the control channel; retrying')
        await delay(retryMs, undefined, { signal }).catch(() => {})
      }
    }
  }

  /** Resolves when the command is published for every gateway. Rejects like `Broker.publish`. */
  async send(command: ControlCommand): Promise<void> {
    // Surveys keep no history: the gateway that sent an old one no longer waits for answers.
    await this.#publish(commandsRef, command, command.kind === 'survey' ? {} : { history })
  }

  /** Sends a survey answer to the gateway that asked. Rejects like `Broker.publish`. */
  async answer(gateway: string, answer: SurveyAnswer): Promise<void> {
    await this.#publish(answersRef(gateway), answer, {})
  }

  /** Handles a publication on a channel of `controlTenantId`. */
  onPublication(ref: ChannelRef, publication: Publication): void {
    if (ref.channel === commandsRef.channel)
      this.#handle(ControlCommand, publication.data, this.#deps.onCommand)
    else this.#handle(SurveyAnswer, publication.data, this.#deps.onSurveyAnswer)
  }

  /** Handles the broker's notice that publications on a control channel may be missing. */
  onContinuityLost(): void {
    this.#deps.log.warn({}, 'control commands of other gateways may be lost: Redis lost its data')
  }

  #publish(ref: ChannelRef, message: ControlCommand | SurveyAnswer, options: { history?: typeof history }) {
    return this.#deps.broker.publish(ref, { data: Buffer.from(JSON.stringify(message)) }, options)
  }

  #handle<Message>(schema: z.ZodType<Message>, data: Uint8Array, handler: (message: Message) => void): void {
    const message = schema.safeParse(parseJson(Buffer.from(data).toString())).data
    if (message) handler(message)
    // During an upgrade, newer gateways may send kinds that this one does not know.
    else this.#deps.log.warn({ bytes: data.byteLength }, 'ignored a control message of an unknown kind')
  }
}
