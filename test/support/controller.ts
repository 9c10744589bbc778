// Controllers for tests: in this process with a shifted clock, or as a process of their own.
import { fileURLToPath } from 'node:url'
import { Controller } from '../../src/controller/controller.js'
import type { ControllerOptions } from '../../src/controller/options.js'
import { PublicUrl } from '../../src/controller/credentials/endpoints.js'
import { ControllerMetrics } from '../../src/metrics-controller.js'
import type { ManagedLink } from '../../src/redis/managed-link.js'
import { systemAfter, type Clock } from '../../src/time.js'
import { Program, type ProgramExit } from './child-process.js'
import { parsedLines } from './log-lines.js'
import { sealingKeys } from './redis-catalog.js'
import { recordingLog, startLink, type TestLink } from './redis-links.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Real time plus a constant, so that work due in a month is due now. It never jumps, because the elector
 * would treat a jump as a stall.
 */
export class ShiftedClock implements Clock {
  readonly #aheadMs: number

  constructor(aheadMs = 0) {
    this.#aheadMs = aheadMs
  }

  epochMs(): number {
    return Date.now() + this.#aheadMs
  }

  monotonicMs(): number {
    return performance.now()
  }
}

/** The cluster and the Redis of a controller. */
export interface ControllerTarget {
  readonly kubeconfig: string
  readonly redis: string
  readonly installation: string
}

export interface TestController {
  readonly controller: Controller
  readonly metrics: ControllerMetrics
  readonly logged: () => string
  /** Releases the Lease and stops the controller. Rejects as `Controller.run` does. */
  stop(): Promise<void>
  /** The result of `Controller.run`. */
  readonly ended: Promise<void>
}

const running = new Set<TestController>()

export function startController(
  { installation, kubeconfig, redis }: ControllerTarget,
  options: Partial<ControllerOptions> = {},
): TestController {
  const { log, text } = recordingLog()
  const metrics = new ControllerMetrics({ process: false })
  const links: TestLink[] = []
  const clock = options.clock ?? new ShiftedClock()
  const master = startLink(redis, { role: 'purge' })
  links.push(master)
  const controller = new Controller({
    version: 'test',
    kubeconfig,
    lease: { namespace: 'default', name: `parley-${installation.replace('/', '-')}` },
    identity: `test-${Math.random().toString(36).slice(2)}`,
    installation,
    sealing: sealingKeys(),
    publicUrl: PublicUrl.parse('wss://chat.example.com'),
    addressProblem: () => undefined,
    createLink: (role, prepare): ManagedLink => {
      const made = startLink(redis, { role, prepare })
      links.push(made)
      return made.link
    },
    masters: async () => [await master.link.ready(5_000)],
    metrics,
    clock,
    after: systemAfter,
    log,
    settleMs: 0,
    leaseTiming: { durationMs: 15_000, renewDeadlineMs: 10_000, retryMs: 200 },
    ...options,
  })
  const stopper = new AbortController()
  const ended = controller.run(stopper.signal)
  ended.catch(() => {})
  const started: TestController = {
    controller,
    metrics,
    logged: text,
    ended,
    async stop() {
      running.delete(started)
      stopper.abort()
      try {
        await ended
      } finally {
        await Promise.all(links.map((link) => link.stop()))
      }
    },
  }
  running.add(started)
  return started
}

/** Stops all controllers, for `afterAll`. Their errors reach only the callers that await them. */
export async function endControllers(): Promise<void> {
  await Promise.allSettled([...running].map((controller) => controller.stop()))
}

/** A process that runs `parley controller`. */
export class ControllerProcess {
  readonly program: Program

  private constructor(program: Program) {
    this.program = program
  }

  /** Resolves when the process takes part in the election. */
  static async start(
    { installation, kubeconfig, redis }: ControllerTarget,
    { args = [], sealingKeyFile }: { args?: readonly string[]; sealingKeyFile: string },
  ): Promise<ControllerProcess> {
    const controller = ControllerProcess.try([
      ...['--redis', redis, '--kubeconfig', kubeconfig, '--installation', installation],
      ...['--sealing-key-file', sealingKeyFile, '--host', '127.0.0.1', '--ops-port', '0', ...args],
    ])
    await controller.logged('taking part in the leader election')
    return controller
  }

  /** Starts the process without waiting, because it may exit immediately. */
  static try(args: readonly string[]): ControllerProcess {
    const command = [process.execPath, 'dist/cli/main.js', 'controller', ...args]
    return new ControllerProcess(new Program('a controller', command, { cwd: root, env: process.env }))
  }

  /** Waits for the first log line with this message. */
  logged(msg: string): Promise<Record<string, unknown>> {
    return this.program.waitForOutput(`the log line "${msg}"`, (output) =>
      parsedLines(output).find((line) => line['msg'] === msg),
    )
  }

  async ops(path: string): Promise<{ status: number; text: string }> {
    const { opsPort } = await this.logged('answering probes')
    const response = await fetch(`http://127.0.0.1:${String(opsPort)}${path}`)
    return { status: response.status, text: await response.text() }
  }

  stop(): Promise<ProgramExit> {
    this.program.signal('SIGTERM')
    return this.program.ended
  }

  kill(): Promise<void> {
    return this.program.kill()
  }
}
