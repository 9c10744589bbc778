// Publishes the numbers 1, 2, 3 … in one room. Each message has an idempotency key and is repeated until it
// is acknowledged.
import { setTimeout as sleep } from 'node:timers/promises'
import { within } from '../support/waiting.js'
import { ChatTestClient, type TestClientOptions } from './test-clients.js'

/** Time after which the reply counts as lost and the message is sent again. */
const answerDeadlineMs = 10_000
const retryPauseMs = 300

export class Publisher {
  readonly client: ChatTestClient
  readonly room: TestClientOptions['room']
  /** Number of the last message that was acknowledged. */
  acked = 0
  /** The time of each acknowledgement, in order. */
  readonly ackedMs: number[] = []
  /** Number of refusals and missing replies by reason. */
  readonly refusals: Record<string, number> = {}
  readonly #everyMs: number
  #stopped = false
  #running: Promise<void> = Promise.resolve()

  private constructor(client: ChatTestClient, room: TestClientOptions['room'], everyMs: number) {
    this.client = client
    this.room = room
    this.#everyMs = everyMs
  }

  static async start(options: TestClientOptions & { everyMs: number }): Promise<Publisher> {
    const publisher = new Publisher(await ChatTestClient.open(options), options.room, options.everyMs)
    publisher.#running = publisher.#run()
    return publisher
  }

  /** Stops publishing. Resolves when the last message is acknowledged. Rejects after `deadlineMs`. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopped = true
    await within(`the last acknowledgement in ${this.room.name}`, this.#running, deadlineMs)
  }

  close(): void {
    this.#stopped = true
    this.client.close()
  }

  async #run(): Promise<void> {
    await sleep(this.#everyMs * Math.random())
    while (!this.#stopped) {
      const pause = sleep(this.#everyMs)
      await this.#publish(this.acked + 1)
      await pause
    }
  }

  async #publish(n: number): Promise<void> {
    const { name, tenant } = this.room
    const command = { type: 'room_message', room: name, content: { n }, key: `${tenant.name} ${name} ${n}` }
    for (;;) {
      try {
        await within('an acknowledgement', this.client.ask(command), answerDeadlineMs)
        this.acked = n
        this.ackedMs.push(performance.now())
        return
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        this.refusals[reason] = (this.refusals[reason] ?? 0) + 1
        if (this.client.closed) return
        await sleep(retryPauseMs)
      }
    }
  }
}
