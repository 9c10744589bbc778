// What one channel remembers: a list that grows at one end and is trimmed at the other. Pure: the time comes with each call.
import {
  historyLimitMax,
  type ClientInfo,
  type HistoryPage,
  type HistoryQuery,
  type Position,
  type Publication,
  type Tags,
} from './broker.js'

/** A publication that has no place in a stream yet. */
export interface Unplaced {
  readonly data: Uint8Array
  readonly timeMs: number
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  readonly skipSession?: string | undefined
}

interface Entry {
  readonly publication: Publication
  readonly atMs: number
}

// Below this many empty places at the front, moving the rest costs more than the places do.
const emptyPlacesMax = 64

/**
 * Offsets are 1, 2, 3 … without a hole, also across trimming and clearing, so an offset is an index and nothing is searched.
 * `nowMs` is of a clock that never goes back: then the oldest entry is the first to expire, and trimming looks at it alone.
 */
export class MemoryStream {
  readonly epoch: string
  #topOffset = 0
  /** Entries before `#head` are gone; their places are reclaimed a batch at a time, so that trimming is O(1) each. */
  #entries: (Entry | undefined)[] = []
  #head = 0
  #bytes = 0
  #ttlMs = 0
  #usedAtMs: number

  constructor(epoch: string, nowMs: number) {
    this.epoch = epoch
    this.#usedAtMs = nowMs
  }

  get top(): Position {
    return { epoch: this.epoch, offset: this.#topOffset }
  }

  /** Publications kept; those that expired count until the next trim. */
  get count(): number {
    return this.#entries.length - this.#head
  }

  /** Of their data and info; tags are few and short. */
  get bytes(): number {
    return this.#bytes
  }

  idleMs(nowMs: number): number {
    return nowMs - this.#usedAtMs
  }

  /** Gives it the next offset and keeps it. `size` and `ttlMs` hold for all that is kept, also for what came before. */
  append(unplaced: Unplaced, options: { size: number; ttlMs: number; nowMs: number }): Publication {
    this.#topOffset += 1
    this.#usedAtMs = options.nowMs
    this.#ttlMs = options.ttlMs
    const publication: Publication = { ...unplaced, epoch: this.epoch, offset: this.#topOffset }
    this.#entries.push({ publication, atMs: options.nowMs })
    this.#bytes += bytesOf(publication)
    while (this.count > options.size) this.#dropOldest()
    this.trim(options.nowMs)
    return publication
  }

  page(query: HistoryQuery, nowMs: number): HistoryPage {
    this.trim(nowMs)
    this.#usedAtMs = nowMs
    const { since } = query
    const top = this.top
    if (since === undefined) return { publications: this.#slice(query), top, continuous: true }
    if (since.epoch !== '' && since.epoch !== this.epoch) return { publications: [], top, continuous: false }
    const continuous = since.offset <= this.#topOffset && since.offset + 1 >= this.#oldestOffset
    return { publications: this.#slice(query), top, continuous }
  }

  /** Drops what has expired. */
  trim(nowMs: number): void {
    for (let oldest = this.#entries[this.#head]; oldest; oldest = this.#entries[this.#head]) {
      if (nowMs - oldest.atMs <= this.#ttlMs) return
      this.#dropOldest()
    }
  }

  /** Forgets the publications; epoch and top offset stay. */
  clear(): void {
    this.#entries = []
    this.#head = 0
    this.#bytes = 0
  }

  /** One above the top when nothing is kept. */
  get #oldestOffset(): number {
    return this.#topOffset - this.count + 1
  }

  #slice(query: HistoryQuery): Publication[] {
    const limit = Math.min(query.limit, historyLimitMax)
    const reverse = query.reverse ?? false
    const oldest = this.#oldestOffset
    let from = oldest
    let end = this.#topOffset + 1
    if (query.since && reverse) end = Math.max(from, Math.min(end, query.since.offset))
    if (query.since && !reverse) from = Math.min(end, Math.max(from, query.since.offset + 1))
    if (reverse) from = Math.max(from, end - limit)
    else end = Math.min(end, from + limit)
    const publications: Publication[] = []
    for (let offset = from; offset < end; offset += 1) {
      const entry = this.#entries[this.#head + offset - oldest]
      if (entry) publications.push(entry.publication)
    }
    return reverse ? publications.toReversed() : publications
  }

  #dropOldest(): void {
    const oldest = this.#entries[this.#head]
    if (oldest) this.#bytes -= bytesOf(oldest.publication)
    this.#entries[this.#head] = undefined
    this.#head += 1
    if (
      this.#head < this.#entries.length &&
      (this.#head < emptyPlacesMax || this.#head * 2 < this.#entries.length)
    )
      return
    this.#entries = this.#entries.slice(this.#head)
    this.#head = 0
  }
}

function bytesOf(publication: Publication): number {
  return publication.data.byteLength + (publication.info?.info?.byteLength ?? 0)
}
