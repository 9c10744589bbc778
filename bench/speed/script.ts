// Starts the scripts of this folder as processes, and controls those that take commands.
import { fileURLToPath } from 'node:url'
import { Program, type ProgramOptions } from '../../test/support/child-process.js'

const folder = fileURLToPath(new URL('.', import.meta.url))

export function startScript(
  name: string,
  file: string,
  args: readonly (string | number)[] = [],
  options: ProgramOptions = {},
): Program {
  return new Program(name, [process.execPath, `${folder}${file}`, ...args.map(String)], options)
}

/** Returns the port that the program prints when it listens. */
export function portOf(program: Program): Promise<number> {
  return program.waitForOutput('its port', (output) => {
    const port = /listening on (\d+)\n/.exec(output)?.[1]
    return port === undefined ? undefined : Number(port)
  })
}

/**
 * A script that takes one command per line on its standard input, and prints a line `reply <JSON>` for each.
 */
export class CommandProcess<Command extends { readonly kind: string }> {
  readonly #program: Program
  #replies = 0

  constructor(name: string, file: string) {
    this.#program = startScript(name, file, [], { hasStdin: true })
  }

  /** Sends a command and resolves with its reply. Rejects when there is none within `deadlineMs`. */
  async request<Reply>(command: Command, deadlineMs: number): Promise<Reply> {
    const index = this.#replies
    this.#replies += 1
    this.#program.writeLine(JSON.stringify(command))
    return this.#program.waitForOutput(
      `a reply to "${command.kind}"`,
      (output) => {
        // The last line may be incomplete.
        const lines = output.split('\n').slice(0, -1)
        const reply = lines.filter((line) => line.startsWith('reply '))[index]?.slice('reply '.length)
        return reply === undefined ? undefined : (JSON.parse(reply) as Reply)
      },
      deadlineMs,
    )
  }

  end(): Promise<void> {
    return this.#program.kill()
  }
}
