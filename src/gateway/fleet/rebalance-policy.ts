// Whether a gateway has more than its share of the sessions, and how many of them are to go elsewhere: what it decides from the heartbeats
// of all, each gateway for itself. Pure.

/** A gateway as it told of itself last. */
export interface FleetMember {
  readonly id: string
  readonly connections: number
  readonly ready: boolean
  /** Since it did. */
  readonly ageMs: number
}

/** What is known at one moment; `id` is whose decision it is. */
export interface FleetView {
  readonly id: string
  readonly members: readonly FleetMember[]
  readonly nowMs: number
  /** How long a round takes. */
  readonly windowMs: number
}

/** What a gateway keeps in mind from one look to the next. */
export interface RebalanceState {
  /** Ids of those that were ready. */
  readonly fleet: string
  readonly fleetSinceMs: number
  readonly phase: Phase
}

type Phase =
  | { readonly kind: 'even' }
  | {
      readonly kind: 'shedding'
      /** Sessions that all gateways together had above the mean when it began. */
      readonly unevenAtFirst: number
      readonly rounds: number
      /** How many of those sent away ought to have found a gateway with room. */
      readonly expected: number
      readonly roundEndedMs: number
    }
  /** It did not help. */
  | { readonly kind: 'resting'; readonly untilMs: number }

export type RebalanceDecision =
  | { readonly kind: 'stay' | 'giveUp'; readonly memory: RebalanceState }
  /** A round of `count` sessions; `afterRound` tells the memory how it went. */
  | {
      readonly kind: 'shed'
      readonly memory: RebalanceState
      readonly count: number
      readonly mean: number
      /** The share of gateways that have less than the mean. */
      readonly takers: number
    }

export const initialRebalanceState: RebalanceState = { fleet: '', fleetSinceMs: 0, phase: { kind: 'even' } }

/** Below that no gateway is too full, whatever the others have. */
const connectionsMin = 100
/** In sessions above the mean, the larger of the two. The fullest is to have less than 1.25 times the mean: it begins before that. */
const startThreshold = { ofMean: 0.2, deviations: 3 }
const stopThreshold = { ofMean: 0.05, deviations: 1 }
/** Of a round: a fifth of the sessions, but a few hundred at once are no load, and thousands are one. With what is waited for, there are three rounds a minute. */
const roundShare = 0.2
const roundMin = 500
const roundMax = 5_000
/** So many windows the fleet must have been the same: in a rollout it is another every few seconds, and who is sent away would be so again. */
const steadyWindows = 3
/** Gateways tell of themselves every 5 s. One that is late tells of the past. */
const staleMs = 10_000
/** Until who was sent away is where it will be: the first try of an SDK comes within a second. */
const returnMs = 2_000
/** Before it is judged. */
const roundsMin = 3
const expectedMin = 50
const restMs = 3_600_000

export function decideRebalance(memory: RebalanceState, look: FleetView): RebalanceDecision {
  const { id, nowMs, windowMs } = look
  const ready = look.members.filter((member) => member.ready)
  const fleet = ready.map((member) => member.id).join(' ')
  if (fleet !== memory.fleet) return keep({ ...resetObservations(memory), fleet, fleetSinceMs: nowMs })
  if (nowMs - memory.fleetSinceMs < steadyWindows * windowMs) return keep(memory)
  const own = ready.find((member) => member.id === id)
  if (!own || ready.length < 2 || oldestAgeMs(ready) > staleMs) return keep(memory)

  const mean = ready.reduce((sum, { connections }) => sum + connections, 0) / ready.length
  const excess = own.connections - mean
  const uneven = ready.reduce((sum, { connections }) => sum + Math.max(0, connections - mean), 0)
  const phase = memory.phase.kind === 'shedding' ? memory.phase : startEvicting(memory.phase, { nowMs, uneven })
  if (!phase) return keep(memory)
  // What was told before the last round was over would have its sessions sent away twice.
  if (oldestAgeMs(ready) > nowMs - phase.roundEndedMs - returnMs) return keep(memory)
  const bound = phase.rounds === 0 ? startThreshold : stopThreshold
  if (own.connections < connectionsMin || excess <= thresholdOf(bound, mean))
    return keep({ ...memory, phase: { kind: 'even' } })
  if (isIneffective(phase, uneven))
    return { kind: 'giveUp', memory: { ...memory, phase: { kind: 'resting', untilMs: nowMs + restMs } } }
  const most = Math.min(roundMax, Math.max(roundMin, own.connections * roundShare))
  const takers = ready.filter(({ connections }) => connections < mean).length / ready.length
  return {
    kind: 'shed',
    memory: { ...memory, phase },
    count: Math.floor(Math.min(most, excess)),
    mean,
    takers,
  }
}

/** Heartbeats cannot be read, or the fleet has become another: what was found out before does not hold any more. A rest is a rest. */
export function resetObservations({ phase }: RebalanceState): RebalanceState {
  return { ...initialRebalanceState, phase: phase.kind === 'resting' ? phase : initialRebalanceState.phase }
}

export function recordRound(memory: RebalanceState, round: { sent: number; takers: number; endedMs: number }): RebalanceState {
  const { phase } = memory
  if (phase.kind !== 'shedding') return memory
  const expected = phase.expected + round.sent * round.takers
  return { ...memory, phase: { ...phase, rounds: phase.rounds + 1, expected, roundEndedMs: round.endedMs } }
}

type Evicting = Extract<Phase, { kind: 'shedding' }>

function startEvicting(
  phase: Exclude<Phase, Evicting>,
  { nowMs, uneven }: { nowMs: number; uneven: number },
): Evicting | undefined {
  if (phase.kind === 'resting' && nowMs < phase.untilMs) return undefined
  return { kind: 'shedding', unevenAtFirst: uneven, rounds: 0, expected: 0, roundEndedMs: -Infinity }
}

/** Chance alone gives a gateway some deviations more than others have: to shed those would never end. */
function thresholdOf({ deviations, ofMean }: typeof startThreshold, mean: number): number {
  return Math.max(ofMean * mean, deviations * Math.sqrt(mean))
}

/**
 * A balancer that picks at random sends the share `takers` of them to gateways with room, one that counts connections more. Where the fleet
 * has become even by far less than that, something holds clients where they were. Of the fleet and not of this gateway, since those whom others
 * send away land here too; of all rounds together, since who comes back late is back by then.
 */
function isIneffective({ expected, rounds, unevenAtFirst }: Evicting, uneven: number): boolean {
  return rounds >= roundsMin && expected >= expectedMin && unevenAtFirst - uneven < expected / 3
}

function oldestAgeMs(members: readonly FleetMember[]): number {
  return Math.max(...members.map(({ ageMs }) => ageMs))
}

function keep(memory: RebalanceState): RebalanceDecision {
  return { kind: 'stay', memory }
}
