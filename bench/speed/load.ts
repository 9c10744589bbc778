// The other end of a load process.
import type { Program } from '../../test/support/child-process.js'
import { script } from './script.js'
import type { CameReport, IdleReport, Order, RanReport, Visit } from './orders.js'

/** Far above what any order takes, drains included. */
const answerDeadlineMs = 600_000

/** A crowd at one server, from a process of its own. */
export class Load {
  readonly #program: Program
  readonly #visit: Visit
  #answers = 0

  constructor(visit: Visit) {
    this.#visit = visit
    this.#program = script('the load', 'load.mjs', [], { listens: true })
  }

  /** Throws when anybody is turned away: what is counted would be worth nothing. */
  async come(): Promise<CameReport> {
    const report = await this.comeAtOnce(this.#visit.arrivingMax)
    const [failure] = Object.entries(report.failures)
    if (failure) throw new Error(`${failure[1]} connections failed with ${failure[0]}`)
    return report
  }

  /** `arrivingMax` at a time; who was here before asks for what it missed, or comes as for the first time. */
  comeAtOnce(arrivingMax: number, { returning = true } = {}): Promise<CameReport> {
    return this.#ask({ ...this.#visit, arrivingMax, returning, do: 'come' })
  }

  run(order: Omit<Extract<Order, { do: 'run' }>, 'do' | 'server' | 'redis'>): Promise<RanReport> {
    return this.#ask({ ...order, ...this.#watched, do: 'run' })
  }

  idle(seconds: number): Promise<IdleReport> {
    return this.#ask({ seconds, ...this.#watched, do: 'idle' })
  }

  async vanish(): Promise<void> {
    await this.#ask({ do: 'vanish' })
  }

  end(): Promise<void> {
    return this.#program.kill()
  }

  get #watched() {
    return { server: this.#visit.server, redis: this.#visit.redis }
  }

  async #ask<Report>(order: Order): Promise<Report> {
    const nth = this.#answers
    this.#answers += 1
    this.#program.tell(JSON.stringify(order))
    return this.#program.saying(
      `an answer to "${order.do}"`,
      (said) => {
        const answers = said
          .split('\n')
          .slice(0, -1)
          .filter((line) => line.startsWith('answer '))
        const answer = answers[nth]?.slice('answer '.length)
        return answer === undefined ? undefined : (JSON.parse(answer) as Report)
      },
      answerDeadlineMs,
    )
  }
}
