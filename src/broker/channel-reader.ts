// Follows one channel on one gateway: what pub/sub brings, put in order, with nothing missing unnoticed. Pure but for its port and timers.
import type { After } from '../time.js'
import type { Position, Publication } from './broker.js'
import { follows } from './stream-id.js'

/** One answer from the stream. `continuous`: nothing is missing between `since` and its last publication. */
export interface ReaderPage {
  readonly publications: readonly Publication[]
  readonly continuous: boolean
  /** In the stream's present epoch. With `upTo`: the place of that, else the stream's top. */
  readonly top: Position
  /** There is more before `top` than one answer held. */
  readonly cut: boolean
}

export interface ChannelReaderPort {
  /** What follows `since`, to `upTo` (inclusive, its replication is proven) or to a top that a fence has proven. */
  read(since: Position, upTo: number | undefined): Promise<ReaderPage>
  deliver(publication: Publication): void
  /** Something is missing for good; what follows continues from `top`. */
  lost(top: Position): void
  /** A read failed: it is tried again when the link is back, or later. */
  failed(error: unknown): void
}

export interface ChannelReaderOptions {
  readonly after: After
  /** Two gateways publish in any order: so long a publication waits for its predecessors. */
  readonly holdMs: number
  /** And so many may wait. */
  readonly heldMax: number
  /** From a read that failed to the next try. */
  readonly retryMs: number
}

export class ChannelReader {
  readonly #port: ChannelReaderPort
  readonly #options: ChannelReaderOptions
  /** Undefined until the top was read once. */
  #position: Position | undefined
  readonly #held = new Map<number, Publication>()
  /** Ends the hold. */
  #cancelHold: (() => void) | undefined
  #cancelRetry: (() => void) | undefined
  #filling = false
  /** Asked for while filling, or before the start: once more, to the top. */
  #fillAgain = false
  /** The position is one that replicas are known to have; where we began it may not be. */
  #proven = false
  /** The last of this gateway's own publications. */
  #acknowledged: Position | undefined
  #closed = false

  constructor(port: ChannelReaderPort, options: ChannelReaderOptions) {
    this.#port = port
    this.#options = options
  }

  get position(): Position | undefined {
    return this.#position
  }

  /** Our position where it is proven that it survives a failover: what was delivered is, and what a fence has confirmed. */
  get proven(): Position | undefined {
    return this.#proven ? this.#position : undefined
  }

  /** Where a newcomer may begin without a read: as `proven`, and not before what this gateway has acknowledged. */
  get standing(): Position | undefined {
    const proven = this.proven
    const last = this.#acknowledged
    if (!proven || !last) return proven
    return last.epoch === proven.epoch && last.offset <= proven.offset ? proven : undefined
  }

  /** Published here. Its message follows, or has come already. */
  acknowledged(position: Position): void {
    const last = this.#acknowledged
    if (last?.epoch !== position.epoch || last.offset < position.offset) this.#acknowledged = position
  }

  /** A fenced read has seen the stream's top. */
  prove(top: Position): void {
    const position = this.#position
    if (position?.epoch === top.epoch && position.offset <= top.offset) this.#proven = true
  }

  /** Where the channel stood when the subscription was there: what follows is followed. */
  start(top: Position): void {
    if (this.#position) return
    this.#position = top
    if (!this.#fillAgain) return this.#settle()
    this.#fillAgain = false
    this.#runFill(undefined)
  }

  /** From pub/sub, in any order, perhaps twice. */
  onMessage(publication: Publication): void {
    const position = this.#position
    if (!position || this.#filling) return this.#hold(publication)
    if (publication.epoch !== position.epoch) {
      this.#hold(publication)
      return this.#runFill(undefined)
    }
    if (publication.offset <= position.offset) return
    if (this.#held.size === 0 && follows(publication.offset, position.offset))
      return this.#deliver(publication)
    this.#hold(publication)
    this.#settle()
  }

  /** The subscription was interrupted, or it is time to compare: whatever is there beyond our position is read. */
  check(): void {
    if (this.#position) this.#runFill(undefined)
    else this.#fillAgain = true
  }

  close(): void {
    this.#closed = true
    this.#stopHolding()
    this.#cancelRetry?.()
    this.#held.clear()
  }

  #hold(publication: Publication): void {
    this.#held.set(publication.offset, publication)
    // Too many to keep while nothing can be read: they are in the stream, and will be read from there.
    if ((this.#filling || !this.#position) && this.#held.size > this.#options.heldMax) {
      this.#held.clear()
      this.#fillAgain = true
    }
  }

  /** Delivers what has its turn among the held; arranges for the rest. */
  #settle(): void {
    const position = this.#position
    if (!position || this.#filling || this.#closed) return
    const offsets = [...this.#held.keys()].toSorted((a, b) => a - b)
    for (const offset of offsets) {
      const publication = this.#held.get(offset)
      if (!publication) continue
      const current = this.#position ?? position
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

  /** Reads what is missing, in order; one at a time. */
  async #fill(upTo: number | undefined): Promise<void> {
    if (this.#closed) return
    if (this.#filling) {
      this.#fillAgain ||= upTo === undefined
      return
    }
    this.#filling = true
    this.#stopHolding()
    try {
      let goOn = true
      while (goOn && !this.#closed && this.#position) {
        const page = await this.#port.read(this.#position, upTo)
        if (this.#closed) return
        goOn = this.#take(page)
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
    this.#settle()
  }

  /** What could not be read is still missing: to the top, later. Messages that come meanwhile are held or delivered as always. */
  #retryLater(): void {
    if (this.#closed) return
    const { after, retryMs } = this.#options
    this.#fillAgain = false
    this.#cancelRetry ??= after(retryMs, () => {
      this.#cancelRetry = undefined
      this.#runFill(undefined)
    })
  }

  /** True: the page was cut, there is more. */
  #take(page: ReaderPage): boolean {
    const position = this.#position
    if (!position) return false
    if (page.top.epoch !== position.epoch) {
      // What was held of the old stream is of no use any more.
      for (const [offset, { epoch }] of this.#held) if (epoch !== page.top.epoch) this.#held.delete(offset)
      return this.#lose(page.top)
    }
    // A message of another epoch that the stream itself knows nothing of came late, and is of the past.
    for (const [offset, { epoch }] of this.#held) if (epoch !== position.epoch) this.#held.delete(offset)
    if (!page.continuous) {
      const [first] = page.publications
      if (!first) return this.#lose(page.top)
      // As little as possible is lost: what is still there is delivered.
      this.#lose({ epoch: position.epoch, offset: first.offset - 1 })
    }
    for (const publication of page.publications) {
      if (publication.offset > (this.#position?.offset ?? 0)) this.#deliver(publication)
    }
    return page.cut && page.publications.length > 0
  }

  #lose(top: Position): boolean {
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

  /** Of the stream that is followed; undefined when what is held is of another, and the top must be asked for. */
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
