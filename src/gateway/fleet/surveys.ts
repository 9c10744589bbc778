// Collects the usage of a tenant from all gateways. Each gateway answers for itself, and the result says how
// many of how many answered in time. Surveys make work on every gateway, so they have a rate per tenant where
// they begin, and another one where they are answered.
import { randomUUID } from 'node:crypto'
import { CommandError } from '../../errors.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { TokenBuckets } from '../../quota/token-bucket.js'
import type { Clock, TimerWheel } from '../../time.js'
import { globMatches } from '../api/glob.js'
import { namedChannelsMax, type SurveyRequest, type SurveyAnswer } from './control-messages.js'

/**
 * Long enough for a busy gateway. A gateway that died still counts as live for up to 15 s and never answers.
 */
const waitMs = 2_000

/**
 * What one tenant may spend on surveys per second, at the gateway that asks and at each that answers: one for
 * a survey that only counts, `namesCost` for one that lists channels. Above it, a gateway asks no others, or
 * does not answer.
 */
const askRate = { rate: 5, burst: 20 }
const answerRate = { rate: 10, burst: 40 }
const namesCost = 2

/** The most bytes of channel names in all answers to one survey, and the least that each gateway may use. */
const namedBytesTotal = 4_194_304
const namedBytesMin = 16_384
/** What JSON adds to a name: quotes, brackets, commas and the number of subscribers. */
const namedEntryBytes = 12

/** What surveys need from their gateway. */
export interface SurveysDeps {
  /** The id of this gateway, unique among all gateways. */
  readonly id: string
  readonly clock: Clock
  readonly wheel: TimerWheel
  sendRequest(survey: SurveyRequest): Promise<void>
  sendAnswer(gateway: string, answer: SurveyAnswer): Promise<void>
  /** The number of live gateways, this one included. Undefined while Redis does not answer. */
  countGateways(): Promise<number | undefined>
  tenant(key: string): TenantRuntime | undefined
  /** Called when an answer could not be sent. */
  onAnswerFailed(error: unknown): void
}

export interface SurveyResult {
  /** One for each gateway that has answered. */
  readonly answers: readonly SurveyAnswer[]
  /** The number of live gateways. With fewer answers the result is incomplete. */
  readonly expected: number
}

export class Surveys {
  readonly #deps: SurveysDeps
  readonly #asked = new TokenBuckets<TenantRuntime>(askRate)
  readonly #answered = new TokenBuckets<TenantRuntime>(answerRate)
  /** Answer handlers by survey id. */
  readonly #waiting = new Map<string, (answer: SurveyAnswer) => void>()

  constructor(deps: SurveysDeps) {
    this.#deps = deps
  }

  /**
   * Resolves to one answer per gateway, after at most two seconds. `pattern` is a glob of channels to list by
   * name; absent: none. Rejects with QUOTA_EXCEEDED above the rate of surveys, with BROKER_UNAVAILABLE while
   * Redis does not answer, and like `Broker.publish`.
   */
  async collect(tenant: TenantRuntime, pattern?: string): Promise<SurveyResult> {
    const { id: asker, wheel } = this.#deps
    const { key, policy } = tenant
    const retryAfterMs = this.#charge(this.#asked, tenant, pattern)
    if (retryAfterMs > 0) {
      const message = `This gateway sends at most ${askRate.rate} surveys per second for a tenant, or ${askRate.rate / namesCost} that list channels, and they are used: try again later`
      throw new CommandError('QUOTA_EXCEEDED', message, { retryAfterMs })
    }
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
        tenant: key,
        tenantId: policy.tenantId,
        id,
        asker,
        pattern,
        namedBytesMax: Math.max(namedBytesMin, Math.floor(namedBytesTotal / expected)),
      })
      await finished
    } finally {
      wheel.cancel(timeout)
      this.#waiting.delete(id)
    }
    return { answers: [...answers.values()], expected }
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
    const { pattern } = survey
    if (tenant && this.#charge(this.#answered, tenant, pattern) > 0) return
    const channels = tenant ? [...tenant.channels.subscribedChannels()] : []
    const matching =
      pattern === undefined ? [] : channels.filter(([channel]) => globMatches(pattern, channel))
    const named = firstOf(matching, survey.namedBytesMax)
    const answer: SurveyAnswer = {
      survey: survey.id,
      gateway: this.#deps.id,
      clients: tenant?.quota.connections ?? 0,
      users: tenant?.quota.users ?? 0,
      subscriptions: channels.reduce((sum, [, subscribers]) => sum + subscribers, 0),
      channels: channels.length,
      uptimeS: Math.floor(process.uptime()),
      named,
      ...(named.length < matching.length && { truncated: true }),
    }
    this.#deps.sendAnswer(survey.asker, answer).catch((error: unknown) => this.#deps.onAnswerFailed(error))
  }

  /** Returns 0, or the milliseconds until the tenant may spend what the survey costs. */
  #charge(buckets: TokenBuckets<TenantRuntime>, tenant: TenantRuntime, pattern: string | undefined): number {
    return buckets.take(tenant, pattern === undefined ? 1 : namesCost, this.#deps.clock.monotonicMs())
  }
}

/** Returns the first of `channels` that one answer may name. */
function firstOf(channels: readonly [string, number][], bytesMax: number): [string, number][] {
  const first: [string, number][] = []
  let bytes = 0
  for (const entry of channels) {
    bytes += Buffer.byteLength(entry[0]) + namedEntryBytes
    if (bytes > bytesMax || first.length === namedChannelsMax) break
    first.push(entry)
  }
  return first
}
