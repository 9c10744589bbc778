// The suite can fail: brokers that leave out what the algorithm stands on, and faults that must find them out.
import { describe, expect, test } from 'vitest'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from '../../src/redis/link.js'
import type { BrokerFault } from '../support/redis-gateway.js'
import type { Invariant } from './oracle.js'
import { acceptedLost, cutReplies, killedWithLag, wokenAtPromotion } from './staged.js'
import { unlessStarved, type World, type WorldOptions } from './world.js'

interface Mutation {
  readonly words: string
  readonly spoil: BrokerFault
  /** What must show. */
  readonly violates: Invariant
  play(options: WorldOptions): Promise<World>
  readonly onlyAccepted?: boolean
}

/** ioredis as it comes: what was not answered is sent again. */
function resending(live: LiveRedis): Partial<LiveRedis> {
  return {
    async run(pipeline, how) {
      try {
        return await live.run(pipeline, how)
      } catch (error) {
        if (!(error instanceof UnknownOutcomeError)) throw error
        throw new RedisUnavailableError('sent again')
      }
    },
  }
}

/** Every master seems to be the first. */
function frozenGeneration(live: LiveRedis): Partial<LiveRedis> {
  return {
    async run(pipeline, how) {
      const replies = await live.run(pipeline, how)
      return replies.map((reply) =>
        typeof reply === 'string' ? reply.replace(/^master_replid:\w+/m, 'master_replid:frozen') : reply,
      )
    },
  }
}

const mutations: readonly Mutation[] = [
  { words: 'without WAIT', spoil: { waitReplicas: 0 }, violates: 'I1', play: killedWithLag },
  {
    words: 'without generations',
    spoil: { alter: frozenGeneration },
    // Two entries of two masters bear one number.
    violates: 'I3',
    play: acceptedLost,
    onlyAccepted: true,
  },
  { words: 'with resending', spoil: { alter: resending }, violates: 'I1', play: cutReplies },
  {
    words: 'without asking the Sentinels after a silence',
    spoil: { alter: () => ({ confirmMaster: async () => true }) },
    violates: 'I1',
    play: wokenAtPromotion,
  },
]

/** Some faults hit the moment that matters only every other time. */
const playsMax = 5

describe('a broker', () => {
  test.each(mutations)(
    '$words is found out',
    async ({ onlyAccepted = false, play, spoil, violates, words }) => {
      let seen: Invariant[] = []
      for (let plays = 0; plays < playsMax && !seen.includes(violates); plays += 1) {
        await unlessStarved(async () => {
          const world = await play({ fault: `a broker ${words}`, spoil })
          try {
            const found = await world.violations({ onlyAccepted, unmeasured: true })
            seen = found.map(({ invariant }) => invariant)
          } finally {
            await world.close()
          }
        })
      }
      expect(seen).toContain(violates)
    },
  )
})
