// Publishes 1, 2, 3 … into one room, each with a key and again until it is acknowledged: what is acknowledged must then be there for everybody.
import { setTimeout as sleep } from 'node:timers/promises'
import { within } from '../support/waiting.js'
import { ChatFan, type FanOptions } from './fans.js'

/** Beyond it the answer is taken for lost, and the same is sent again. */
const answerDeadlineMs = 10_000
const retryPauseMs = 300

export class Publisher {
  readonly fan: ChatFan
  readonly room: FanOptions['room']
  /** Number of the last message that was acknowledged. */
  acked = 0
  /** When each was acknowledged, in order. */
  readonly ackedMs: number[] = []
  /** How often it was refused, or nobody answered, by reason. */
  readonly refusals: Record<string, number> = {}
  readonly #everyMs: number
  #stopped = false
  #going: Promise<void> = Promise.resolve()

  private constructor(fan: ChatFan, room: FanOptions['room'], everyMs: number) {
    this.fan = fan
    this.room = room
    this.#everyMs = everyMs
  }

  static async start(options: FanOptions & { everyMs: number }): Promise<Publisher> {
    const publisher = new Publisher(await ChatFan.open(options), options.room, options.everyMs)
    publisher.#going = publisher.#run()
    return publisher
  }

  /** Resolves when the last message is acknowledged. Rejects after `deadlineMs` without. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopped = true
    await within(`the last acknowledgement in ${this.room.name}`, this.#going, deadlineMs)
  }

  close(): void {
    this.#stopped = true
    this.fan.close()
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
        await within('an acknowledgement', this.fan.ask(command), answerDeadlineMs)
        this.acked = n
        this.ackedMs.push(performance.now())
        return
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        this.refusals[why] = (this.refusals[why] ?? 0) + 1
        if (this.fan.closed) return
        await sleep(retryPauseMs)
      }
    }
  }
}
