// Merges what a returning subscriber missed: the page read from history, and the publications that arrived
// during the read. Pure functions.
import {
  generationStart,
  isSameStream,
  type HistoryPage,
  type Position,
  type Publication,
} from '../broker/broker.js'

export interface RecoveryInput {
  /**
   * The subscriber's position; an empty epoch matches any. Absent: it starts at the page's top, or with the
   * page if that has publications.
   */
  readonly since: Position | undefined
  /**
   * The history forward from `since`, read after the subscription at the broker was made. Read one
   * publication more than `limit`, to distinguish a complete page from a truncated one.
   */
  readonly page: HistoryPage
  /**
   * What arrived live during the read, in order; may overlap the page. Offset 0: the publication has no
   * position in the stream.
   */
  readonly live: readonly Publication[]
  /**
   * The number of missed publications that one reply may contain. Those that arrived during the read are not
   * counted: they would be pushed anyway.
   */
  readonly limit: number
}

export type Recovered =
  /** Nothing is missing after `since`. `top` is the position after the publications. */
  | { readonly kind: 'whole'; readonly publications: readonly Publication[]; readonly top: Position }
  /**
   * Something is missing, for `reason`. The subscriber continues from `top`; `after` has arrived already and
   * is still to be delivered.
   */
  | {
      readonly kind: 'gap'
      readonly reason: GapReason
      readonly top: Position
      readonly after: readonly Publication[]
    }

/**
 * `epoch`: `since` belongs to another stream · `trimmed`: the history no longer reaches back · `ahead`: the
 * stream ends before `since` · `tooMany`: more was missed than `limit` or than the page contains · `hole`: an
 * offset is missing where none may be missing.
 */
export type GapReason = 'epoch' | 'trimmed' | 'ahead' | 'tooMany' | 'hole'

/**
 * Returns each publication once, ordered by offset, and then those without a position in the order of
 * arrival.
 */
export function mergeRecovered(input: RecoveryInput): Recovered {
  const { since, live, limit } = input
  const unpositioned = live.filter((publication) => publication.offset === 0)
  const positioned = live.filter((publication) => publication.offset !== 0)

  const lastEpoch = positioned.at(-1)?.epoch ?? input.page.top.epoch
  const page = inEpoch(input.page, lastEpoch)
  if (lastEpoch !== page.top.epoch) return gapOfReplacedStream(positioned, unpositioned)

  const sameStream = positioned.filter((publication) => publication.epoch === page.top.epoch)
  const newer = byOffset(sameStream.filter((publication) => publication.offset > page.top.offset))
  const gap = (reason: GapReason): Recovered => ({
    kind: 'gap',
    reason,
    top: page.top,
    after: [...newer, ...unpositioned],
  })

  if (since && !page.continuous) return gap(reasonOf(since, page.top))

  const floor = since?.offset ?? startOf(page)
  const missed = byOffset(page.publications.filter((publication) => publication.offset > floor))
  const reached = missed.at(-1)?.offset ?? floor
  if (since && (missed.length > limit || reached < page.top.offset)) return gap('tooMany')

  const publications = [...missed, ...newer]
  if (hasHole(floor, publications)) return gap('hole')
  const topOffset = publications.at(-1)?.offset ?? page.top.offset
  return {
    kind: 'whole',
    publications: [...publications, ...unpositioned],
    top: { epoch: page.top.epoch, offset: topOffset },
  }
}

/**
 * Returns only the newest publication that `wants` accepts, or none when that publication is not newer than
 * `since`. For channels where only the latest state counts. `page` is read backwards and without `since`;
 * when `wants` accepts everything, one publication is enough. Returns a gap when history no longer contains
 * the newest publication of the stream.
 */
export function mergeNewest(
  input: Omit<RecoveryInput, 'limit' | 'since'> & {
    readonly since: Position
    readonly wants: (publication: Publication) => boolean
  },
): Recovered {
  const { page, live, wants } = input
  const unpositioned = live.filter((publication) => publication.offset === 0)
  const last = live.findLast((publication) => publication.offset !== 0)
  const isNewer = last && (last.epoch !== page.top.epoch || last.offset > page.top.offset)
  const { epoch, offset } = isNewer ? last : page.top
  const top = { epoch, offset }
  const since = isSameStream(input.since.epoch, epoch) ? { ...input.since, epoch } : input.since
  if (since.epoch === epoch && since.offset === offset)
    return { kind: 'whole', publications: unpositioned, top }
  const kept = byOffset([...page.publications, ...live].filter((publication) => publication.epoch === epoch))
  if (kept.at(-1)?.offset !== offset) return { kind: 'gap', reason: 'trimmed', top, after: unpositioned }
  const newest = kept.findLast(wants)
  const isKnown =
    newest === undefined || (since.epoch === epoch && since.offset <= offset && newest.offset <= since.offset)
  return { kind: 'whole', publications: [...(isKnown ? [] : [newest]), ...unpositioned], top }
}

/**
 * Returns the page in the epoch of the stream that began after it was read, when the channel had no
 * publication at the time of the read.
 */
function inEpoch(page: HistoryPage, epoch: string): HistoryPage {
  const { top } = page
  return top.epoch !== epoch && isSameStream(top.epoch, epoch) ? { ...page, top: { ...top, epoch } } : page
}

/**
 * The gap of a stream that was replaced after the page was read: what arrived of the new stream is still to
 * be delivered.
 */
function gapOfReplacedStream(
  positioned: readonly Publication[],
  unpositioned: readonly Publication[],
): Recovered {
  const epoch = positioned.at(-1)?.epoch ?? ''
  const after = byOffset(positioned.filter((publication) => publication.epoch === epoch))
  const top = { epoch, offset: (after[0]?.offset ?? 1) - 1 }
  return { kind: 'gap', reason: 'epoch', top, after: [...after, ...unpositioned] }
}

function reasonOf(since: Position, top: Position): GapReason {
  if (since.epoch !== '' && !isSameStream(since.epoch, top.epoch)) return 'epoch'
  return since.offset > top.offset ? 'ahead' : 'trimmed'
}

/** Returns the offset before the first publication, for a subscriber without a position. */
function startOf(page: HistoryPage): number {
  const offsets = page.publications.map((publication) => publication.offset)
  return offsets.length === 0 ? page.top.offset : Math.min(...offsets) - 1
}

/**
 * Returns whether an offset is missing. A new generation may begin at any offset; within a generation, no
 * offset may be missing.
 */
function hasHole(floor: number, publications: readonly Publication[]): boolean {
  let previous = floor
  for (const { offset } of publications) {
    const sameGeneration = generationStart(offset) === generationStart(previous)
    if (sameGeneration && offset !== previous + 1) return true
    previous = offset
  }
  return false
}

/** Sorts by offset, and keeps each offset once. */
function byOffset(publications: readonly Publication[]): Publication[] {
  const ascending = publications.toSorted((a, b) => a.offset - b.offset)
  return ascending.filter((publication, index) => publication.offset !== ascending[index - 1]?.offset)
}
