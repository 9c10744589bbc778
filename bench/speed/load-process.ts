// Starts and controls a process that runs load.mjs.
import { CommandProcess } from './script.js'
import type { MeasuredConnects, MeasuredIdle, LoadCommand, MeasuredRound, LoadPlan } from './load-commands.js'

/** Longer than any command takes, including the time to drain a round. */
const replyDeadlineMs = 600_000

/** Clients of one server, in a process of their own. */
export class LoadProcess {
  readonly #process: CommandProcess<LoadCommand>
  readonly #plan: LoadPlan

  constructor(plan: LoadPlan) {
    this.#plan = plan
    this.#process = new CommandProcess('the load', 'load.mjs')
  }

  /** Connects all clients. Rejects when one fails, since the figures would be worthless. */
  async connect(): Promise<MeasuredConnects> {
    const report = await this.connectAtOnce(this.#plan.connectingMax)
    const [failure] = Object.entries(report.failures)
    if (failure) throw new Error(`${failure[1]} connections failed with ${failure[0]}`)
    return report
  }

  /**
   * Connects all clients, at most `connectingMax` at the same time. With `recovers` (default true), clients
   * that were connected before recover what they missed. Failures are counted in the report.
   */
  connectAtOnce(connectingMax: number, { recovers = true } = {}): Promise<MeasuredConnects> {
    return this.#request({ ...this.#plan, connectingMax, recovers, kind: 'connect' })
  }

  run(
    command: Omit<Extract<LoadCommand, { kind: 'run' }>, 'kind' | 'server' | 'redis'>,
  ): Promise<MeasuredRound> {
    return this.#request({ ...command, ...this.#measured, kind: 'run' })
  }

  idle(seconds: number): Promise<MeasuredIdle> {
    return this.#request({ seconds, ...this.#measured, kind: 'idle' })
  }

  async disconnect(): Promise<void> {
    await this.#request({ kind: 'disconnect' })
  }

  end(): Promise<void> {
    return this.#process.end()
  }

  get #measured() {
    return { server: this.#plan.server, redis: this.#plan.redis }
  }

  #request<Report>(command: LoadCommand): Promise<Report> {
    return this.#process.request(command, replyDeadlineMs)
  }
}
