// Judges a run after its fault: what publishers and subscribers wrote down, held against what the history holds in the end.
import type { Position } from '../../src/broker/broker.js'

/** One publish. Its text is unique in the run and begins with `<tenant>|`. */
export interface Sent {
  readonly text: string
  readonly tenant: string
  readonly channel: string
  readonly sentMs: number
  /** `acked` with or without a position (not every door tells it); `failed`: refused, or given up with its outcome unknown. */
  outcome: 'open' | 'acked' | 'failed'
  ackedMs?: number | undefined
  position?: Position | undefined
  code?: string | undefined
}

export type Logged =
  /** The subscription stands here and follows from here. An empty epoch: whatever the channel's first is. */
  | { readonly kind: 'from'; readonly position: Position; readonly atMs: number }
  | {
      readonly kind: 'received'
      readonly position: Position
      readonly text: string
      readonly atMs: number
    }
  /** It was told that something is missing, and that it goes on from here. */
  | { readonly kind: 'mark'; readonly position: Position; readonly atMs: number }

/** What one subscriber saw of one channel, in order. */
export interface SubscriberLog {
  readonly name: string
  readonly tenant: string
  readonly channel: string
  readonly items: readonly Logged[]
}

export interface Stored {
  readonly offset: number
  readonly text: string
}

/** A channel in the end. */
export interface ChannelHistory {
  readonly tenant: string
  readonly channel: string
  readonly epoch: string
  readonly entries: readonly Stored[]
}

export interface Run {
  readonly sent: readonly Sent[]
  readonly logs: readonly SubscriberLog[]
  readonly histories: readonly ChannelHistory[]
  /** The fault destroyed the only data there was: what was acknowledged under an epoch that is gone may be gone, if all were told. */
  readonly storeLost?: boolean | undefined
  /** Nothing was promised but that the master had it: it may be gone with the master, if all who got it were told. */
  readonly onlyAccepted?: boolean | undefined
  /** The fault made Redis forget its idempotency keys: what was sent again may be there again. */
  readonly keysForgotten?: boolean | undefined
}

export type Invariant = 'I1' | 'I2' | 'I3' | 'I4'

export interface Violation {
  readonly invariant: Invariant
  readonly what: string
}

export function violationsOf(run: Run): Violation[] {
  return [
    ...run.histories.flatMap((history) => judgeHistory(run, history)),
    ...run.logs.flatMap((log) => judgeLog(run, log)),
  ]
}

const say = (invariant: Invariant, what: string): Violation => ({ invariant, what })

/** I1: each acknowledged publish exactly once, where its acknowledgement says; nothing twice. I3: nothing that nobody sent. */
function judgeHistory(run: Run, history: ChannelHistory): Violation[] {
  const { channel, entries, epoch, tenant } = history
  const where = `${tenant}/${channel}`
  const found: Violation[] = []
  const offsets = new Map<string, number>()
  for (const { offset, text } of entries) {
    const before = offsets.get(text)
    if (before !== undefined && !run.keysForgotten)
      found.push(say('I1', `${text} is twice in ${where}: at ${before} and ${offset}`))
    // The last is the one that can have been acknowledged.
    else offsets.set(text, offset)
  }
  const sent = run.sent.filter((one) => one.tenant === tenant && one.channel === channel)
  for (const { outcome, position, text } of sent) {
    if (outcome !== 'acked') continue
    if (run.storeLost && position?.epoch !== epoch) {
      // A publish whose acknowledgement speaks of the old stream is no part of the new one.
      if (position && offsets.has(text))
        found.push(say('I1', `${text} was acknowledged in another epoch than ${where} holds it in`))
      continue
    }
    const offset = offsets.get(text)
    if (offset === undefined && run.onlyAccepted) continue
    if (offset === undefined) found.push(say('I1', `${text} was acknowledged and is not in ${where}`))
    else if (position && (position.offset !== offset || position.epoch !== epoch))
      found.push(
        say('I1', `${text} was acknowledged at ${show(position)} and is at ${show({ epoch, offset })}`),
      )
  }
  const texts = new Set(sent.map(({ text }) => text))
  for (const { text } of entries)
    if (!texts.has(text)) found.push(say('I3', `${where} holds ${text}, which nobody sent there`))
  return found
}

interface Segment {
  readonly start: Position
  readonly items: Extract<Logged, { kind: 'received' }>[]
}

/** I2, I3 and I4 for one subscriber. */
function judgeLog(run: Run, log: SubscriberLog): Violation[] {
  const who = `${log.name} of ${log.tenant}/${log.channel}`
  const history = run.histories.find(
    ({ channel, tenant }) => channel === log.channel && tenant === log.tenant,
  )
  if (!history) return [say('I2', `${who}: nobody read the channel's history`)]
  const found: Violation[] = []
  const segments = segmentsOf(log)
  for (const [index, segment] of segments.entries())
    found.push(...judgeSegment(segment, { who, history, run, last: index === segments.length - 1 }))
  for (const item of log.items) {
    if (item.kind === 'received' && !item.text.startsWith(`${log.tenant}|`))
      found.push(say('I4', `${who} got ${item.text} of another tenant`))
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

function judgeSegment(
  segment: Segment,
  context: { who: string; history: ChannelHistory; run: Run; last: boolean },
): Violation[] {
  const { history, last, run, who } = context
  const { items, start } = segment
  const found: Violation[] = []
  const epoch = start.epoch || (items[0]?.position.epoch ?? history.epoch)
  let at = start.offset
  for (const { position, text } of items) {
    if (position.epoch !== epoch)
      found.push(
        say('I2', `${who} went from epoch ${epoch} to ${position.epoch} at ${text} and was not told`),
      )
    else if (position.offset <= at)
      found.push(say('I2', `${who} got ${text} at ${position.offset} after ${at}: twice or out of order`))
    at = position.offset
  }
  if (epoch !== history.epoch) {
    if (last) found.push(say('I2', `${who} is still in epoch ${epoch}; the channel is in ${history.epoch}`))
    else if (!run.storeLost && items.length > 0)
      found.push(say('I3', `${who} got ${items.length} of epoch ${epoch}, which is gone`))
    return found
  }
  const byOffset = new Map(history.entries.map((entry) => [entry.offset, entry.text]))
  for (const { position, text } of items) {
    // Who is told afterwards that something is amiss forgets it.
    if (run.onlyAccepted && !last) break
    if (byOffset.get(position.offset) !== text)
      found.push(say('I3', `${who} got ${text} at ${position.offset}, which the history does not hold`))
  }
  const got = new Set(items.map(({ position }) => position.offset))
  const end = last ? Infinity : (items.at(-1)?.position.offset ?? start.offset)
  for (const { offset, text } of history.entries) {
    if (offset > start.offset && offset <= end && !got.has(offset))
      found.push(say('I2', `${who} missed ${text} at ${offset} and was not told`))
  }
  return found
}

function show({ epoch, offset }: Position): string {
  return `${epoch}:${offset}`
}

/** For messages: the first few of each invariant, and how many there are. */
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
