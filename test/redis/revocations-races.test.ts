// Several gateways change the same revocations at the same time, while connections break: afterwards all of
// them hold what Redis holds.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { CommandError } from '../../src/errors.js'
import { revocationName, type Revocation } from '../../src/tenant/revocations.js'
import { endRedisProcesses, startRedis, type RedisProcess } from '../support/redis-processes.js'
import { endRevocations, openTestRevocations, type TestRevocations } from '../support/redis-revocations.js'
import { deadlineMs } from '../support/waiting.js'

let redis: RedisProcess

beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(async () => {
  await redis.cli('FLUSHALL')
})
afterEach(() => endRevocations())
afterAll(() => endRedisProcesses())

const users = [
  'ann',
  'tenant',
  'jti:a',
  '__proto__',
  'constructor',
  'a b',
  '{t}',
  'é☃👍',
  'e\u0301',
  '\u2028',
  ':',
  '-',
]

/** A generator of the same numbers in each run (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

function revocationOf(random: (below: number) => number, nowMs: number): Revocation {
  const name = users[random(users.length)] ?? ''
  const expires = random(2) === 0 ? {} : { expiresAtMs: nowMs + 600_000 + random(1_000) }
  const issuedBeforeMs = nowMs - random(1_000)
  const targets: Revocation[] = [
    { user: name },
    { jti: name },
    { user: name, issuedBeforeMs },
    { issuedBeforeMs },
  ]
  return { ...targets[random(targets.length)], ...expires }
}

/** A change that Redis may not have stored is refused as temporary. Every other failure is a bug. */
async function change({ store }: TestRevocations, random: (below: number) => number): Promise<void> {
  const revocation = revocationOf(random, Date.now())
  try {
    const kind = random(5)
    if (kind < 2) await store.add('t1', revocation)
    else if (kind === 2) await store.prolong('t1', revocation)
    else await store.remove('t1', revocationName(revocation))
  } catch (error) {
    if (!(error instanceof CommandError) || !error.temporary) throw error
  }
}

const textsOf = (revocations: Iterable<Revocation>): string[] =>
  Array.from(revocations, (one) =>
    JSON.stringify([revocationName(one), one.issuedBeforeMs, one.expiresAtMs]),
  ).toSorted()

test.each([1, 2, 3])('gateways agree after concurrent changes (seed %i)', async (seed) => {
  const url = `redis://127.0.0.1:${redis.port}`
  const gateways = [
    await openTestRevocations(url),
    await openTestRevocations(url),
    await openTestRevocations(url),
  ]
  const random = randomOf(seed)
  for (let round = 0; round < 15; round += 1) {
    const changes = gateways.flatMap((gateway) => Array.from({ length: 8 }, () => change(gateway, random)))
    if (round % 5 === 4) await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await Promise.all(changes)
  }
  const agree = async (): Promise<boolean> => {
    const [first] = gateways
    const stored = await first?.store.list('t1', { after: '', limit: 1_000 }).catch(() => undefined)
    const texts = stored && textsOf(stored.revocations).join('\n')
    return gateways.every(({ store }) => textsOf(store.open('t1', { revoked() {} })).join('\n') === texts)
  }
  await expect.poll(agree, { timeout: deadlineMs }).toBe(true)
})
