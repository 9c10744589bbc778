// Starts the real program as a newcomer would, and reads where it is from what it prints.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** A busy machine starts slowly. */
const startDeadlineMs = 25_000

export class RunningGateway {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  /** `localhost`, as the page for development answers to no other name. */
  get url(): string {
    return `http://localhost:${this.port}/`
  }

  /** Rejects with what it said when it does not come up in time. */
  static async start(): Promise<RunningGateway> {
    const args = [
      'dist/cli/main.js',
      'dev',
      '--tenants',
      'manifests/samples',
      '--port',
      '0',
      '--ops-port',
      '0',
    ]
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    const deadline = setTimeout(() => child.kill('SIGKILL'), startDeadlineMs)
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        said += `${line}\n`
        const port = /http:\/\/localhost:(\d+)\//.exec(line)?.[1]
        if (port === undefined) continue
        // Nobody reads on: the pipe must not fill up.
        child.stdout.resume()
        return new RunningGateway(child, Number(port))
      }
    } finally {
      clearTimeout(deadline)
    }
    throw new Error(`The gateway did not start:\n${said}`)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const deadline = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
    await ended
    clearTimeout(deadline)
  }
}
