// What a ChatTenant's conditions say, from what was found out: pure. Clean for kstatus: Ready is the sum; Reconciling and Stalled are true
// only while something goes on by itself, or waits for somebody.
import { fieldPathText, type Problem } from '../../resources/problem.js'
import type { ConditionType, Reason } from '../reasons.js'

/** One condition before it is known since when, and of which generation. */
export interface ConditionFacts {
  readonly type: ConditionType
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: Reason
  readonly message: string
}

/** One of the things that must hold. `waitsFor`: does it go on by itself, or is somebody needed? */
export type Verdict =
  | { readonly ok: true; readonly reason: Reason; readonly message: string }
  | {
      readonly ok: false
      readonly reason: Reason
      readonly message: string
      readonly waitsFor: 'time' | 'somebody'
    }

export interface TenantFacts {
  readonly suspended: boolean
  readonly accepted: Verdict
  readonly credentials: Verdict
  readonly programmed: Verdict
  /** Undefined: nobody else claims anything. */
  readonly conflict: { readonly reason: Reason; readonly message: string } | undefined
  readonly pressure: Pressure
}

/** The limit that is nearest to being used up; undefined: none is near. */
export type Pressure = { readonly limit: string; readonly used: number; readonly allowed: number } | undefined

export function tenantConditions(facts: TenantFacts): ConditionFacts[] {
  const { accepted, conflict, credentials, pressure, programmed, suspended } = facts
  const verdicts = [accepted, credentials, programmed]
  const failures = verdicts.flatMap((verdict) => (verdict.ok ? [] : verdict))
  const [first] = failures
  const stuck = failures.find(({ waitsFor }) => waitsFor === 'somebody')
  const ready: Omit<ConditionFacts, 'type'> = first
    ? { status: 'False', reason: first.reason, message: first.message }
    : suspended
      ? { status: 'True', reason: 'Suspended', message: 'Suspended by its spec: nobody may connect.' }
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

/** For kinds with a Ready of their own alone. */
export function readyConditions(verdict: Verdict): ConditionFacts[] {
  const failure = verdict.ok ? undefined : verdict
  const stuck = failure?.waitsFor === 'somebody' ? failure : undefined
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

function pressureCondition(pressure: Pressure): ConditionFacts {
  const type = 'QuotaPressure'
  if (!pressure) return { type, status: 'False', reason: 'BelowQuota', message: '' }
  const message = `More than 90 % of ${pressure.limit} is used: the limit is ${pressure.allowed}.`
  return { type, status: 'True', reason: 'NearQuota', message }
}

/** So many are told; of more there is the number. */
const problemsMax = 5

/** All that an author must mend, in one message; the first gives the reason. */
export function refusedBy(problems: readonly Problem[]): Verdict {
  const [first] = problems
  if (!first) throw new Error('unreachable: refused by nothing')
  const told = problems.slice(0, problemsMax).map(({ message, path }) => `${fieldPathText(path)}: ${message}`)
  const more = problems.length > problemsMax ? [`And ${problems.length - problemsMax} more.`] : []
  return { ok: false, reason: first.reason, message: [...told, ...more].join(' '), waitsFor: 'somebody' }
}
