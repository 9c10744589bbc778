import { expect, test } from 'vitest'
import { ApiTurns, type Turn } from './turns.js'

/** Takes turns and records the names of the tenants in the order in which they were served. */
function turnsOf(limits: { working: number; perTenant: number }) {
  const turns = new ApiTurns<string>(limits)
  const served: string[] = []
  const held: { tenant: string; turn: Turn }[] = []
  const take = (tenant: string): void => {
    turns
      .take(tenant)
      .then((turn) => {
        served.push(tenant)
        held.push({ tenant, turn })
      })
      .catch((error: unknown) => {
        throw error
      })
  }
  return { turns, served, held, take }
}

const settle = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

test('the requests of a tenant wait while it has as many at work as it may', async () => {
  const { held, served, take } = turnsOf({ working: 10, perTenant: 2 })
  for (let n = 0; n < 5; n += 1) take('a')
  take('b')
  await settle()
  expect(served).toEqual(['a', 'a', 'b'])
  held[0]?.turn.end()
  await settle()
  expect(served).toEqual(['a', 'a', 'b', 'a'])
})

test('waiting requests are served from each tenant in turn', async () => {
  const { held, served, take } = turnsOf({ working: 1, perTenant: 5 })
  for (const tenant of ['a', 'a', 'a', 'a', 'b', 'c']) take(tenant)
  for (let n = 0; n < 6; n += 1) {
    await settle()
    held[n]?.turn.end()
  }
  // The first two of `a` came before `b` and `c`.
  expect(served).toEqual(['a', 'a', 'b', 'c', 'a', 'a'])
})

test('a response that is not read counts for its own tenant only', async () => {
  const { held, served, take } = turnsOf({ working: 2, perTenant: 2 })
  for (const tenant of ['a', 'a', 'a', 'b']) take(tenant)
  await settle()
  for (const { turn } of held) turn.worked()
  await settle()
  expect(served).toEqual(['a', 'a', 'b'])
  held[0]?.turn.end()
  await settle()
  expect(served).toEqual(['a', 'a', 'b', 'a'])
})

test('ending a turn twice frees it once', async () => {
  const { held, served, take } = turnsOf({ working: 1, perTenant: 1 })
  take('a')
  await settle()
  held[0]?.turn.end()
  held[0]?.turn.end()
  held[0]?.turn.worked()
  for (const tenant of ['b', 'c', 'd']) take(tenant)
  await settle()
  expect(served).toEqual(['a', 'b'])
})
