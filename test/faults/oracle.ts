// Verifies a run after its fault: compares the records of publishers and subscribers with the final history.
import type { Position } from '../../src/broker/broker.js'

/** One publish. Its text is unique in the run and starts with `<tenant>|`. */
export interface PublishRecord {
  readonly text: string
  readonly tenant: string
  readonly channel: string
  readonly sentMs: number
  /**
   * `acked`: acknowledged, with a position where the endpoint returns it. `failed`: refused, or abandoned
   * with an unknown outcome.
   */
  outcome: 'open' | 'acked' | 'failed'
  ackedMs?: number | undefined
  position?: Position | undefined
  code?: string | undefined
}

export type LogItem =
  /** The subscription starts at this position. An empty epoch means the first epoch of the channel. */
  | { readonly kind: 'from'; readonly position: Position; readonly atMs: number }
  | {
      readonly kind: 'received'
      readonly position: Position
      readonly text: string
      readonly atMs: number
    }
  /** The subscriber was notified of a gap, and continues from this position. */
  | { readonly kind: 'mark'; readonly position: Position; readonly atMs: number }

/** What one subscriber received in one channel, in order. */
export interface SubscriberLog {
  readonly name: string
  readonly tenant: string
  readonly channel: string
  readonly items: readonly LogItem[]
}

export interface StoredEntry {
  readonly offset: number
  readonly text: string
}

/** The final history of a channel. */
export interface ChannelHistory {
  readonly tenant: string
  readonly channel: string
  readonly epoch: string
  readonly entries: readonly StoredEntry[]
}

export interface RunRecord {
  readonly sent: readonly PublishRecord[]
  readonly logs: readonly SubscriberLog[]
  readonly histories: readonly ChannelHistory[]
  /**
   * The fault destroyed all data: publishes acknowledged in an earlier epoch may be lost if every subscriber
   * was notified.
   */
  readonly storeLost?: boolean | undefined
  /**
   * Publishes were acknowledged by the master alone: they may be lost with it if every subscriber that
   * received them was notified.
   */
  readonly onlyAccepted?: boolean | undefined
  /** The fault expired the idempotency keys in Redis: repeated publishes may be stored twice. */
  readonly keysForgotten?: boolean | undefined
}

export type Invariant = 'I1' | 'I2' | 'I3' | 'I4'

export interface Violation {
  readonly invariant: Invariant
  readonly what: string
}

export function findViolations(run: RunRecord): Violation[] {
  return [
    ...run.histories.flatMap((history) => checkHistory(run, history)),
    ...run.logs.flatMap((log) => checkLog(run, log)),
  ]
}

const violation = (invariant: Invariant, what: string): Violation => ({ invariant, what })

/**
 * Checks I1 (each acknowledged publish is stored exactly once, at its acknowledged position) and I3 (nothing
 * else is stored).
 */
function checkHistory(run: RunRecord, history: ChannelHistory): Violation[] {
  const { channel, entries, epoch, tenant } = history
  const where = `${tenant}/${channel}`
  const found: Violation[] = []
  const offsets = new Map<string, number>()
  for (const { offset, text } of entries) {
    const before = offsets.get(text)
    if (before !== undefined && !run.keysForgotten)
      found.push(violation('I1', `${text} is stored twice in ${where}: at ${before} and ${offset}`))
    // Only the last one can have been acknowledged.
    else offsets.set(text, offset)
  }
  const sent = run.sent.filter((one) => one.tenant === tenant && one.channel === channel)
  for (const { outcome, position, text } of sent) {
    if (outcome !== 'acked') continue
    if (run.storeLost && position?.epoch !== epoch) {
      // A publish that was acknowledged in the old stream must not be part of the new one.
      if (position && offsets.has(text))
        found.push(
          violation(
            'I1',
            `${text} was acknowledged in another epoch than the one in which ${where} stores it`,
          ),
        )
      continue
    }
    const offset = offsets.get(text)
    if (offset === undefined && run.onlyAccepted) continue
    if (offset === undefined)
      found.push(violation('I1', `${text} was acknowledged but is not stored in ${where}`))
    else if (position && (position.offset !== offset || position.epoch !== epoch))
      found.push(
        violation(
          'I1',
          `${text} was acknowledged at ${format(position)} but is stored at ${format({ epoch, offset })}`,
        ),
      )
  }
  const texts = new Set(sent.map(({ text }) => text))
  for (const { text } of entries)
    if (!texts.has(text))
      found.push(violation('I3', `${where} stores ${text}, which no publisher sent there`))
  return found
}

interface Segment {
  readonly start: Position
  readonly items: Extract<LogItem, { kind: 'received' }>[]
}

/** Checks I2, I3 and I4 for one subscriber. */
function checkLog(run: RunRecord, log: SubscriberLog): Violation[] {
  const subscriber = `${log.name} of ${log.tenant}/${log.channel}`
  const history = run.histories.find(
    ({ channel, tenant }) => channel === log.channel && tenant === log.tenant,
  )
  if (!history) return [violation('I2', `${subscriber}: the history of the channel was not read`)]
  const found: Violation[] = []
  const segments = segmentsOf(log)
  for (const [index, segment] of segments.entries())
    found.push(...checkSegment(segment, { subscriber, history, run, last: index === segments.length - 1 }))
  for (const item of log.items) {
    if (item.kind === 'received' && !item.text.startsWith(`${log.tenant}|`))
      found.push(violation('I4', `${subscriber} received ${item.text} of another tenant`))
  }
  return found
}

function segmentsOf(log: SubscriberLog): Segment[] {
  const segments: Segment[] = []
  for (const item of log.items) {
    if (item.kind === 'received') segments.at(-1)?.items.push(item)
    else segments.push({ start: item.position, items: [] })
  }
  return segments
}

function checkSegment(
  segment: Segment,
  context: { subscriber: string; history: ChannelHistory; run: RunRecord; last: boolean },
): Violation[] {
  const { history, last, run, subscriber } = context
  const { items, start } = segment
  const found: Violation[] = []
  const epoch = start.epoch || (items[0]?.position.epoch ?? history.epoch)
  let at = start.offset
  for (const { position, text } of items) {
    if (position.epoch !== epoch)
      found.push(
        violation(
          'I2',
          `${subscriber} changed from epoch ${epoch} to ${position.epoch} at ${text} without a notification`,
        ),
      )
    else if (position.offset <= at)
      found.push(
        violation(
          'I2',
          `${subscriber} received ${text} at ${position.offset} after ${at}: repeated or out of order`,
        ),
      )
    at = position.offset
  }
  if (epoch !== history.epoch) {
    if (last)
      found.push(
        violation('I2', `${subscriber} is still in epoch ${epoch}, but the channel is in ${history.epoch}`),
      )
    else if (!run.storeLost && items.length > 0)
      found.push(
        violation(
          'I3',
          `${subscriber} received ${items.length} publications of epoch ${epoch}, which no longer exists`,
        ),
      )
    return found
  }
  const byOffset = new Map(history.entries.map((entry) => [entry.offset, entry.text]))
  for (const { position, text } of items) {
    // A subscriber that is notified of a gap afterwards discards these publications.
    if (run.onlyAccepted && !last) break
    if (byOffset.get(position.offset) !== text)
      found.push(
        violation(
          'I3',
          `${subscriber} received ${text} at ${position.offset}, which the history does not contain`,
        ),
      )
  }
  const received = new Set(items.map(({ position }) => position.offset))
  const end = last ? Infinity : (items.at(-1)?.position.offset ?? start.offset)
  for (const { offset, text } of history.entries) {
    if (offset > start.offset && offset <= end && !received.has(offset))
      found.push(violation('I2', `${subscriber} missed ${text} at ${offset} without a notification`))
  }
  return found
}

function format({ epoch, offset }: Position): string {
  return `${epoch}:${offset}`
}

/** Describes violations for an error message: the count and the first five of each invariant. */
export function describeViolations(violations: readonly Violation[]): string {
  const invariants = [...new Set(violations.map(({ invariant }) => invariant))]
  return invariants
    .map((invariant) => {
      const all = violations.filter((one) => one.invariant === invariant)
      const first = all.slice(0, 5).map(({ what }) => `  ${what}`)
      return [`${invariant} × ${all.length}:`, ...first].join('\n')
    })
    .join('\n')
}
