// The stream of one channel in memory: a list that grows at one end and is trimmed at the other. It uses no
// clock; the caller passes the time.
import {
  historyLimitMax,
  isSameStream,
  type ClientInfo,
  type HistoryPage,
  type HistoryQuery,
  type Position,
  type Publication,
  type Tags,
} from './broker.js'
import { isExpired } from './envelope.js'
import type { HistoryRule } from './storage.js'

/** A publication that is not in a stream yet. */
export interface UnstoredPublication {
  readonly data: Uint8Array
  readonly timeMs: number
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  readonly skipSession?: string | undefined
}

interface Entry {
  readonly publication: Publication
  /** When it was appended, by the monotonic clock. */
  readonly timeMs: number
  readonly ttlMs: number
}

/**
 * The number of empty slots at the front that is always kept: moving the entries would cost more than these
 * slots.
 */
const emptySlotsMax = 64

/**
 * Offsets are 1, 2, 3 … without a gap, even after trimming and clearing, so an offset can be used as an
 * index. `nowMs` comes from a monotonic clock. `rule` is the rule in force, by default none: an entry lives
 * as long as it was published for, and not longer than the rule says.
 */
export class MemoryStream {
  readonly epoch: string
  #topOffset = 0
  /** Slots before `#head` are empty. They are reclaimed in batches, so that trimming an entry is O(1). */
  #entries: (Entry | undefined)[] = []
  #head = 0
  #bytes = 0
  #usedAtMs: number

  constructor(epoch: string, nowMs: number) {
    this.epoch = epoch
    this.#usedAtMs = nowMs
  }

  get top(): Position {
    return { epoch: this.epoch, offset: this.#topOffset }
  }

  /** The number of publications that are kept. Expired ones count until the next trim. */
  get count(): number {
    return this.#entries.length - this.#head
  }

  /**
   * The bytes of the data and info of all kept publications. Tags do not count, because they are few and
   * short.
   */
  get bytes(): number {
    return this.#bytes
  }

  /** The time since the last write, in milliseconds. */
  idleMs(nowMs: number): number {
    return nowMs - this.#usedAtMs
  }

  /** Appends a publication with the next offset. `size` includes earlier publications. */
  append(
    unstored: UnstoredPublication,
    options: { size: number; ttlMs: number; nowMs: number },
  ): Publication {
    this.#topOffset += 1
    this.#usedAtMs = options.nowMs
    const { nowMs, size, ttlMs } = options
    const publication: Publication = { ...unstored, epoch: this.epoch, offset: this.#topOffset }
    this.#entries.push({ publication, timeMs: nowMs, ttlMs })
    this.#bytes += bytesOf(publication)
    while (this.count > size) this.#dropOldest()
    this.trim(nowMs)
    return publication
  }

  page(query: HistoryQuery, nowMs: number, rule?: HistoryRule): HistoryPage {
    this.trim(nowMs, rule)
    const { since } = query
    const top = this.top
    const entries = this.#slice(query)
    const living = entries.filter((entry) => !isExpired(entry, nowMs, rule?.ttlMs))
    const publications = living.map(({ publication }) => publication)
    if (since === undefined) return { publications, top, continuous: true }
    if (since.epoch !== '' && !isSameStream(since.epoch, this.epoch))
      return { publications: [], top, continuous: false }
    const continuous =
      since.offset <= this.#topOffset &&
      since.offset + 1 >= this.#oldestOffset &&
      (query.reverse === true || living.length === entries.length)
    return { publications, top, continuous }
  }

  /** Removes the oldest publications while they are expired or too many. */
  trim(nowMs: number, rule?: HistoryRule): void {
    for (let oldest = this.#entries[this.#head]; oldest; oldest = this.#entries[this.#head]) {
      if (this.count <= (rule?.size ?? Infinity) && !isExpired(oldest, nowMs, rule?.ttlMs)) return
      this.#dropOldest()
    }
  }

  /** Removes all publications. Epoch and top offset stay. */
  clear(): void {
    this.#entries = []
    this.#head = 0
    this.#bytes = 0
  }

  /** The offset of the oldest publication; one above the top when the stream is empty. */
  get #oldestOffset(): number {
    return this.#topOffset - this.count + 1
  }

  #slice(query: HistoryQuery): Entry[] {
    const limit = Math.min(query.limit, historyLimitMax)
    const reverse = query.reverse ?? false
    const oldest = this.#oldestOffset
    let from = oldest
    let end = this.#topOffset + 1
    if (query.since && reverse) end = Math.max(from, Math.min(end, query.since.offset))
    if (query.since && !reverse) from = Math.min(end, Math.max(from, query.since.offset + 1))
    if (reverse) from = Math.max(from, end - limit)
    else end = Math.min(end, from + limit)
    const entries: Entry[] = []
    for (let offset = from; offset < end; offset += 1) {
      const entry = this.#entries[this.#head + offset - oldest]
      if (entry) entries.push(entry)
    }
    return reverse ? entries.toReversed() : entries
  }

  #dropOldest(): void {
    const oldest = this.#entries[this.#head]
    if (oldest) this.#bytes -= bytesOf(oldest.publication)
    this.#entries[this.#head] = undefined
    this.#head += 1
    if (
      this.#head < this.#entries.length &&
      (this.#head < emptySlotsMax || this.#head * 2 < this.#entries.length)
    )
      return
    this.#entries = this.#entries.slice(this.#head)
    this.#head = 0
  }
}

function bytesOf(publication: Publication): number {
  return publication.data.byteLength + (publication.info?.info?.byteLength ?? 0)
}
