// Programs that tests start, except Redis. One object manages one process, which is killed by its process id
// at the latest when the test run ends, even if the test run is killed.
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { within } from './waiting.js'

export interface ProgramExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProgramOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Whether `writeLine` can write to the standard input of the program. Default false. */
  readonly hasStdin?: boolean
  /** Called with each line of the program's standard output. */
  readonly onLine?: (line: string) => void
}

const running = new Set<Program>()

export class Program {
  readonly name: string
  /** Resolves when the program has ended and all of its output was read. */
  readonly ended: Promise<ProgramExit>
  readonly #child: ChildProcess
  #output = ''
  #onOutput: (() => void) | undefined

  constructor(name: string, [file = '', ...args]: readonly string[], options: ProgramOptions = {}) {
    this.name = name
    const { onLine, hasStdin = false, ...rest } = options
    const child: ChildProcess = spawn(file, args, {
      ...rest,
      stdio: [hasStdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    running.add(this)
    const guard = guardOf(child)
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
        this.#onOutput?.()
      })
    }
    if (onLine && child.stdout) createInterface({ input: child.stdout }).on('line', onLine)
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => {
        running.delete(this)
        // The guard may exit, because its child has ended.
        guard?.stdin?.end('done\n')
        resolve({ code, signal })
        this.#onOutput?.()
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** The standard output and the standard error output since the start. */
  get output(): string {
    return this.#output
  }

  /**
   * Waits until `find` returns a value for the output, and returns that value. `what` names the expected
   * output in errors. Rejects with the output when the program ends before, and after `ms` milliseconds.
   */
  async waitForOutput<Found>(
    what: string,
    find: (output: string) => Found | undefined,
    ms?: number,
  ): Promise<Found> {
    return within(
      `${this.name}: ${what}`,
      (async () => {
        for (;;) {
          const found = find(this.#output)
          if (found !== undefined) return found
          if (!running.has(this)) throw new Error(`${this.name} ended without ${what}:\n${this.#output}`)
          await new Promise<void>((resolve) => (this.#onOutput = resolve))
        }
      })(),
      ms,
    )
  }

  writeLine(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Sends SIGKILL. Resolves when the program has ended. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }
}

/** Kills all programs that are still running. For `afterAll`. */
export async function endPrograms(): Promise<void> {
  await Promise.all([...running].map((program) => program.kill()))
}

/**
 * Starts a guard process, which kills the child when its standard input ends. That also happens when this
 * process is killed.
 */
function guardOf({ pid }: ChildProcess): ChildProcess | undefined {
  if (pid === undefined) return undefined
  const script = 'read -r _ || kill -9 "$1"'
  const guard = spawn('sh', ['-c', script, 'sh', String(pid)], { stdio: ['pipe', 'ignore', 'ignore'] })
  guard.stdin.on('error', () => {})
  // The guard must not keep the test run alive.
  guard.unref()
  return guard
}
