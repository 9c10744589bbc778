// Starts and controls a process that runs load.mjs.
import type { Program } from '../../test/support/child-process.js'
import { startScript } from './script.js'
import type { MeasuredConnects, MeasuredIdle, LoadCommand, MeasuredRound, LoadPlan } from './load-commands.js'

/** Longer than any command takes, including the time to drain a round. */
const replyDeadlineMs = 600_000

/** Clients of one server, in a process of their own. */
export class LoadProcess {
  readonly #program: Program
  readonly #plan: LoadPlan
  #replies = 0

  constructor(plan: LoadPlan) {
    this.#plan = plan
    this.#program = startScript('the load', 'load.mjs', [], { hasStdin: true })
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
    return this.#program.kill()
  }

  get #measured() {
    return { server: this.#plan.server, redis: this.#plan.redis }
  }

  async #request<Report>(command: LoadCommand): Promise<Report> {
    const index = this.#replies
    this.#replies += 1
    this.#program.writeLine(JSON.stringify(command))
    return this.#program.waitForOutput(
      `a reply to "${command.kind}"`,
      (output) => {
        const replies = output
          .split('\n')
          .slice(0, -1)
          .filter((line) => line.startsWith('reply '))
        const reply = replies[index]?.slice('reply '.length)
        return reply === undefined ? undefined : (JSON.parse(reply) as Report)
      },
      replyDeadlineMs,
    )
  }
}
