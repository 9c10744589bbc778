// A program that reads commands and writes replies and events as lines of JSON. README.md describes the
// protocol.
import { Program } from '../support/child-process.js'
import { within } from '../support/waiting.js'

interface Reply {
  readonly id: number
  readonly result?: unknown
  readonly error?: Readonly<Record<string, unknown>>
}

/** The program replied with an error. `fields` is the field `error` of the reply. */
class ReplyError extends Error {
  readonly fields: Readonly<Record<string, unknown>>

  constructor(fields: Readonly<Record<string, unknown>>) {
    super(JSON.stringify(fields))
    this.fields = fields
  }
}

export class LineProgram {
  readonly #program: Program
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #commands = 0

  /** `onEvent` is called for each line that is not a reply. */
  constructor(name: string, command: readonly string[], onEvent: (event: object) => void = () => {}) {
    this.#program = new Program(name, command, {
      hasStdin: true,
      onLine: (text) => {
        const line = JSON.parse(text) as Reply | { readonly event: string }
        if ('id' in line) this.#waiting.get(line.id)?.(line)
        else onEvent(line)
      },
    })
  }

  /** Sends a command. Resolves with its result; rejects with `ReplyError`, or when the program ends. */
  async send(command: string, fields: object): Promise<unknown> {
    this.#commands += 1
    const id = this.#commands
    const replied = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve))
    this.write({ id, command, ...fields })
    const ended = this.#program.ended.then(() => {
      throw new Error(`${this.#program.name} ended:\n${this.#program.output}`)
    })
    const { error, result } = await within(`the reply to ${command}`, Promise.race([replied, ended]))
    this.#waiting.delete(id)
    if (error) throw new ReplyError(error)
    return result
  }

  /** Writes a line that has no reply. */
  write(line: object): void {
    this.#program.writeLine(JSON.stringify(line))
  }

  end(): Promise<void> {
    return this.#program.kill()
  }
}
