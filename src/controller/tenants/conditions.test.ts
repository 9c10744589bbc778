import { describe, expect, test } from 'vitest'
import { conditionTypes, reasons } from '../reasons.js'
import {
  readyConditions,
  problemsVerdict,
  tenantConditions,
  type TenantFacts,
  type Verdict,
} from './conditions.js'
import { programmedVerdict } from './programmed.js'
import { problemReasons, type Problem } from '../../resources/problem.js'

const pass = (reason: Verdict['reason']): Verdict => ({ ok: true, reason, message: 'fine' })
const fail = (reason: Verdict['reason'], waitsFor: 'time' | 'action'): Verdict => ({
  ok: false,
  reason,
  message: `about ${reason}`,
  waitsFor,
})

const allPass: TenantFacts = {
  suspended: false,
  accepted: pass('Accepted'),
  credentials: pass('CredentialsReady'),
  programmed: pass('Programmed'),
  conflict: undefined,
  pressure: undefined,
}

function summary(facts: Partial<TenantFacts>): Record<string, string> {
  const conditions = tenantConditions({ ...allPass, ...facts })
  // Each documented type once, and no other.
  expect(conditions.map(({ type }) => type).toSorted()).toEqual(Object.keys(conditionTypes).toSorted())
  for (const { reason } of conditions) expect([...Object.keys(reasons), ...problemReasons]).toContain(reason)
  return Object.fromEntries(conditions.map(({ reason, status, type }) => [type, `${status} ${reason}`]))
}

describe('for rollout tools (kstatus)', () => {
  test('a ready tenant is neither reconciling nor stalled', () => {
    expect(summary({})).toMatchObject({
      Ready: 'True Available',
      Reconciling: 'False Settled',
      Stalled: 'False Progressing',
      Conflict: 'False NoConflict',
    })
  })

  test('a suspended tenant is ready', () => {
    expect(summary({ suspended: true })).toMatchObject({
      Ready: 'True Suspended',
      Stalled: 'False Progressing',
    })
  })

  test.each(['Pending', 'NoGateways', 'CatalogUnavailable', 'GatewayProblem'] as const)(
    '%s is reconciling: it resolves by itself',
    (reason) => {
      expect(summary({ programmed: fail(reason, 'time') })).toMatchObject({
        Ready: `False ${reason}`,
        Reconciling: `True ${reason}`,
        Stalled: 'False Progressing',
      })
    },
  )

  test('a failure that needs a user stalls the tenant, even while another resolves by itself', () => {
    const facts = { accepted: fail('QuotaAbovePlan', 'action'), programmed: fail('Pending', 'time') }
    expect(summary(facts)).toMatchObject({
      Ready: 'False QuotaAbovePlan',
      Reconciling: 'False Settled',
      Stalled: 'True QuotaAbovePlan',
    })
  })

  test('a suspended tenant is not ready when its spec cannot be met', () => {
    const facts = { suspended: true, accepted: fail('PlanNotFound', 'action') }
    expect(summary(facts)).toMatchObject({ Ready: 'False PlanNotFound' })
  })
})

test('conflict and quota pressure are reported, and do not affect Ready', () => {
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

test('kinds whose only own condition is Ready get Reconciling and Stalled too', () => {
  const types = readyConditions(fail('TenantNotFound', 'action')).map(
    ({ status, type }) => `${type} ${status}`,
  )
  expect(types).toEqual(['Ready False', 'Reconciling False', 'Stalled True'])
})

test('a rejection lists the first five fields and counts the rest', () => {
  const problem = (index: number): Problem => ({
    path: ['spec', 'channels', index, 'match', 'value'],
    reason: 'InvalidMatch',
    message: `Number ${index}.`,
  })
  const verdict = problemsVerdict(Array.from({ length: 7 }, (_, index) => problem(index)))
  expect(verdict).toMatchObject({ ok: false, reason: 'InvalidMatch', waitsFor: 'action' })
  expect(verdict.message).toMatch(/^spec\.channels\[0]\.match\.value: Number 0\. .*Number 4\. And 2 more\.$/)
})

describe('Programmed', () => {
  const of = (rollout: Parameters<typeof programmedVerdict>[0], accepted = true, revision?: string) => {
    const verdict = programmedVerdict(rollout, { accepted, revision, suspended: false })
    return `${verdict.ok} ${verdict.reason} ${verdict.ok ? '' : verdict.waitsFor}`.trim()
  }
  const counts = { gateways: 2, synced: 2 }

  test('is true only when all live gateways enforce the revision', () => {
    expect(of({ kind: 'all', ...counts })).toBe('true Programmed')
    expect(of({ kind: 'pending', ...counts })).toBe('false Pending time')
    expect(of({ kind: 'problem', ...counts })).toBe('false GatewayProblem time')
    expect(of({ kind: 'noGateways' })).toBe('false NoGateways time')
    expect(of({ kind: 'unavailable', message: 'x' })).toBe('false CatalogUnavailable time')
    expect(of({ kind: 'foreign', owner: 'x' })).toBe('false CatalogNotOurs action')
  })

  test('names the revision in force while the spec is not accepted', () => {
    expect(of({ kind: 'all', ...counts }, false, 'abc')).toBe('false LastGoodRevision action')
    expect(of({ kind: 'noGateways' }, false)).toBe('false NeverAccepted action')
  })

  test('says that the revision in force refuses all clients', () => {
    const facts = { accepted: false, revision: 'abc', suspended: true }
    expect(programmedVerdict({ kind: 'all', ...counts }, facts).message).toMatch(/revision abc.*suspended\.$/)
  })
})
