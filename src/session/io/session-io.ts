// The queues between one session and its transport, in both directions, and the memory that they hold. It
// keeps them in balance: a client that does not read its replies gets no further commands begun, and a client
// whose commands wait is not read.
import { closeCodes } from '../../protocol/codes.js'
import type { DecodedItem } from '../../protocol/commands.js'
import type { Timer } from '../../time.js'
import type { Dispatch } from '../client.js'
import type { SessionContext } from '../context.js'
import type { TenantRuntime } from '../tenant/runtime.js'
import type { Transport } from '../transport.js'
import { CommandQueue, type CommandFlow, type CommandQueueOwner } from './command-queue.js'
import { Input, type InputOwner } from './input.js'
import { Outbox, type OutboxOwner } from './outbox.js'

/** What the queues need of their session, besides what the command handlers need. */
export interface SessionIoOwner extends CommandQueueOwner {
  /** Called before the gateway stops or resumes reading from the client. */
  onReadingChanged(): void
}

export class SessionIo implements InputOwner, OutboxOwner, CommandFlow {
  readonly outbox: Outbox
  readonly input: Input
  readonly commands: CommandQueue
  readonly #owner: SessionIoOwner
  readonly #context: SessionContext
  readonly #tenant: TenantRuntime
  readonly #transport: Transport
  /** Checks the outbox when the client has not read for as long as it may. */
  #slowTimer: Timer | undefined
  /** The bytes of messages that have arrived in part. */
  #otherBytes = 0

  constructor(
    owner: SessionIoOwner,
    options: { context: SessionContext; tenant: TenantRuntime; transport: Transport; dispatch: Dispatch },
  ) {
    const { context, dispatch, tenant, transport } = options
    const { arrivalDelay, clock, flusher, limits, scheduler } = context
    this.#owner = owner
    this.#context = context
    this.#tenant = tenant
    this.#transport = transport
    this.outbox = new Outbox(transport, {
      flusher,
      bounds: limits.outbox,
      clock,
      owner: this,
      work: tenant.work,
    })
    this.commands = new CommandQueue(owner, {
      dispatch,
      flow: this,
      bounds: limits,
      clock,
      arrivalDelay,
      commandsPerSecond: tenant.policy.limits.connections.commandsPerSecond,
      budget: tenant.publishBudget,
    })
    this.input = new Input(this, {
      commands: this.commands,
      bounds: limits,
      scheduler,
      queue: tenant.work,
      clock,
    })
  }

  get closed(): boolean {
    return this.#owner.closed
  }

  /** The bytes that are freed when the session closes. */
  get heldBytes(): number {
    return this.outbox.heldBytes + this.input.bytes + this.commands.heldBytes + this.#otherBytes
  }

  get isCongested(): boolean {
    return this.outbox.isCongested
  }

  proceed(): void {
    this.input.proceed()
  }

  drained(): void {
    if (this.#slowTimer) this.#context.wheel.cancel(this.#slowTimer)
    this.outbox.drained()
    this.input.proceed()
  }

  close(): void {
    if (this.#slowTimer) this.#context.wheel.cancel(this.#slowTimer)
    this.outbox.close()
    this.commands.clear()
    this.input.clear()
    this.onHeld(-this.#otherBytes)
    this.#otherBytes = 0
  }

  // ——— Owner of the queues ———

  decode(message: Buffer): DecodedItem[] {
    return this.#owner.codec.decode(message)
  }

  read(isReading: boolean): void {
    this.#owner.onReadingChanged()
    this.#transport.read(isReading)
  }

  onInputFull(): void {
    this.#owner.close(closeCodes.tooManyRequests)
  }

  onSlow(): void {
    this.#context.metrics.slowCloses.inc()
    this.#owner.close(closeCodes.slow)
  }

  onSent(bytes: number): void {
    this.#context.metrics.sentBytes.add(bytes)
    this.#tenant.quota.rates.chargeBytesOut(bytes)
  }

  onBlocked(): void {
    const { limits, wheel } = this.#context
    const delayMs = limits.outbox.ageMaxMs + 1
    if (this.#slowTimer) wheel.reschedule(this.#slowTimer, delayMs)
    else this.#slowTimer = wheel.after(delayMs, () => this.outbox.checkAge())
  }

  /** Counts bytes that the session holds outside its queues. `close` subtracts them. */
  hold(bytes: number): void {
    if (this.closed) return
    this.#otherBytes += bytes
    this.onHeld(bytes)
  }

  onHeld(bytes: number): void {
    this.#context.memory.add(this.#tenant.memory, bytes)
  }
}
