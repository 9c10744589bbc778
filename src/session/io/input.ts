// The messages that a client has sent until they are decoded and their commands have begun. Each step is work
// of the tenant, so that the messages of one tenant cannot use all the time of the gateway. The socket is not
// read while much waits: the rest of a flood stays in the client's own buffers.
import type { DecodedItem } from '../../protocol/commands.js'
import type { Clock } from '../../time.js'
import type { FairScheduler } from '../sharing/fair-scheduler.js'
import type { Work, WorkQueue } from '../sharing/work-queue.js'
import type { CommandQueue } from './command-queue.js'

/** What the input needs of its session. */
export interface InputOwner {
  readonly closed: boolean
  decode(message: Buffer): DecodedItem[]
  /** Stops or resumes reading from the socket. */
  read(isReading: boolean): void
  /** Called with the change of the bytes that wait. */
  onHeld(bytes: number): void
  /** More messages wait than the session may have. Closes it. */
  onInputFull(): void
}

export interface InputBounds {
  /**
   * Messages that may wait. The socket is not read while more than a few wait, so only a flood reaches it.
   */
  readonly queuedCommandsMax: number
}

/** The socket is not read while this many messages and commands wait, or this many bytes. */
const [waitingMax, waitingBytesMax] = [16, 65_536]
/** How long the messages that were sent during a pause may take to be read after it, besides its length. */
const lateReadsMs = 100
/** What a waiting message or command costs besides its bytes. */
const itemOverheadBytes = 128

export class Input implements Work {
  readonly #owner: InputOwner
  readonly #commands: CommandQueue
  readonly #bounds: InputBounds
  readonly #scheduler: FairScheduler
  readonly #queue: WorkQueue
  readonly #clock: Clock
  #messages: Buffer[] = []
  #messageBytes = 0
  /** When the messages that wait were received; monotonic milliseconds. */
  #receivedMs: number[] = []
  /** The bytes that were reported as held. */
  #bytes = 0
  /** The scheduler has this input. */
  #scheduled = false
  #isReading = true
  /**
   * When the gateway stopped reading from the socket, and until when messages may be late because of that.
   */
  #stoppedMs = 0
  #lateUntilMs = 0
  #lateMs = 0

  constructor(
    owner: InputOwner,
    options: {
      commands: CommandQueue
      bounds: InputBounds
      scheduler: FairScheduler
      queue: WorkQueue
      clock: Clock
    },
  ) {
    this.#clock = options.clock
    this.#owner = owner
    this.#commands = options.commands
    this.#bounds = options.bounds
    this.#scheduler = options.scheduler
    this.#queue = options.queue
  }

  /** False while the gateway does not read from the socket. */
  get isReading(): boolean {
    return this.#isReading
  }

  /** The bytes of the messages and commands that wait. */
  get bytes(): number {
    return this.#bytes
  }

  receive(message: Buffer): void {
    this.#messages.push(message)
    this.proceed()
    if (this.#messages.length === 0) return
    // Most messages never wait, so a message is counted only now.
    this.#messageBytes += message.byteLength
    this.#receivedMs.push(this.#clock.monotonicMs())
    this.#balance()
    if (this.#messages.length > this.#bounds.queuedCommandsMax) this.#owner.onInputFull()
  }

  /** Continues when something may have changed for which messages or commands wait. */
  proceed(): void {
    if (this.#scheduled || !this.#hasWork) return
    this.#scheduled = true
    this.#scheduler.run(this.#queue, this)
  }

  step(): boolean {
    this.#decodeNext()
    this.#commands.run()
    this.#scheduled = this.#hasWork
    this.#balance()
    return this.#scheduled
  }

  clear(): void {
    this.#messages = []
    this.#receivedMs = []
    this.#messageBytes = 0
    this.#hold(0)
  }

  /**
   * Messages are decoded before their commands may begin, because the commands are charged to the client's
   * rate when they arrive.
   */
  get #hasWork(): boolean {
    const { length, mayBegin } = this.#commands
    return !this.#owner.closed && (this.#messages.length > 0 || (length > 0 && mayBegin))
  }

  #decodeNext(): void {
    const message = this.#messages.shift()
    if (!message || this.#owner.closed) return
    const receivedMs = this.#receivedMs.shift()
    if (receivedMs !== undefined) this.#messageBytes -= message.byteLength
    const waitedMs = this.#waitedMs(receivedMs)
    this.#commands.add(this.#owner.decode(message), { bytes: message.byteLength, waitedMs })
  }

  /** Counts what waits, and stops reading from the socket while it is too much. */
  #balance(): void {
    const waiting = this.#messages.length + this.#commands.length
    const bytes = this.#messageBytes + this.#commands.queuedBytes
    if (waiting === 0 && this.#bytes === 0) return this.#read(true)
    this.#hold(waiting === 0 ? 0 : bytes + waiting * itemOverheadBytes)
    if (this.#isReading) {
      // A tenant that has used its time is not read until its turn.
      const isTurnOver = this.#scheduled && this.#messages.length > 0
      if (isTurnOver || waiting >= waitingMax || bytes >= waitingBytesMax) this.#read(false)
    } else if (this.#messages.length === 0 && waiting <= waitingMax / 2 && bytes <= waitingBytesMax / 2)
      this.#read(true)
  }

  #hold(bytes: number): void {
    if (bytes === this.#bytes) return
    this.#owner.onHeld(bytes - this.#bytes)
    this.#bytes = bytes
  }

  /** Returns how long the gateway has kept a message: here, and in the kernel while it did not read. */
  #waitedMs(receivedMs: number | undefined): number {
    // Most messages neither wait nor come after a pause, and do not need the time.
    if (receivedMs === undefined && this.#lateMs === 0) return 0
    const nowMs = this.#clock.monotonicMs()
    if (nowMs > this.#lateUntilMs) this.#lateMs = 0
    return nowMs - (receivedMs ?? nowMs) + this.#lateMs
  }

  #read(isReading: boolean): void {
    if (this.#isReading === isReading) return
    this.#isReading = isReading
    const nowMs = this.#clock.monotonicMs()
    if (isReading) {
      this.#lateMs = nowMs - this.#stoppedMs
      // What the client sent meanwhile is read in a few turns of the event loop.
      this.#lateUntilMs = nowMs + this.#lateMs + lateReadsMs
    } else this.#stoppedMs = nowMs
    this.#owner.read(isReading)
  }
}
