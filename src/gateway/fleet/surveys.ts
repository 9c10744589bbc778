// How a tenant stands on all gateways: one asks, each answers for itself, and who does not answer in time is left out.
import { randomUUID } from 'node:crypto'
import { CommandError } from '../../errors.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type { TimerWheel } from '../../time.js'
import { globMatches } from '../api/glob.js'
import { namedChannelsMax, type SurveyRequest, type SurveyAnswer } from './control-messages.js'

/** For a gateway that is busy; one that died is still counted for up to 15 s and never answers. */
const waitMs = 2_000

/** What surveys need of their gateway. */
export interface SurveysDeps {
  /** Of this gateway among all. */
  readonly id: string
  readonly wheel: TimerWheel
  sendRequest(survey: SurveyRequest): Promise<void>
  sendAnswer(gateway: string, answer: SurveyAnswer): Promise<void>
  /** Gateways that live, this one included; undefined while nobody can tell. */
  countGateways(): Promise<number | undefined>
  tenant(key: string): TenantRuntime | undefined
  /** An answer could not be sent. */
  onAnswerFailed(error: unknown): void
}

export class Surveys {
  readonly #deps: SurveysDeps
  /** By the survey's id. */
  readonly #waiting = new Map<string, (answer: SurveyAnswer) => void>()

  constructor(deps: SurveysDeps) {
    this.#deps = deps
  }

  /** One answer a gateway. `pattern`: which channels are wanted by name; absent: none. Rejects like `Broker.publish`. */
  async collect({ key, policy }: TenantRuntime, pattern?: string): Promise<SurveyAnswer[]> {
    const { id: asker, wheel } = this.#deps
    const expected = await this.#deps.countGateways()
    if (expected === undefined) {
      const message = 'Redis does not answer: nothing is known of the other gateways. Try again'
      throw new CommandError('BROKER_UNAVAILABLE', message, { retryAfterMs: 1_000 })
    }
    const id = randomUUID()
    const answers = new Map<string, SurveyAnswer>()
    let enough = (): void => {}
    const answered = new Promise<void>((resolve) => (enough = resolve))
    this.#waiting.set(id, (answer) => {
      answers.set(answer.gateway, answer)
      if (answers.size >= expected) enough()
    })
    const late = wheel.after(waitMs, enough)
    try {
      await this.#deps.sendRequest({ kind: 'survey', tenant: key, tenantId: policy.tenantId, id, asker, pattern })
      await answered
    } finally {
      wheel.cancel(late)
      this.#waiting.delete(id)
    }
    return [...answers.values()]
  }

  onAnswer(answer: SurveyAnswer): void {
    this.#waiting.get(answer.survey)?.(answer)
  }

  /** For this gateway: also where the tenant is not known (yet), since somebody waits. */
  answer(survey: SurveyRequest): void {
    const known = this.#deps.tenant(survey.tenant)
    const tenant = known?.policy.tenantId === survey.tenantId ? known : undefined
    const channels = tenant ? [...tenant.channels.subscribedChannels()] : []
    const { pattern } = survey
    const answer: SurveyAnswer = {
      survey: survey.id,
      gateway: this.#deps.id,
      clients: tenant?.connections ?? 0,
      users: tenant?.users ?? 0,
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
