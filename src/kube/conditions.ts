// Builds status conditions in the form that kstatus, `kubectl wait`, Helm and Argo CD expect: one condition
// per type, whose transition time changes only when its status does.
import { timestamp } from './timestamps.js'

export interface ObjectCondition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  /** In CamelCase, never empty. */
  readonly reason: string
  readonly message: string
  /** RFC 3339. */
  readonly lastTransitionTime: string
  readonly observedGeneration: number
}

/** The result of a check. `conditionsOf` adds the transition time and the generation. */
export type Finding = Omit<ObjectCondition, 'lastTransitionTime' | 'observedGeneration'>

/**
 * The condition types of kstatus that are absent from a healthy object. True makes tools wait (Reconciling)
 * or give up (Stalled).
 */
export const abnormalConditionTypes: readonly string[] = ['Reconciling', 'Stalled']
const messageLengthMax = 4_096

/**
 * Returns all conditions of the object, in the order of `findings`. Every condition gets the generation that
 * was checked, also after a failure and also when nothing else changed: otherwise tools would report progress
 * forever. A condition without a finding is removed, and so is one of an abnormal type whose status is not
 * True.
 */
export function conditionsOf(
  findings: readonly Finding[],
  options: {
    /** The conditions that the object has now. */
    previous: readonly Pick<ObjectCondition, 'type' | 'status' | 'lastTransitionTime'>[]
    generation: number
    epochMs: number
    /** Types that are present only while their status is True. Default: `abnormalConditionTypes`. */
    abnormalTypes?: readonly string[]
  },
): ObjectCondition[] {
  const abnormal = options.abnormalTypes ?? abnormalConditionTypes
  return findings
    .filter(({ type, status }) => status === 'True' || !abnormal.includes(type))
    .map((finding) => {
      const previous = options.previous.find(({ type }) => type === finding.type)
      const moved = previous?.status !== finding.status
      return {
        ...finding,
        message: finding.message.slice(0, messageLengthMax),
        lastTransitionTime: moved ? timestamp(options.epochMs) : previous.lastTransitionTime,
        observedGeneration: options.generation,
      }
    })
}
