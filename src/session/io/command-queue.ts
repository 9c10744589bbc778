// What a client sent and has not been begun: in order, one command at a time, no faster than its tenant allows.
import { CommandError } from '../../errors.js'
import { closeCodes, type CloseCode } from '../../protocol/codes.js'
import type { Command, Received, ReplyRef } from '../../protocol/commands.js'
import { TokenBucket, type BucketLimits } from '../../quota/token-bucket.js'
import type { Clock } from '../../time.js'

/** What an inbox needs of its session. */
export interface InboxOwner {
  readonly closed: boolean
  /** Settles when the command is answered. Rejects for bugs only. */
  execute(command: Command, ref: ReplyRef): Promise<void>
  /** The command was not begun. */
  refuse(ref: ReplyRef, error: CommandError): void
  close(code: CloseCode): void
  bug(error: unknown, what: string): void
}

export interface InboxBounds {
  /** Commands that may wait for their turn; more is a flood (3013). */
  readonly queuedCommandsMax: number
  /** Publishes under way at once; the next waits its turn. */
  readonly publishesInFlightMax: number
  /** Refused or unreadable commands in a row that end the session (3509). */
  readonly errorsInRowMax: number
}

/** Pings and pongs in a row that found no command left in the bucket. A tenant with a rate of 0 gets half an hour out of it. */
const controlsOverRateMax = 64

export class Inbox {
  readonly #owner: InboxOwner
  readonly #bounds: InboxBounds
  readonly #clock: Clock
  readonly #rate: TokenBucket
  #commandsPerSecond: number
  readonly #queue: Received[] = []
  #busy = false
  #publishesInFlight = 0
  #errorsInRow = 0
  #controlsOverRate = 0
  #lastCommandMs: number

  constructor(owner: InboxOwner, options: { bounds: InboxBounds; clock: Clock; commandsPerSecond: number }) {
    const { bounds, clock, commandsPerSecond } = options
    this.#owner = owner
    this.#bounds = bounds
    this.#clock = clock
    this.#commandsPerSecond = commandsPerSecond
    this.#lastCommandMs = clock.monotonicMs()
    this.#rate = new TokenBucket(limitsOf(commandsPerSecond), this.#lastCommandMs)
  }

  /** Monotonic milliseconds; pongs do not count. */
  get lastCommandMs(): number {
    return this.#lastCommandMs
  }

  configure(commandsPerSecond: number): void {
    this.#commandsPerSecond = commandsPerSecond
    this.#rate.configure(limitsOf(commandsPerSecond), this.#clock.monotonicMs())
  }

  add(received: readonly Received[]): void {
    this.#queue.push(...received)
    if (this.#queue.length > this.#bounds.queuedCommandsMax)
      return this.#owner.close(closeCodes.tooManyRequests)
    this.#pump()
  }

  /** Pings and pongs cannot be refused, and each costs a turn: who sends far more of them than commands are allowed has to go. */
  addControl(): void {
    if (this.#owner.closed) return
    const tooFast = this.#rate.take(1, this.#clock.monotonicMs()) > 0
    this.#controlsOverRate = tooFast ? this.#controlsOverRate + 1 : 0
    if (this.#controlsOverRate > controlsOverRateMax) this.#owner.close(closeCodes.tooManyRequests)
  }

  /** A command went well: whoever is at the other end is sensible. */
  answered(): void {
    this.#errorsInRow = 0
  }

  clear(): void {
    this.#queue.length = 0
  }

  /** Only publishes do not wait for their acknowledgement before the next command begins. */
  #pump(): void {
    while (
      !this.#busy &&
      !this.#owner.closed &&
      this.#publishesInFlight < this.#bounds.publishesInFlightMax
    ) {
      const [received] = this.#queue
      if (!received) return
      // What came before the end is answered before the end.
      if (this.#publishesInFlight > 0 && endsSession(received)) return
      this.#queue.shift()
      this.#take(received)
    }
  }

  #take(received: Received): void {
    if (received.kind === 'pong') return this.addControl()
    const nowMs = this.#clock.monotonicMs()
    const waitMs = this.#rate.take(1, nowMs)
    if (received.kind === 'violation') return this.#owner.close(received.close)
    if (waitMs > 0) return this.#refuse(received.ref, this.#tooFast(waitMs))
    if (received.kind === 'refused') return this.#refuse(received.ref, received.error)
    this.#lastCommandMs = nowMs
    this.#begin(received.command, received.ref)
  }

  #begin(command: Command, ref: ReplyRef): void {
    const overlaps = command.kind === 'publish'
    if (overlaps) this.#publishesInFlight += 1
    else this.#busy = true
    const ended = (): void => {
      if (overlaps) this.#publishesInFlight -= 1
      else this.#busy = false
      this.#pump()
    }
    this.#owner.execute(command, ref).then(ended, (error: unknown) => {
      this.#owner.bug(error, `command ${command.kind} was not answered`)
      ended()
    })
  }

  /** Too many of these in a row, and nobody sensible is at the other end. */
  #refuse(ref: ReplyRef, error: CommandError): void {
    this.#errorsInRow += 1
    this.#owner.refuse(ref, error)
    if (this.#errorsInRow < this.#bounds.errorsInRowMax) return
    this.#owner.close(
      error.code === 'TOO_MANY_REQUESTS' ? closeCodes.tooManyRequests : closeCodes.tooManyErrors,
    )
  }

  #tooFast(waitMs: number): CommandError {
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

/** Whatever it holds: connecting twice and sending to nobody are refused by a close. */
function endsSession(received: Received): boolean {
  if (received.kind === 'command')
    return received.command.kind === 'connect' || received.command.kind === 'send'
  return received.kind === 'violation'
}
