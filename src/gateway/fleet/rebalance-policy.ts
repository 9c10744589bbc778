// Decides whether a gateway has more than its share of the sessions and how many it closes, so that those
// clients reconnect to other gateways. Every gateway decides for itself, from the heartbeats of all gateways.
// Pure: no clock and no I/O.

/** A gateway, as its latest heartbeat describes it. */
export interface FleetMember {
  readonly id: string
  readonly connections: number
  readonly ready: boolean
  /** The age of the heartbeat. */
  readonly ageMs: number
}

/** The fleet at one moment, as the gateway `id` sees it. */
export interface FleetView {
  /** The id of the gateway that decides. */
  readonly id: string
  readonly members: readonly FleetMember[]
  readonly nowMs: number
  /** The duration of one round. */
  readonly windowMs: number
}

/** What a gateway remembers from one decision to the next. */
export interface RebalanceState {
  /** The ids of the gateways that were ready, joined by spaces. */
  readonly fleet: string
  /** When `fleet` changed last. */
  readonly fleetSinceMs: number
  readonly phase: Phase
}

type Phase =
  | { readonly kind: 'balanced' }
  | {
      readonly kind: 'evicting'
      /** The sum over all gateways of their sessions above the mean, when the first round began. */
      readonly initialExcess: number
      readonly rounds: number
      /** The number of closed sessions that should have reached a gateway below the mean. */
      readonly expected: number
      readonly roundEndedMs: number
    }
  /** Evicting had no effect, so the gateway waits. */
  | { readonly kind: 'backingOff'; readonly untilMs: number }

export type RebalanceDecision =
  | { readonly kind: 'keep' | 'giveUp'; readonly state: RebalanceState }
  /** Close `count` sessions, then call `recordRound`. */
  | {
      readonly kind: 'evict'
      readonly state: RebalanceState
      readonly count: number
      /** The mean number of connections of the ready gateways. */
      readonly mean: number
      /** The share of gateways that are below the mean, 0 to 1. */
      readonly belowMeanShare: number
    }

export const initialRebalanceState: RebalanceState = {
  fleet: '',
  fleetSinceMs: 0,
  phase: { kind: 'balanced' },
}

/** A gateway with fewer connections never evicts, whatever the other gateways have. */
const connectionsMin = 100

interface Threshold {
  readonly meanShare: number
  readonly deviations: number
}
/**
 * The number of sessions above the mean at which a gateway starts and stops to evict; the larger of the two
 * values counts. The fullest gateway must end up below 1.25 times the mean, so eviction starts before that.
 */
const startThreshold: Threshold = { meanShare: 0.2, deviations: 3 }
const stopThreshold: Threshold = { meanShare: 0.05, deviations: 1 }
/**
 * The size of a round: a fifth of the gateway's sessions. A few hundred reconnects at once are a negligible
 * load, and thousands are not, so it is at least `roundMin` and at most `roundMax`. With the waiting time
 * between them there are three rounds a minute.
 */
const roundShare = 0.2
const roundMin = 500
const roundMax = 5_000
/**
 * The fleet must have been the same for this many windows. During a rollout it changes every few seconds, and
 * clients that are closed then would soon be closed again.
 */
const steadyWindows = 3
/** Gateways send a heartbeat every 5 s. An older one is stale. */
const staleMs = 10_000
/**
 * The time after which closed clients have reconnected: the first attempt of an SDK comes within a second.
 */
const returnMs = 2_000
/** The effect is judged only after this many rounds and expected sessions. */
const roundsMin = 3
const expectedMin = 50
const backOffMs = 3_600_000

/** Decides what the gateway does now: keep its sessions, evict some of them, or give up for a while. */
export function decideRebalance(state: RebalanceState, view: FleetView): RebalanceDecision {
  const { id, nowMs, windowMs } = view
  const ready = view.members.filter((member) => member.ready)
  const fleet = ready.map((member) => member.id).join(' ')
  if (fleet !== state.fleet) return keep({ ...resetObservations(state), fleet, fleetSinceMs: nowMs })
  if (nowMs - state.fleetSinceMs < steadyWindows * windowMs) return keep(state)
  const own = ready.find((member) => member.id === id)
  if (!own || ready.length < 2 || oldestAgeMs(ready) > staleMs) return keep(state)

  const mean = ready.reduce((sum, { connections }) => sum + connections, 0) / ready.length
  const excess = own.connections - mean
  const fleetExcess = ready.reduce((sum, { connections }) => sum + Math.max(0, connections - mean), 0)
  const phase =
    state.phase.kind === 'evicting' ? state.phase : startEvicting(state.phase, { nowMs, fleetExcess })
  if (!phase) return keep(state)
  // A heartbeat from before the end of the last round still counts the sessions closed in it: they would be
  // closed twice.
  if (oldestAgeMs(ready) > nowMs - phase.roundEndedMs - returnMs) return keep(state)
  if (!isAbove({ own: own.connections, mean }, phase.rounds > 0))
    return keep({ ...state, phase: { kind: 'balanced' } })
  if (isIneffective(phase, fleetExcess))
    return { kind: 'giveUp', state: { ...state, phase: { kind: 'backingOff', untilMs: nowMs + backOffMs } } }
  const roundLimit = Math.min(roundMax, Math.max(roundMin, own.connections * roundShare))
  const belowMeanShare = ready.filter(({ connections }) => connections < mean).length / ready.length
  return {
    kind: 'evict',
    state: { ...state, phase },
    count: Math.floor(Math.min(roundLimit, excess)),
    mean,
    belowMeanShare,
  }
}

/**
 * Drops what was observed, because heartbeats cannot be read or the fleet changed. A back-off stays in force.
 */
export function resetObservations({ phase }: RebalanceState): RebalanceState {
  return {
    ...initialRebalanceState,
    phase: phase.kind === 'backingOff' ? phase : initialRebalanceState.phase,
  }
}

/** Adds a finished round of `closed` sessions to the state. */
export function recordRound(
  state: RebalanceState,
  round: { closed: number; belowMeanShare: number; endedMs: number },
): RebalanceState {
  const { phase } = state
  if (phase.kind !== 'evicting') return state
  const expected = phase.expected + round.closed * round.belowMeanShare
  return { ...state, phase: { ...phase, rounds: phase.rounds + 1, expected, roundEndedMs: round.endedMs } }
}

type Evicting = Extract<Phase, { kind: 'evicting' }>

/** Returns the phase of a gateway that starts to evict; undefined while the gateway backs off. */
function startEvicting(
  phase: Exclude<Phase, Evicting>,
  { fleetExcess, nowMs }: { fleetExcess: number; nowMs: number },
): Evicting | undefined {
  if (phase.kind === 'backingOff' && nowMs < phase.untilMs) return undefined
  return { kind: 'evicting', initialExcess: fleetExcess, rounds: 0, expected: 0, roundEndedMs: -Infinity }
}

/**
 * Returns whether a gateway, or a tenant on it, has so many more connections than the mean that some are to
 * be evicted. `continued`: some were evicted already, which goes on until few are left above the mean.
 */
export function isAbove({ mean, own }: { own: number; mean: number }, continued: boolean): boolean {
  return own >= connectionsMin && own - mean > sessionsOf(continued ? stopThreshold : startThreshold, mean)
}

/**
 * Returns the threshold as a number of sessions. Random placement alone puts some gateways a few standard
 * deviations above the mean, and evicting those sessions would never end.
 */
function sessionsOf({ deviations, meanShare }: Threshold, mean: number): number {
  return Math.max(meanShare * mean, deviations * Math.sqrt(mean))
}

/**
 * True when eviction does not even out the fleet, because something keeps clients on their gateway. A
 * balancer that picks at random sends the share `belowMeanShare` of the closed sessions to gateways below the
 * mean; one that counts connections sends more. The excess of the whole fleet is compared, because clients
 * that other gateways close arrive here too. All rounds are taken together, because a client that reconnects
 * late has returned before the last round.
 */
function isIneffective({ expected, initialExcess, rounds }: Evicting, fleetExcess: number): boolean {
  return rounds >= roundsMin && expected >= expectedMin && initialExcess - fleetExcess < expected / 3
}

function oldestAgeMs(members: readonly FleetMember[]): number {
  return Math.max(...members.map(({ ageMs }) => ageMs))
}

function keep(state: RebalanceState): RebalanceDecision {
  return { kind: 'keep', state }
}
