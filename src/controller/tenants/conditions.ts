// Derives the conditions of a ChatTenant from the findings about it, with pure functions. They follow the
// rules of kstatus: Ready is the summary, Reconciling is true only while work continues by itself, and
// Stalled only while it waits for a user.
import { fieldPathText, type Problem } from '../../resources/problem.js'
import type { ConditionType, Reason } from '../reasons.js'

/** A condition without its transition time and generation. */
export interface ConditionFacts {
  readonly type: ConditionType
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: Reason
  readonly message: string
}

/**
 * The result of one check. A failure with `waitsFor: 'time'` resolves by itself; one with `waitsFor:
 * 'action'` needs a change by a user.
 */
export type Verdict =
  | { readonly ok: true; readonly reason: Reason; readonly message: string }
  | {
      readonly ok: false
      readonly reason: Reason
      readonly message: string
      readonly waitsFor: 'time' | 'action'
    }

export interface TenantFacts {
  readonly suspended: boolean
  readonly accepted: Verdict
  readonly credentials: Verdict
  readonly programmed: Verdict
  /** Undefined when there is no conflict. */
  readonly conflict: { readonly reason: Reason; readonly message: string } | undefined
  readonly pressure: QuotaPressure
}

/** The first limit that is nearly used up, or undefined. */
export type QuotaPressure =
  | { readonly limit: string; readonly used: number; readonly allowed: number }
  | undefined

/** Returns all conditions of a ChatTenant. */
export function tenantConditions(facts: TenantFacts): ConditionFacts[] {
  const { accepted, conflict, credentials, pressure, programmed, suspended } = facts
  const verdicts = [accepted, credentials, programmed]
  const failures = verdicts.flatMap((verdict) => (verdict.ok ? [] : verdict))
  const [first] = failures
  const stuck = failures.find(({ waitsFor }) => waitsFor === 'action')
  const ready: Omit<ConditionFacts, 'type'> = first
    ? { status: 'False', reason: first.reason, message: first.message }
    : suspended
      ? {
          status: 'True',
          reason: 'Suspended',
          message: 'The tenant is suspended by spec.suspend: clients cannot connect.',
        }
      : { status: 'True', reason: 'Available', message: 'Clients can connect.' }
  return [
    { type: 'Ready', ...ready },
    conditionOf('Accepted', accepted),
    conditionOf('Programmed', programmed),
    conditionOf('CredentialsReady', credentials),
    pressureCondition(pressure),
    ...progressConditions(first, stuck),
    conflict
      ? { type: 'Conflict', status: 'True', ...conflict }
      : { type: 'Conflict', status: 'False', reason: 'NoConflict', message: '' },
  ]
}

/** Returns the conditions of a kind whose only specific condition is Ready. */
export function readyConditions(verdict: Verdict): ConditionFacts[] {
  const failure = verdict.ok ? undefined : verdict
  const stuck = failure?.waitsFor === 'action' ? failure : undefined
  return [conditionOf('Ready', verdict), ...progressConditions(failure, stuck)]
}

function conditionOf(type: ConditionType, { message, ok, reason }: Verdict): ConditionFacts {
  return { type, status: ok ? 'True' : 'False', reason, message }
}

type Failure = Extract<Verdict, { ok: false }>

function progressConditions(first: Failure | undefined, stuck: Failure | undefined): ConditionFacts[] {
  return [
    first && !stuck
      ? { type: 'Reconciling', status: 'True', reason: first.reason, message: first.message }
      : { type: 'Reconciling', status: 'False', reason: 'Settled', message: '' },
    stuck
      ? { type: 'Stalled', status: 'True', reason: stuck.reason, message: stuck.message }
      : { type: 'Stalled', status: 'False', reason: 'Progressing', message: '' },
  ]
}

function pressureCondition(pressure: QuotaPressure): ConditionFacts {
  const type = 'QuotaPressure'
  if (!pressure) return { type, status: 'False', reason: 'BelowQuota', message: '' }
  const message = `More than 90 % of ${pressure.limit} is used: the limit is ${pressure.allowed}.`
  return { type, status: 'True', reason: 'NearQuota', message }
}

/** At most this many problems are listed; the rest are counted. */
const problemsMax = 5

/** Returns the failure for a spec with problems: one message lists them, and the first gives the reason. */
export function problemsVerdict(problems: readonly Problem[]): Verdict {
  const [first] = problems
  if (!first) throw new Error('unreachable: a spec was rejected without a problem')
  const listed = problems
    .slice(0, problemsMax)
    .map(({ message, path }) => `${fieldPathText(path)}: ${message}`)
  const more = problems.length > problemsMax ? [`And ${problems.length - problemsMax} more.`] : []
  return { ok: false, reason: first.reason, message: [...listed, ...more].join(' '), waitsFor: 'action' }
}
