// Proves that the suite can fail: each of these brokers omits an essential part of the algorithm, and a fault
// must reveal it.
import { describe, expect, test } from 'vitest'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from '../../src/redis/link.js'
import type { BrokerFault } from '../support/redis-gateway.js'
import type { Invariant } from './oracle.js'
import { loseAcceptedData, cutReplies, killLaggedMaster, resumeAtPromotion } from './fault-steps.js'
import { retryWhenStarved, type Scenario, type ScenarioOptions } from './scenario.js'

interface Mutation {
  readonly title: string
  readonly brokerFault: BrokerFault
  /** The invariant that the broker must violate. */
  readonly violates: Invariant
  stage(options: ScenarioOptions): Promise<Scenario>
  readonly onlyAccepted?: boolean
}

/** The default of ioredis: unanswered commands are sent again. */
function resending(live: LiveRedis): Partial<LiveRedis> {
  return {
    async run(pipeline, options) {
      try {
        return await live.run(pipeline, options)
      } catch (error) {
        if (!(error instanceof UnknownOutcomeError)) throw error
        throw new RedisUnavailableError('resent')
      }
    },
  }
}

/** Every master appears to be the first one. */
function frozenGeneration(live: LiveRedis): Partial<LiveRedis> {
  return {
    async run(pipeline, options) {
      const replies = await live.run(pipeline, options)
      return replies.map((reply) =>
        typeof reply === 'string' ? reply.replace(/^master_replid:\w+/m, 'master_replid:frozen') : reply,
      )
    },
  }
}

const mutations: readonly Mutation[] = [
  { title: 'without WAIT', brokerFault: { waitReplicas: 0 }, violates: 'I1', stage: killLaggedMaster },
  {
    title: 'without generations',
    brokerFault: { alter: frozenGeneration },
    // Two entries of two masters have the same offset.
    violates: 'I3',
    stage: loseAcceptedData,
    onlyAccepted: true,
  },
  { title: 'with resending', brokerFault: { alter: resending }, violates: 'I1', stage: cutReplies },
  {
    title: 'without querying the Sentinels after a silence',
    brokerFault: { alter: () => ({ confirmMaster: async () => true }) },
    violates: 'I1',
    stage: resumeAtPromotion,
  },
]

/** Some faults hit the critical moment in about half of the attempts only. */
const attemptsMax = 5

describe('a broker', () => {
  test.each(mutations)(
    '$title is detected',
    async ({ onlyAccepted = false, stage, brokerFault, violates, title }) => {
      let violated: Invariant[] = []
      for (let attempts = 0; attempts < attemptsMax && !violated.includes(violates); attempts += 1) {
        await retryWhenStarved(async () => {
          const scenario = await stage({ fault: `a broker ${title}`, brokerFault })
          try {
            const found = await scenario.violations({ onlyAccepted, unmeasured: true })
            violated = found.map(({ invariant }) => invariant)
          } finally {
            await scenario.close()
          }
        })
      }
      expect(violated).toContain(violates)
    },
  )
})
