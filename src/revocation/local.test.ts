import { systemClock } from '../time.js'
import { expect, test } from 'vitest'
import { revocationsMax } from '../tenant/revocations.js'
import { LocalRevocations } from './local.js'
import { revocationContract } from './store.contract.js'

revocationContract('LocalRevocations', async () => ({
  store: new LocalRevocations(systemClock),
  close: async () => {},
}))

test('a tenant has at most 100,000 revocations: expired ones make room, and one of the tenant is always possible', async () => {
  let nowMs = 1_000_000
  const store = new LocalRevocations({ ...systemClock, epochMs: () => nowMs })
  for (let index = 0; index < revocationsMax; index += 1)
    await store.add('t1', { jti: `id ${index}`, ...(index === 0 && { expiresAtMs: nowMs + 1_000 }) })
  await expect(store.add('t1', { jti: 'one more' })).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' })
  await store.add('t1', { jti: 'id 5' })
  await store.add('t1', { issuedBeforeMs: nowMs })
  await store.add('t2', { jti: 'of another tenant' })
  await store.remove('t1', 'tenant')
  nowMs += 1_000
  await store.add('t1', { jti: 'one more' })
  expect(store.size).toBe(revocationsMax + 1)
})
