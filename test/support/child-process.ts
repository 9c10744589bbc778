// Programs that tests start besides Redis: one object, one process, ended by its own id, also when the test run is killed.
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { within } from './waiting.js'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProgramOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** It is told things by `tell`. */
  readonly listens?: boolean
  /** Hears each line of its standard output. */
  readonly hears?: (line: string) => void
}

const running = new Set<Program>()

export class Program {
  readonly name: string
  /** Resolves when it has ended and all that it said was read. */
  readonly ended: Promise<Ended>
  readonly #child: ChildProcess
  #said = ''
  #heard: (() => void) | undefined

  constructor(name: string, [file = '', ...args]: readonly string[], options: ProgramOptions = {}) {
    this.name = name
    const { hears, listens = false, ...rest } = options
    const child: ChildProcess = spawn(file, args, {
      ...rest,
      stdio: [listens ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    running.add(this)
    const guard = guardOf(child)
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text
        this.#heard?.()
      })
    }
    if (hears && child.stdout) createInterface({ input: child.stdout }).on('line', hears)
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => {
        running.delete(this)
        // It may go: there is nobody to look after any more.
        guard?.stdin?.end('done\n')
        resolve({ code, signal })
        this.#heard?.()
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** On both outputs, since its start. */
  get said(): string {
    return this.#said
  }

  /** The first that `find` makes of what was said. Rejects with all that was said when the program ends before. */
  async saying<Found>(what: string, find: (said: string) => Found | undefined, ms?: number): Promise<Found> {
    return within(
      `${this.name}: ${what}`,
      (async () => {
        for (;;) {
          const found = find(this.#said)
          if (found !== undefined) return found
          if (!running.has(this)) throw new Error(`${this.name} ended without ${what}:\n${this.#said}`)
          await new Promise<void>((resolve) => (this.#heard = resolve))
        }
      })(),
      ms,
    )
  }

  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** SIGKILL. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }
}

/** Ends all that was started here. For `afterAll`. */
export async function endPrograms(): Promise<void> {
  await Promise.all([...running].map((program) => program.kill()))
}

/** Outlives nobody: at the end of its input, which comes also when this process is killed, it ends the child. */
function guardOf({ pid }: ChildProcess): ChildProcess | undefined {
  if (pid === undefined) return undefined
  const script = 'read -r _ || kill -9 "$1"'
  const guard = spawn('sh', ['-c', script, 'sh', String(pid)], { stdio: ['pipe', 'ignore', 'ignore'] })
  guard.stdin.on('error', () => {})
  // Neither keeps the test run alive.
  guard.unref()
  return guard
}
