// Follows one channel on one gateway: puts the publications that arrive by pub/sub in order and detects every
// gap. It has no side effects except through its port and timers.
import type { After } from '../time.js'
import { isSameStream, type Position, type Publication } from './broker.js'
import { follows } from './stream-id.js'

/** One page that was read from the stream. */
export interface ReaderPage {
  readonly publications: readonly Publication[]
  /** Whether nothing is missing between `since` and the last publication. */
  readonly continuous: boolean
  /** The position of `upTo`, or without `upTo` the stream's top. Its epoch is the stream's current one. */
  readonly top: Position
  /** There are more publications before `top` than one page holds. */
  readonly cut: boolean
}

/** How a reader reads the stream, and where it delivers. */
export interface ChannelReaderPort {
  /**
   * Reads the publications after `since`, up to `upTo` (inclusive; its replication is already proven) or,
   * without `upTo`, up to a top whose replication a fence proves.
   */
  read(since: Position, upTo: number | undefined): Promise<ReaderPage>
  /** Called with the publications in stream order, each once. */
  deliver(publication: Publication): void
  /** Called when publications are missing and can no longer be read. Later ones continue from `top`. */
  lost(top: Position): void
  /** Called when a read failed. The reader retries it after `retryMs`. */
  failed(error: unknown): void
}

export interface ChannelReaderOptions {
  readonly after: After
  /**
   * How long a publication waits for its predecessors, in milliseconds. Messages of two gateways may arrive
   * in any order.
   */
  readonly holdMs: number
  /** The most publications that wait. Beyond this number the reader reads them from the stream. */
  readonly heldMax: number
  /** The time from a failed read to the next attempt, in milliseconds. */
  readonly retryMs: number
}

/**
 * Follows one channel. The reader is created when the channel is subscribed, and started with the stream's
 * top as soon as the top was read.
 */
export class ChannelReader {
  readonly #port: ChannelReaderPort
  readonly #options: ChannelReaderOptions
  /** Undefined until `start`. */
  #position: Position | undefined
  /** Publications ahead of their turn, by offset. */
  readonly #held = new Map<number, Publication>()
  #cancelHold: (() => void) | undefined
  #cancelRetry: (() => void) | undefined
  #filling = false
  /** A read to the top was requested during another read or before `start`. It runs after that. */
  #fillAgain = false
  /**
   * Whether the replicas are known to have the position. They may not have the position at which the reader
   * started.
   */
  #proven = false
  /** The position of this gateway's last acknowledged publication. */
  #acknowledged: Position | undefined
  #closed = false

  constructor(port: ChannelReaderPort, options: ChannelReaderOptions) {
    this.#port = port
    this.#options = options
  }

  /** The position of the last delivered publication. Undefined until `start`. */
  get position(): Position | undefined {
    return this.#position
  }

  /**
   * The position if it is proven to survive a failover, because it was delivered or a fence has confirmed it.
   * Otherwise undefined.
   */
  get proven(): Position | undefined {
    return this.#proven ? this.#position : undefined
  }

  /**
   * The position at which a new subscriber may start without a read: it is proven, and not before the last
   * publication that this gateway has acknowledged. Otherwise undefined.
   */
  get confirmed(): Position | undefined {
    const proven = this.proven
    const last = this.#acknowledged
    if (!proven || !last) return proven
    return last.epoch === proven.epoch && last.offset <= proven.offset ? proven : undefined
  }

  /**
   * Records that this gateway's publication at `position` was acknowledged. Its message may have arrived
   * already or may follow.
   */
  acknowledged(position: Position): void {
    const last = this.#acknowledged
    if (last?.epoch !== position.epoch || last.offset < position.offset) this.#acknowledged = position
  }

  /** Records that a fenced read has returned the stream's top. */
  prove(top: Position): void {
    if (!this.#position) return
    const { epoch, offset } = this.#adopt(this.#position, top.epoch)
    if (epoch === top.epoch && offset <= top.offset) this.#proven = true
  }

  /**
   * Starts to follow the channel at `top`, which was read after the topic was subscribed. A second call has
   * no effect.
   */
  start(top: Position): void {
    if (this.#position) return
    this.#position = top
    if (!this.#fillAgain) return this.#deliverHeld()
    this.#fillAgain = false
    this.#runFill(undefined)
  }

  /** Accepts a publication from pub/sub. Publications may arrive in any order, and more than once. */
  onMessage(publication: Publication): void {
    const position = this.#position
    if (!position || this.#filling) return this.#hold(publication)
    const { epoch, offset } = this.#adopt(position, publication.epoch)
    if (publication.epoch !== epoch) {
      this.#hold(publication)
      return this.#runFill(undefined)
    }
    if (publication.offset <= offset) return
    if (this.#held.size === 0 && follows(publication.offset, offset)) return this.#deliver(publication)
    this.#hold(publication)
    this.#deliverHeld()
  }

  /**
   * Reads everything that the stream has after the position. Called after an interruption of the
   * subscription, and periodically.
   */
  check(): void {
    if (this.#position) this.#runFill(undefined)
    else this.#fillAgain = true
  }

  /** Ends deliveries, reads and timers. */
  close(): void {
    this.#closed = true
    this.#stopHolding()
    this.#cancelRetry?.()
    this.#held.clear()
  }

  #hold(publication: Publication): void {
    this.#held.set(publication.offset, publication)
    // The reader drops the held publications when there are too many, and reads them from the stream later.
    if ((this.#filling || !this.#position) && this.#held.size > this.#options.heldMax) {
      this.#held.clear()
      this.#fillAgain = true
    }
  }

  /**
   * Delivers the held publications that are next in order. Schedules a read for the others, in case their
   * predecessors do not arrive.
   */
  #deliverHeld(): void {
    const position = this.#position
    if (!position || this.#filling || this.#closed) return
    const offsets = [...this.#held.keys()].toSorted((a, b) => a - b)
    for (const offset of offsets) {
      const publication = this.#held.get(offset)
      if (!publication) continue
      const current = this.#adopt(this.#position ?? position, publication.epoch)
      if (publication.epoch !== current.epoch) return this.#runFill(undefined)
      if (offset > current.offset && !follows(offset, current.offset)) break
      this.#held.delete(offset)
      if (offset > current.offset) this.#deliver(publication)
    }
    if (this.#held.size === 0) return this.#stopHolding()
    if (this.#held.size > this.#options.heldMax) return this.#runFill(this.#highestHeld())
    this.#cancelHold ??= this.#options.after(this.#options.holdMs, () => {
      this.#cancelHold = undefined
      if (this.#held.size > 0) this.#runFill(this.#highestHeld())
    })
  }

  #runFill(upTo: number | undefined): void {
    this.#fill(upTo).catch((error: unknown) => this.#port.failed(error))
  }

  /** Reads what is missing, page by page. Only one fill runs at a time. */
  async #fill(upTo: number | undefined): Promise<void> {
    if (this.#closed) return
    if (this.#filling) {
      this.#fillAgain ||= upTo === undefined
      return
    }
    this.#filling = true
    this.#stopHolding()
    try {
      let more = true
      while (more && !this.#closed && this.#position) {
        const page = await this.#port.read(this.#position, upTo)
        if (this.#closed) return
        more = this.#apply(page)
      }
    } catch (error) {
      this.#filling = false
      this.#port.failed(error)
      return this.#retryLater()
    }
    this.#filling = false
    if (this.#fillAgain) {
      this.#fillAgain = false
      return this.#fill(undefined)
    }
    this.#deliverHeld()
  }

  /** Reads to the top later. Messages that arrive until then are held or delivered as usual. */
  #retryLater(): void {
    if (this.#closed) return
    const { after, retryMs } = this.#options
    this.#fillAgain = false
    this.#cancelRetry ??= after(retryMs, () => {
      this.#cancelRetry = undefined
      this.#runFill(undefined)
    })
  }

  /** Delivers a page. Returns whether there is more to read. */
  #apply(page: ReaderPage): boolean {
    if (!this.#position) return false
    const position = this.#adopt(this.#position, page.top.epoch)
    if (page.top.epoch !== position.epoch) {
      // Held publications of the old stream can no longer be delivered.
      for (const [offset, { epoch }] of this.#held) if (epoch !== page.top.epoch) this.#held.delete(offset)
      return this.#reportLoss(page.top)
    }
    // A held publication whose epoch differs from the stream's is stale: its message arrived late.
    for (const [offset, { epoch }] of this.#held) if (epoch !== position.epoch) this.#held.delete(offset)
    if (!page.continuous) {
      const [first] = page.publications
      if (!first) return this.#reportLoss(page.top)
      // The loss is reported only up to the first publication that the stream still has; the rest is
      // delivered.
      this.#reportLoss({ epoch: position.epoch, offset: first.offset - 1 })
    }
    for (const publication of page.publications) {
      if (publication.offset > (this.#position?.offset ?? 0)) this.#deliver(publication)
    }
    return page.cut && page.publications.length > 0
  }

  /**
   * Returns the position, in the epoch that the first publication of the channel has begun, when the position
   * is one before it.
   */
  #adopt(position: Position, epoch: string): Position {
    if (position.epoch === epoch || !isSameStream(position.epoch, epoch)) return position
    this.#position = { epoch, offset: position.offset }
    return this.#position
  }

  #reportLoss(top: Position): boolean {
    this.#position = top
    this.#proven = true
    this.#port.lost(top)
    return false
  }

  #deliver(publication: Publication): void {
    this.#position = { epoch: publication.epoch, offset: publication.offset }
    this.#proven = true
    this.#port.deliver(publication)
  }

  /**
   * Returns the highest held offset of the current epoch. Undefined when all held publications have another
   * epoch; the caller then reads up to the top.
   */
  #highestHeld(): number | undefined {
    const epoch = this.#position?.epoch
    const offsets = [...this.#held.values()]
      .filter((held) => held.epoch === epoch)
      .map(({ offset }) => offset)
    return offsets.length === 0 ? undefined : Math.max(...offsets)
  }

  #stopHolding(): void {
    this.#cancelHold?.()
    this.#cancelHold = undefined
  }
}
