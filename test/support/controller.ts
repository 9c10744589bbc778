// Controllers for tests: in this process with a clock that can be moved, or as operators run them.
import { fileURLToPath } from 'node:url'
import { Controller } from '../../src/controller/controller.js'
import type { ControllerOptions } from '../../src/controller/options.js'
import { PublicUrl } from '../../src/controller/credentials/endpoints.js'
import { ControllerMetrics } from '../../src/metrics-controller.js'
import type { ManagedLink } from '../../src/redis/managed-link.js'
import { systemAfter, type Clock } from '../../src/time.js'
import { Program, type Ended } from './child-process.js'
import { parsedLines } from './log-lines.js'
import { sealingKeys } from './redis-catalog.js'
import { recordingLog, startLink, type TestLink } from './redis-links.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Real time, and later: what is due in a month is due now. It does not jump, or an elector would take it for a standstill. */
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

export interface ControllerTarget {
  readonly kubeconfig: string
  readonly redis: string
  readonly installation: string
}

export interface TestController {
  readonly controller: Controller
  readonly metrics: ControllerMetrics
  readonly logged: () => string
  /** Hands the lease over. Resolves when all has ended; rejects as `run` does. */
  stop(): Promise<void>
  /** What `run` ends with. */
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

/** For `afterAll`. What they end with is heard by whoever waits for it. */
export async function endControllers(): Promise<void> {
  await Promise.allSettled([...running].map((controller) => controller.stop()))
}

/** `parley controller`. */
export class ControllerProcess {
  readonly program: Program

  private constructor(program: Program) {
    this.program = program
  }

  /** Resolves when it stands for election. */
  static async start(
    { installation, kubeconfig, redis }: ControllerTarget,
    { args = [], sealingKeyFile }: { args?: readonly string[]; sealingKeyFile: string },
  ): Promise<ControllerProcess> {
    const controller = ControllerProcess.try([
      ...['--redis', redis, '--kubeconfig', kubeconfig, '--installation', installation],
      ...['--sealing-key-file', sealingKeyFile, '--host', '127.0.0.1', '--ops-port', '0', ...args],
    ])
    await controller.logged('standing for election')
    return controller
  }

  /** Resolves to nothing: it may end at once. */
  static try(args: readonly string[]): ControllerProcess {
    const command = [process.execPath, 'dist/cli/main.js', 'controller', ...args]
    return new ControllerProcess(new Program('a controller', command, { cwd: root, env: process.env }))
  }

  /** The first line of its log with that message. */
  logged(msg: string): Promise<Record<string, unknown>> {
    return this.program.saying(`the log line "${msg}"`, (said) =>
      parsedLines(said).find((line) => line['msg'] === msg),
    )
  }

  async ops(path: string): Promise<{ status: number; text: string }> {
    const { opsPort } = await this.logged('answering probes')
    const response = await fetch(`http://127.0.0.1:${String(opsPort)}${path}`)
    return { status: response.status, text: await response.text() }
  }

  stop(): Promise<Ended> {
    this.program.signal('SIGTERM')
    return this.program.ended
  }

  kill(): Promise<void> {
    return this.program.kill()
  }
}
