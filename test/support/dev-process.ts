// `parley dev` on the samples, as a newcomer starts it: where it is stands in what it prints.
import { fileURLToPath } from 'node:url'
import { Program, type Ended } from './child-process.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export class DevProcess {
  /** What it printed when it was up. */
  readonly banner: string
  readonly port: number
  readonly #program: Program

  private constructor(program: Program, banner: string) {
    this.#program = program
    this.banner = banner
    this.port = Number(/http:\/\/localhost:(\d+)\//.exec(banner)?.[1])
  }

  /** Rejects with what it said when it does not come up. */
  static async start(): Promise<DevProcess> {
    const command = [process.execPath, 'dist/cli/main.js', 'dev', '--tenants', 'manifests/samples']
    const ports = ['--port', '0', '--ops-port', '0']
    const program = new Program('parley dev', [...command, ...ports], { cwd: root })
    // Its last line.
    const banner = await program.saying('its banner', (said) => (said.includes('WARNING') ? said : undefined))
    return new DevProcess(program, banner)
  }

  /** `localhost`, as the page for development answers to no other name. */
  get url(): string {
    return `http://localhost:${this.port}/`
  }

  stop(): Promise<Ended> {
    this.#program.signal('SIGTERM')
    return this.#program.ended
  }
}
