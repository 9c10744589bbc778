// Runs `parley dev` with the sample tenants, and reads its address from the banner that it prints.
import { fileURLToPath } from 'node:url'
import { Program, type ProgramExit } from './child-process.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export class DevProcess {
  /** The text that the program printed when it was ready. */
  readonly banner: string
  readonly port: number
  readonly #program: Program

  private constructor(program: Program, banner: string) {
    this.#program = program
    this.banner = banner
    this.port = Number(/http:\/\/localhost:(\d+)\//.exec(banner)?.[1])
  }

  /** Starts the program. Rejects with its output when it does not become ready. */
  static async start(): Promise<DevProcess> {
    const command = [process.execPath, 'dist/cli/main.js', 'dev', '--tenants', 'manifests/samples']
    const ports = ['--port', '0', '--ops-port', '0']
    const program = new Program('parley dev', [...command, ...ports], { cwd: root })
    // The warning is the last line of the banner.
    const banner = await program.waitForOutput('its banner', (output) =>
      output.includes('WARNING') ? output : undefined,
    )
    return new DevProcess(program, banner)
  }

  get pid(): number {
    return this.#program.pid
  }

  /**
   * The URL of the chat page. The host is `localhost`, because the development page refuses every other name.
   */
  get url(): string {
    return `http://localhost:${this.port}/`
  }

  stop(): Promise<ProgramExit> {
    this.#program.signal('SIGTERM')
    return this.#program.ended
  }
}
