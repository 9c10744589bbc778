// The channels of the gateways themselves: one on which every gateway receives surveys, and one for each
// gateway on which it receives the answers to its surveys. They keep no history, because a gateway does not
// wait long for answers. The commands of tenants' backends have channels of their own: command-follower.ts.
import type { z } from 'zod'
import type { Broker, ChannelRef, Publication } from '../../broker/broker.js'
import { pause } from '../../deadline.js'
import { parseJson } from '../../json.js'
import type { LimitedLog } from '../../log.js'
import { SurveyAnswer, SurveyRequest } from './control-messages.js'

/** The tenant id of the gateways' own channels. No tenant has it: tenant ids are UIDs and hashes. */
export const controlTenantId = '$gateways'

const surveysRef: ChannelRef = { tenantId: controlTenantId, channel: 'surveys' }
const answersRef = (gateway: string): ChannelRef => ({
  tenantId: controlTenantId,
  channel: `answers:${gateway}`,
})

const retryMs = 1_000

export interface ControlChannelDeps {
  readonly broker: Broker
  /** The id of this gateway, unique among all gateways. */
  readonly id: string
  readonly log: LimitedLog
  /** Called with each survey on every gateway, the sender included. Must not throw. */
  readonly onSurvey: (survey: SurveyRequest) => void
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
   * The reason why this gateway receives no surveys yet, for `/readyz`. Undefined when it receives them.
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
        await Promise.all([broker.subscribe(surveysRef), broker.subscribe(answersRef(id))])
        this.#state = 'subscribed'
        return
      } catch (error) {
        if (signal.aborted) return
        log.warn('control', { err: error }, 'cannot subscribe to the control channel; retrying')
        await pause(retryMs, signal)
      }
    }
  }

  /** Sends a survey to every gateway. Rejects like `Broker.publish`. */
  async survey(survey: SurveyRequest): Promise<void> {
    await this.#publish(surveysRef, survey)
  }

  /** Sends a survey answer to the gateway that asked. Rejects like `Broker.publish`. */
  async answer(gateway: string, answer: SurveyAnswer): Promise<void> {
    await this.#publish(answersRef(gateway), answer)
  }

  /** Handles a publication on a channel of `controlTenantId`. */
  onPublication(ref: ChannelRef, publication: Publication): void {
    if (ref.channel === surveysRef.channel) this.#handle(SurveyRequest, publication.data, this.#deps.onSurvey)
    else this.#handle(SurveyAnswer, publication.data, this.#deps.onSurveyAnswer)
  }

  #publish(ref: ChannelRef, message: SurveyRequest | SurveyAnswer) {
    return this.#deps.broker.publish(ref, { data: Buffer.from(JSON.stringify(message)) }, {})
  }

  #handle<Message>(schema: z.ZodType<Message>, data: Uint8Array, handler: (message: Message) => void): void {
    const message = schema.safeParse(parseJson(Buffer.from(data).toString())).data
    if (message) handler(message)
    // During an upgrade, newer gateways may send kinds that this one does not know.
    else
      this.#deps.log.warn(
        'survey kind',
        { bytes: data.byteLength },
        'ignored a control message of an unknown kind',
      )
  }
}
