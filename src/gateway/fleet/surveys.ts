// Collects the usage of a tenant from all gateways. Each gateway answers for itself, and one that does not
// answer in time is left out.
import { randomUUID } from 'node:crypto'
import { CommandError } from '../../errors.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type { TimerWheel } from '../../time.js'
import { globMatches } from '../api/glob.js'
import { namedChannelsMax, type SurveyRequest, type SurveyAnswer } from './control-messages.js'

/**
 * Long enough for a busy gateway. A gateway that died still counts as live for up to 15 s and never answers.
 */
const waitMs = 2_000

/** What surveys need from their gateway. */
export interface SurveysDeps {
  /** The id of this gateway, unique among all gateways. */
  readonly id: string
  readonly wheel: TimerWheel
  sendRequest(survey: SurveyRequest): Promise<void>
  sendAnswer(gateway: string, answer: SurveyAnswer): Promise<void>
  /** The number of live gateways, this one included. Undefined while Redis does not answer. */
  countGateways(): Promise<number | undefined>
  tenant(key: string): TenantRuntime | undefined
  /** Called when an answer could not be sent. */
  onAnswerFailed(error: unknown): void
}

export class Surveys {
  readonly #deps: SurveysDeps
  /** Answer handlers by survey id. */
  readonly #waiting = new Map<string, (answer: SurveyAnswer) => void>()

  constructor(deps: SurveysDeps) {
    this.#deps = deps
  }

  /**
   * Resolves to one answer per gateway, after at most two seconds. `pattern` is a glob of channels to list by
   * name; absent: none. Rejects with BROKER_UNAVAILABLE while Redis does not answer, and like
   * `Broker.publish`.
   */
  async collect({ key, policy }: TenantRuntime, pattern?: string): Promise<SurveyAnswer[]> {
    const { id: asker, wheel } = this.#deps
    const expected = await this.#deps.countGateways()
    if (expected === undefined) {
      const message = 'Redis does not answer, so the other gateways are unknown. Try again'
      throw new CommandError('BROKER_UNAVAILABLE', message, { retryAfterMs: 1_000 })
    }
    const id = randomUUID()
    const answers = new Map<string, SurveyAnswer>()
    let finish = (): void => {}
    const finished = new Promise<void>((resolve) => (finish = resolve))
    this.#waiting.set(id, (answer) => {
      answers.set(answer.gateway, answer)
      if (answers.size >= expected) finish()
    })
    const timeout = wheel.after(waitMs, finish)
    try {
      await this.#deps.sendRequest({
        kind: 'survey',
        tenant: key,
        tenantId: policy.tenantId,
        id,
        asker,
        pattern,
      })
      await finished
    } finally {
      wheel.cancel(timeout)
      this.#waiting.delete(id)
    }
    return [...answers.values()]
  }

  /** Handles an answer. An answer to a finished survey is ignored. */
  onAnswer(answer: SurveyAnswer): void {
    this.#waiting.get(answer.survey)?.(answer)
  }

  /**
   * Answers a survey for this gateway, also when the gateway does not know the tenant (yet): the gateway that
   * sent the survey waits for an answer from each gateway.
   */
  answer(survey: SurveyRequest): void {
    const known = this.#deps.tenant(survey.tenant)
    const tenant = known?.policy.tenantId === survey.tenantId ? known : undefined
    const channels = tenant ? [...tenant.channels.subscribedChannels()] : []
    const { pattern } = survey
    const answer: SurveyAnswer = {
      survey: survey.id,
      gateway: this.#deps.id,
      clients: tenant?.quota.connections ?? 0,
      users: tenant?.quota.users ?? 0,
      subscriptions: channels.reduce((sum, [, subscribers]) => sum + subscribers, 0),
      channels: channels.length,
      uptimeS: Math.floor(process.uptime()),
      named:
        pattern === undefined
          ? []
          : channels.filter(([channel]) => globMatches(pattern, channel)).slice(0, namedChannelsMax),
    }
    this.#deps.sendAnswer(survey.asker, answer).catch((error: unknown) => this.#deps.onAnswerFailed(error))
  }
}
