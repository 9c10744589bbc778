// Conditions as tools read them (kstatus, `kubectl wait`, Helm, Argo CD): one per type, and its time moves only with its status.
import { timeText } from './timestamps.js'

export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  /** CamelCase, never empty. */
  readonly reason: string
  readonly message: string
  /** RFC 3339. */
  readonly lastTransitionTime: string
  readonly observedGeneration: number
}

/** What is found out; the time is not: it follows from what was. */
export type Finding = Omit<Condition, 'lastTransitionTime' | 'observedGeneration'>

/** Where absence says all is well, and where True makes tools wait (Reconciling) or give up (Stalled). */
const abnormal: ReadonlySet<string> = new Set(['Reconciling', 'Stalled', 'Conflict'])
const messageLengthMax = 4_096

/**
 * All conditions after `findings`, in their order. Every one of them bears the generation that was looked at, also when nothing else moved
 * and also on failure: else tools take it for progress for ever. What is not among the findings goes, and so does an abnormal one that is
 * not True.
 */
export function conditionsOf(
  findings: readonly Finding[],
  options: {
    was: readonly Pick<Condition, 'type' | 'status' | 'lastTransitionTime'>[]
    generation: number
    epochMs: number
  },
): Condition[] {
  return findings
    .filter(({ type, status }) => status === 'True' || !abnormal.has(type))
    .map((finding) => {
      const was = options.was.find(({ type }) => type === finding.type)
      const moved = was?.status !== finding.status
      return {
        ...finding,
        message: finding.message.slice(0, messageLengthMax),
        lastTransitionTime: moved ? timeText(options.epochMs) : was.lastTransitionTime,
        observedGeneration: options.generation,
      }
    })
}
