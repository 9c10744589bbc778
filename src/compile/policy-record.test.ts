import { expect, test } from 'vitest'
import { z } from 'zod'
import { guestsMax, TenantPolicy, toPolicyRecord } from '../tenant/policy.js'
import { planOf, policyOf } from './compile.testing.js'

const written = (policy: TenantPolicy): unknown => JSON.parse(JSON.stringify(toPolicyRecord(policy)))

test('a record leaves out limits with their default value, so that an earlier gateway can read it', () => {
  const policy = policyOf({})
  const { limits } = z.object({ limits: z.record(z.string(), z.unknown()) }).parse(written(policy))
  expect(limits).not.toHaveProperty('api')
  expect(limits.messages).not.toHaveProperty('readsPerSecond')
  expect(limits.retention).not.toHaveProperty('storedBytes')
  expect(TenantPolicy.parse(written(policy))).toEqual(policy)
})

test('a record names limits that differ from their default', () => {
  const policy = policyOf({ quota: { api: { requestsPerSecond: 7 }, retention: { storedBytes: 9 } } })
  expect(toPolicyRecord(policy).limits).toMatchObject({
    api: { requestsPerSecond: 7 },
    retention: { storedBytes: 9 },
  })
  expect(TenantPolicy.parse(written(policy))).toEqual(policy)
  expect(policy.revision).not.toBe(policyOf({}).revision)
})

test.each([
  [{}, { max: 101 }, 51],
  [{}, { max: 1 }, 1],
  [{}, { max: 100, guests: 0 }, 0],
  [{ guests: 30 }, { max: 10 }, 10],
  [{ guests: 30 }, { max: 100 }, 30],
])('with a plan of %j and a quota of %j, guests may use %i connections', (ofPlan, ofTenant, guests) => {
  const plan = planOf({ limits: { connections: ofPlan } })
  const { limits } = policyOf({ quota: { connections: ofTenant } }, { plan })
  expect(guestsMax(limits.connections)).toBe(guests)
})
