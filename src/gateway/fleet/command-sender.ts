// Sends the commands of tenants' backends to all gateways. Each tenant has a rate and a queue of its own, so
// that a tenant that sends thousands of commands delays only itself.
import { CommandError } from '../../errors.js'
import type { Clock } from '../../time.js'
import { TokenBuckets } from '../../quota/token-bucket.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type { UserCommand } from './control-messages.js'

/**
 * The commands that one gateway sends for one tenant, per second and at once. A command of more than a
 * kilobyte counts as one for each kilobyte.
 */
const commandRate = { rate: 50, burst: 100 }
const bytesPerToken = 1_024
/** The largest message in bytes. A larger command is sent alone. */
const batchBytesMax = 65_536

export interface CommandSenderDeps {
  readonly clock: Clock
  /** Publishes one message on the control channel of the tenant. Rejects like `Broker.publish`. */
  readonly publish: (tenant: TenantRuntime, data: Buffer) => Promise<void>
}

interface WaitingCommand {
  readonly bytes: number
  /** The calls of `send` that wait for it. */
  readonly callers: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[]
}

interface TenantQueue {
  /** Commands that no message contains yet, by their JSON text, in order of arrival. */
  readonly waiting: Map<string, WaitingCommand>
  sending: boolean
}

export class CommandSender {
  readonly #deps: CommandSenderDeps
  readonly #rates = new TokenBuckets<TenantRuntime>(commandRate)
  readonly #queues = new WeakMap<TenantRuntime, TenantQueue>()

  constructor(deps: CommandSenderDeps) {
    this.#deps = deps
  }

  /**
   * Resolves when the command is published for every gateway. While one message of the tenant is on its way,
   * its next commands wait and are sent together; equal ones are sent once. Rejects with QUOTA_EXCEEDED above
   * the rate, and like `Broker.publish`.
   */
  async send(tenant: TenantRuntime, command: UserCommand): Promise<void> {
    const text = JSON.stringify(command)
    const bytes = Buffer.byteLength(text)
    const tokens = Math.min(commandRate.burst, Math.max(1, Math.ceil(bytes / bytesPerToken)))
    const retryAfterMs = this.#rates.take(tenant, tokens, this.#deps.clock.monotonicMs())
    if (retryAfterMs > 0) {
      throw new CommandError(
        'QUOTA_EXCEEDED',
        `The ${commandRate.rate} commands about users per second that one gateway sends for the tenant are ` +
          `used (burst ${commandRate.burst}; a large command counts once per kilobyte)`,
        { retryAfterMs },
      )
    }
    const queue = this.#queues.get(tenant) ?? { waiting: new Map(), sending: false }
    this.#queues.set(tenant, queue)
    const waiting = queue.waiting.get(text) ?? { bytes, callers: [] }
    // An equal command that waits is sent at the place of this one: after a repetition, what counts is the
    // last command.
    queue.waiting.delete(text)
    queue.waiting.set(text, waiting)
    await new Promise<void>((resolve, reject) => {
      waiting.callers.push({ resolve, reject })
      if (!queue.sending) this.#sendAll(tenant, queue).catch(reject)
    })
  }

  /** Sends what waits, message by message. Never rejects: the callers of `send` learn of a failure. */
  async #sendAll(tenant: TenantRuntime, queue: TenantQueue): Promise<void> {
    queue.sending = true
    while (queue.waiting.size > 0) {
      const batch = takeBatch(queue.waiting)
      try {
        const texts = batch.map(([text]) => text)
        await this.#deps.publish(tenant, Buffer.from(`{"commands":[${texts.join(',')}]}`))
        for (const [, { callers }] of batch) for (const { resolve } of callers) resolve()
      } catch (error) {
        for (const [, { callers }] of batch) for (const { reject } of callers) reject(error)
      }
    }
    queue.sending = false
  }
}

/** Removes the first commands that fit into one message, at least one. */
function takeBatch(waiting: Map<string, WaitingCommand>): [string, WaitingCommand][] {
  const batch: [string, WaitingCommand][] = []
  let bytes = 0
  for (const entry of waiting) {
    const [text, command] = entry
    bytes += command.bytes + 1
    if (batch.length > 0 && bytes > batchBytesMax) break
    batch.push(entry)
    waiting.delete(text)
  }
  return batch
}
