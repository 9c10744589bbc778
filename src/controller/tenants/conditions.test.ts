import { describe, expect, test } from 'vitest'
import { conditionTypes, reasons } from '../reasons.js'
import { readyConditions, refusedBy, tenantConditions, type TenantFacts, type Verdict } from './conditions.js'
import { programmedBy } from './programmed.js'
import { problemReasons, type Problem } from '../../resources/problem.js'

const yes = (reason: Verdict['reason']): Verdict => ({ ok: true, reason, message: 'fine' })
const no = (reason: Verdict['reason'], waitsFor: 'time' | 'somebody'): Verdict => ({
  ok: false,
  reason,
  message: `about ${reason}`,
  waitsFor,
})

const allWell: TenantFacts = {
  suspended: false,
  accepted: yes('Accepted'),
  credentials: yes('CredentialsReady'),
  programmed: yes('Programmed'),
  conflict: undefined,
  pressure: undefined,
}

function summary(facts: Partial<TenantFacts>): Record<string, string> {
  const conditions = tenantConditions({ ...allWell, ...facts })
  expect(conditions.map(({ type }) => type)).toEqual([...new Set(conditions.map(({ type }) => type))])
  for (const { reason, type } of conditions) {
    expect([...Object.keys(reasons), ...problemReasons]).toContain(reason)
    expect(Object.keys(conditionTypes)).toContain(type)
  }
  return Object.fromEntries(conditions.map(({ reason, status, type }) => [type, `${status} ${reason}`]))
}

describe('for rollout tools', () => {
  test('ready is neither reconciling nor stalled', () => {
    expect(summary({})).toMatchObject({
      Ready: 'True Available',
      Reconciling: 'False Settled',
      Stalled: 'False Progressing',
      Conflict: 'False NoConflict',
    })
  })

  test('suspended is ready', () => {
    expect(summary({ suspended: true })).toMatchObject({
      Ready: 'True Suspended',
      Stalled: 'False Progressing',
    })
  })

  test.each(['Pending', 'NoGateways', 'CatalogUnavailable', 'GatewayProblem'] as const)(
    '%s goes on by itself',
    (reason) => {
      expect(summary({ programmed: no(reason, 'time') })).toMatchObject({
        Ready: `False ${reason}`,
        Reconciling: `True ${reason}`,
        Stalled: 'False Progressing',
      })
    },
  )

  test('what somebody must mend stalls, though something else goes on', () => {
    const facts = { accepted: no('QuotaAbovePlan', 'somebody'), programmed: no('Pending', 'time') }
    expect(summary(facts)).toMatchObject({
      Ready: 'False QuotaAbovePlan',
      Reconciling: 'False Settled',
      Stalled: 'True QuotaAbovePlan',
    })
  })

  test('not even a suspended tenant is ready when its spec cannot be met', () => {
    const facts = { suspended: true, accepted: no('PlanNotFound', 'somebody') }
    expect(summary(facts)).toMatchObject({ Ready: 'False PlanNotFound' })
  })
})

test('conflict and pressure are told, and hold nobody up', () => {
  const facts = {
    conflict: { reason: 'HostnameTaken', message: 'x' } as const,
    pressure: { limit: 'connections.max', used: 95, allowed: 100 },
  }
  expect(summary(facts)).toMatchObject({
    Ready: 'True Available',
    Conflict: 'True HostnameTaken',
    QuotaPressure: 'True NearQuota',
  })
})

test('kinds with Ready alone', () => {
  const types = readyConditions(no('TenantNotFound', 'somebody')).map(
    ({ status, type }) => `${type} ${status}`,
  )
  expect(types).toEqual(['Ready False', 'Reconciling False', 'Stalled True'])
})

test('a refusal names fields, the first five, and how many more', () => {
  const problem = (index: number): Problem => ({
    path: ['spec', 'channels', index, 'match', 'value'],
    reason: 'InvalidMatch',
    message: `Number ${index}.`,
  })
  const verdict = refusedBy(Array.from({ length: 7 }, (_, index) => problem(index)))
  expect(verdict).toMatchObject({ ok: false, reason: 'InvalidMatch', waitsFor: 'somebody' })
  expect(verdict.message).toMatch(/^spec\.channels\[0]\.match\.value: Number 0\. .*Number 4\. And 2 more\.$/)
})

describe('Programmed', () => {
  const of = (standing: Parameters<typeof programmedBy>[0], accepted = true, revision?: string) => {
    const verdict = programmedBy(standing, { accepted, revision, suspended: false })
    return `${verdict.ok} ${verdict.reason} ${verdict.ok ? '' : verdict.waitsFor}`.trim()
  }
  const counts = { gateways: 2, synced: 2 }

  test('is true only when all live gateways can do it', () => {
    expect(of({ kind: 'all', ...counts })).toBe('true Programmed')
    expect(of({ kind: 'pending', ...counts })).toBe('false Pending time')
    expect(of({ kind: 'problem', ...counts })).toBe('false GatewayProblem time')
    expect(of({ kind: 'noGateways' })).toBe('false NoGateways time')
    expect(of({ kind: 'unavailable', message: 'x' })).toBe('false CatalogUnavailable time')
    expect(of({ kind: 'foreign', owner: 'x' })).toBe('false CatalogNotOurs somebody')
  })

  test('of a spec that is not accepted says what is served instead', () => {
    expect(of({ kind: 'all', ...counts }, false, 'abc')).toBe('false LastGoodRevision somebody')
    expect(of({ kind: 'noGateways' }, false)).toBe('false NeverAccepted somebody')
  })

  test('says that what is served lets nobody in', () => {
    const facts = { accepted: false, revision: 'abc', suspended: true }
    expect(programmedBy({ kind: 'all', ...counts }, facts).message).toMatch(/revision abc.*suspended\.$/)
  })
})
