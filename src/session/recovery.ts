// What a returning subscriber missed: the page read from history and what arrived while it was read, made
// into one stretch. Pure.
import type { HistoryPage, Position, Publication } from '../broker/broker.js'

/**
 * Offsets grow by one within a generation of the broker's and jump to the next multiple of this with a new
 * generation.
 */
const generationSize = 2 ** 32

export interface RecoveryInput {
  /**
   * Where the subscriber stood; an empty epoch matches any. Absent: it starts at the page's top, or with the
   * page if that has publications.
   */
  readonly since: Position | undefined
  /**
   * Forward from `since`, read after the broker subscription was there. Ask for one more than `limit` to tell
   * full from cut.
   */
  readonly page: HistoryPage
  /**
   * What the listener got while the page was read, in order; may overlap the page. Offset 0: has no place in
   * the stream.
   */
  readonly live: readonly Publication[]
  /**
   * Most publications that may be handed over as missed. Those that came while reading are not counted: they
   * would be pushed anyhow.
   */
  readonly limit: number
}

export type Recovered =
  /** Nothing is missing after `since`. `top` is where the subscriber stands once it has the publications. */
  | { readonly kind: 'whole'; readonly publications: readonly Publication[]; readonly top: Position }
  /**
   * Something is, and the reason why. The subscriber continues from `top`; `after` has arrived already and is
   * still to be delivered.
   */
  | {
      readonly kind: 'gap'
      readonly reason: GapReason
      readonly top: Position
      readonly after: readonly Publication[]
    }

/**
 * `epoch`: the stream is another one · `trimmed`: the history no longer reaches back · `ahead`: the stream
 * ends before `since` · `tooMany`: more was missed than `limit` or than the page holds · `hole`: a number is
 * missing where none may be.
 */
export type GapReason = 'epoch' | 'trimmed' | 'ahead' | 'tooMany' | 'hole'

/** Each publication once, by offset; those without a place in the stream last, as they came. */
export function mergeRecovered(input: RecoveryInput): Recovered {
  const { since, page, live, limit } = input
  const placeless = live.filter((publication) => publication.offset === 0)
  const placed = live.filter((publication) => publication.offset !== 0)

  const lastEpoch = placed.at(-1)?.epoch ?? page.top.epoch
  if (lastEpoch !== page.top.epoch) return replaced(placed, placeless)

  const sameStream = placed.filter((publication) => publication.epoch === page.top.epoch)
  const newer = byOffset(sameStream.filter((publication) => publication.offset > page.top.offset))
  const gap = (reason: GapReason): Recovered => ({
    kind: 'gap',
    reason,
    top: page.top,
    after: [...newer, ...placeless],
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
    publications: [...publications, ...placeless],
    top: { epoch: page.top.epoch, offset: topOffset },
  }
}

/**
 * The newest publication that is wanted alone, for channels where only the latest counts; none when `since`
 * has it. `page` is read without `since`, backwards; one is enough where all are wanted. A gap when history
 * no longer holds the newest of all.
 */
export function mergeNewest(
  input: Omit<RecoveryInput, 'limit' | 'since'> & {
    readonly since: Position
    readonly wants: (publication: Publication) => boolean
  },
): Recovered {
  const { since, page, live, wants } = input
  const placeless = live.filter((publication) => publication.offset === 0)
  const last = live.findLast((publication) => publication.offset !== 0)
  const isNewer = last && (last.epoch !== page.top.epoch || last.offset > page.top.offset)
  const { epoch, offset } = isNewer ? last : page.top
  const top = { epoch, offset }
  if (since.epoch === epoch && since.offset === offset) return { kind: 'whole', publications: placeless, top }
  const kept = byOffset([...page.publications, ...live].filter((publication) => publication.epoch === epoch))
  if (kept.at(-1)?.offset !== offset) return { kind: 'gap', reason: 'trimmed', top, after: placeless }
  const newest = kept.findLast(wants)
  const isKnown =
    newest === undefined || (since.epoch === epoch && since.offset <= offset && newest.offset <= since.offset)
  return { kind: 'whole', publications: [...(isKnown ? [] : [newest]), ...placeless], top }
}

/**
 * The stream was replaced after the page was read: all of the new one that arrived is still to be delivered.
 */
function replaced(placed: readonly Publication[], placeless: readonly Publication[]): Recovered {
  const epoch = placed.at(-1)?.epoch ?? ''
  const after = byOffset(placed.filter((publication) => publication.epoch === epoch))
  const top = { epoch, offset: (after[0]?.offset ?? 1) - 1 }
  return { kind: 'gap', reason: 'epoch', top, after: [...after, ...placeless] }
}

function reasonOf(since: Position, top: Position): GapReason {
  if (since.epoch !== '' && since.epoch !== top.epoch) return 'epoch'
  return since.offset > top.offset ? 'ahead' : 'trimmed'
}

/** Where a subscriber starts that names no position. */
function startOf(page: HistoryPage): number {
  const offsets = page.publications.map((publication) => publication.offset)
  return offsets.length === 0 ? page.top.offset : Math.min(...offsets) - 1
}

/** A new generation begins anywhere; inside one, every number must be there. */
function hasHole(floor: number, publications: readonly Publication[]): boolean {
  let previous = floor
  for (const { offset } of publications) {
    const sameGeneration = Math.floor(offset / generationSize) === Math.floor(previous / generationSize)
    if (sameGeneration && offset !== previous + 1) return true
    previous = offset
  }
  return false
}

/** Ascending, each offset once. */
function byOffset(publications: readonly Publication[]): Publication[] {
  const ascending = publications.toSorted((a, b) => a.offset - b.offset)
  return ascending.filter((publication, index) => publication.offset !== ascending[index - 1]?.offset)
}
