// Holds the commands that a client has sent until they start. They run in order, one at a time, and no faster
// than the tenant's rate.
import { CommandError } from '../../errors.js'
import { closeCodes } from '../../protocol/codes.js'
import type { Command, DecodedItem, ReplyRef } from '../../protocol/commands.js'
import { TokenBucket, type BucketLimits } from '../../quota/token-bucket.js'
import type { Clock } from '../../time.js'
import type { ArrivalDelay } from '../arrival-delay.js'
import type { Client, Dispatch } from '../client.js'
import type { SessionLimits } from '../context.js'
import type { BudgetWaiter, PublishBudget } from '../sharing/publish-budget.js'

/** What a command queue needs of its session, besides what the command handlers need. */
export interface CommandQueueOwner extends Client {
  /**
   * Returns whether the command may begin in the session's state. Closes the session where the command breaks
   * the protocol.
   */
  mayBegin(command: Command): boolean
  /** Answers a command whose handler failed. */
  fail(command: Command, ref: ReplyRef, error: unknown): void
}

/** Decides when the next command may begin. */
export interface CommandFlow {
  /** The client has not read the replies that were sent. No further command begins before it has. */
  readonly isCongested: boolean
  /** A command ended, or the tenant's publishes have room again: the session calls `run` in its turn. */
  proceed(): void
  /** Called with the change of the bytes of the publishes that wait for their acknowledgement. */
  onHeld(bytes: number): void
}

export type CommandQueueBounds = Pick<
  SessionLimits,
  'queuedCommandsMax' | 'publishesInFlightMax' | 'publishBytesInFlightMax' | 'errorsInRowMax'
>

type DecodedCommand = Extract<DecodedItem, { kind: 'command' }>

/**
 * The pings and pongs that a client may send in a burst beyond its rate of commands; one more closes the
 * session.
 */
const controlsBurst = 64

/** The most commands that begin in one step of the tenant's work. */
const beginsMax = 4

interface QueuedItem {
  readonly item: DecodedItem
  /** The part of the message's bytes that belongs to this item. */
  readonly bytes: number
  /** When it was sent at the earliest; monotonic milliseconds. */
  readonly sentMs: number
}

export class CommandQueue implements BudgetWaiter {
  readonly #owner: CommandQueueOwner
  readonly #dispatch: Dispatch
  readonly #flow: CommandFlow
  readonly #bounds: CommandQueueBounds
  readonly #clock: Clock
  readonly #arrivalDelay: Pick<ArrivalDelay, 'at'>
  readonly #rate: TokenBucket
  readonly #controls: TokenBucket
  #commandsPerSecond: number
  readonly #budget: PublishBudget
  readonly #queue: QueuedItem[] = []
  #queuedBytes = 0
  #busy = false
  #publishesInFlight = 0
  #publishBytesInFlight = 0
  /** The next publish waits until others of the tenant are acknowledged. */
  #waitsForBudget = false
  /** The next item closes the session, after the publishes before it are answered. */
  #waitsForPublishes = false
  #errorsInRow = 0
  #lastCommandMs: number
  #delayedMs = 0

  constructor(
    owner: CommandQueueOwner,
    options: {
      dispatch: Dispatch
      flow: CommandFlow
      bounds: CommandQueueBounds
      clock: Clock
      arrivalDelay: Pick<ArrivalDelay, 'at'>
      commandsPerSecond: number
      budget: PublishBudget
    },
  ) {
    const { arrivalDelay, bounds, clock, commandsPerSecond, dispatch } = options
    this.#owner = owner
    this.#dispatch = dispatch
    this.#flow = options.flow
    this.#budget = options.budget
    this.#bounds = bounds
    this.#clock = clock
    this.#arrivalDelay = arrivalDelay
    this.#commandsPerSecond = commandsPerSecond
    this.#lastCommandMs = clock.monotonicMs()
    this.#rate = new TokenBucket(limitsOf(commandsPerSecond), this.#lastCommandMs)
    this.#controls = new TokenBucket(controlLimitsOf(commandsPerSecond), this.#lastCommandMs)
  }

  /** The monotonic time of the last command in milliseconds; pongs do not count. */
  get lastCommandMs(): number {
    return this.#lastCommandMs
  }

  /**
   * How long the gateway has delayed the command that started last, in milliseconds: in this queue, and
   * before the gateway read it.
   */
  get delayedMs(): number {
    return this.#delayedMs
  }

  configure(commandsPerSecond: number): void {
    const nowMs = this.#clock.monotonicMs()
    this.#commandsPerSecond = commandsPerSecond
    this.#rate.configure(limitsOf(commandsPerSecond), nowMs)
    this.#controls.configure(controlLimitsOf(commandsPerSecond), nowMs)
  }

  /** The number of commands that wait. */
  get length(): number {
    return this.#queue.length
  }

  /** The bytes of the commands that wait. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** Returns whether the next command may begin now. Each command waits for the one before it. */
  get mayBegin(): boolean {
    return (
      !this.#busy &&
      !this.#waitsForBudget &&
      !this.#waitsForPublishes &&
      this.#publishesInFlight < this.#bounds.publishesInFlightMax &&
      this.#publishBytesInFlight < this.#bounds.publishBytesInFlightMax &&
      !this.#flow.isCongested
    )
  }

  /** The bytes of the publishes that wait for their acknowledgement. */
  get heldBytes(): number {
    return this.#publishBytesInFlight
  }

  /**
   * Queues the items of one message of `bytes` bytes; `run` starts them. Closes the session with 3013 above
   * `queuedCommandsMax`. The items are charged to the client's rate now and not when they start, because the
   * client does not decide how long they wait. `waitedMs`: how long the gateway kept the message before it
   * called this.
   */
  add(items: readonly DecodedItem[], { bytes, waitedMs }: { bytes: number; waitedMs: number }): void {
    const nowMs = this.#clock.monotonicMs()
    const delayedMs = waitedMs + this.#arrivalDelay.at(nowMs)
    const share = Math.ceil(bytes / Math.max(1, items.length))
    for (const item of items) {
      this.#queue.push({
        item: this.#charged(item, { nowMs, delayedMs }),
        bytes: share,
        sentMs: nowMs - delayedMs,
      })
      this.#queuedBytes += share
    }
    if (this.#queue.length > this.#bounds.queuedCommandsMax) this.#owner.close(closeCodes.tooManyRequests)
  }

  /**
   * Starts a few queued commands, until one of them must end before the next may start. Each command waits
   * for the one before it, except that a command does not wait for the acknowledgement of a publish.
   */
  run(): void {
    const owner = this.#owner
    for (let begun = 0; begun < beginsMax && this.mayBegin && !owner.closed; begun += 1) {
      const [first] = this.#queue
      if (!first) return
      const { bytes, item, sentMs } = first
      // Publishes that precede an item that closes the session are answered before the session closes.
      if (this.#publishesInFlight > 0 && endsSession(item)) {
        this.#waitsForPublishes = true
        return
      }
      if (isPublish(item) && !this.#budget.allows(bytes, this)) {
        this.#waitsForBudget = true
        return
      }
      this.#queue.shift()
      this.#queuedBytes -= bytes
      const received = this.#commandOf(item)
      if (!received || !owner.mayBegin(received.command)) continue
      this.#delayedMs = this.#clock.monotonicMs() - sentMs
      this.#begin(received, bytes)
    }
  }

  #begin(received: DecodedCommand, bytes: number): void {
    const { command, ref } = received
    const overlaps = command.kind === 'publish'
    if (overlaps) this.#countPublish(1, bytes)
    else this.#busy = true
    const ended = (): void => {
      if (overlaps) this.#countPublish(-1, bytes)
      else this.#busy = false
      this.#flow.proceed()
    }
    this.#dispatch(this.#owner, command, ref).then(ended, (error: unknown) => {
      this.#fail(received, error)
      ended()
    })
  }

  #countPublish(change: 1 | -1, bytes: number): void {
    this.#publishesInFlight += change
    this.#publishBytesInFlight += change * bytes
    this.#flow.onHeld(change * bytes)
    if (change === 1) return this.#budget.begin(bytes)
    if (this.#publishesInFlight === 0) this.#waitsForPublishes = false
    this.#budget.end(bytes)
  }

  /** The tenant's publishes have room again. */
  proceed(): void {
    this.#waitsForBudget = false
    this.#flow.proceed()
  }

  /**
   * Pings and pongs cannot be refused, and each costs work: a client that sends far more of them than its
   * rate is closed with 3013.
   */
  addControl(): void {
    if (this.#owner.closed) return
    const nowMs = this.#clock.monotonicMs()
    if (this.#controls.take(1, nowMs, this.#arrivalDelay.at(nowMs)) > 0)
      this.#owner.close(closeCodes.tooManyRequests)
  }

  /** A command succeeded: the count of errors in a row starts again. */
  answered(): void {
    this.#errorsInRow = 0
  }

  clear(): void {
    this.#queue.length = 0
    this.#queuedBytes = 0
    this.#budget.forget(this)
  }

  /** Charges the item to the client's rate. Returns a refusal in its place when the rate is used up. */
  #charged(item: DecodedItem, { delayedMs, nowMs }: { delayedMs: number; nowMs: number }): DecodedItem {
    if (item.kind === 'pong' || item.kind === 'violation') return item
    const waitMs = this.#rate.take(1, nowMs, delayedMs)
    if (waitMs > 0) return { kind: 'refused', ref: item.ref, error: this.#overRate(waitMs) }
    if (item.kind === 'command') this.#lastCommandMs = nowMs
    return item
  }

  /** Returns a command that may start, and handles every other item itself. */
  #commandOf(item: DecodedItem): DecodedCommand | undefined {
    if (item.kind === 'command') return item
    if (item.kind === 'pong') this.addControl()
    else if (item.kind === 'violation') this.#owner.close(item.close)
    else this.#refuse(item.ref, item.error)
    return undefined
  }

  #fail({ command, ref }: DecodedCommand, error: unknown): void {
    try {
      this.#owner.fail(command, ref, error)
    } catch (bug) {
      this.#owner.reportBug(bug, `command ${command.kind} was not answered`)
    }
  }

  /**
   * Answers with an error. A client that gets too many in a row is broken or hostile, and its session is
   * closed.
   */
  #refuse(ref: ReplyRef, error: CommandError): void {
    this.#errorsInRow += 1
    this.#owner.replyError(ref, error)
    if (this.#errorsInRow < this.#bounds.errorsInRowMax) return
    this.#owner.close(
      error.code === 'TOO_MANY_REQUESTS' ? closeCodes.tooManyRequests : closeCodes.tooManyErrors,
    )
  }

  #overRate(waitMs: number): CommandError {
    return new CommandError(
      'TOO_MANY_REQUESTS',
      `This connection has used its ${this.#commandsPerSecond} commands per second; slow down`,
      { retryAfterMs: waitMs },
    )
  }
}

function limitsOf(commandsPerSecond: number): BucketLimits {
  return { rate: commandsPerSecond, burst: commandsPerSecond }
}

/** A client whose commands are all refused still answers pings. */
function controlLimitsOf(commandsPerSecond: number): BucketLimits {
  const rate = Math.max(1, commandsPerSecond)
  return { rate, burst: rate + controlsBurst }
}

function isPublish(item: DecodedItem): boolean {
  return item.kind === 'command' && item.command.kind === 'publish'
}

/** Returns whether the item closes the session. A second connect and a `send` do, whatever they contain. */
function endsSession(item: DecodedItem): boolean {
  if (item.kind === 'command') return item.command.kind === 'connect' || item.command.kind === 'send'
  return item.kind === 'violation'
}
