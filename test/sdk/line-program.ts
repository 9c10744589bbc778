// A program that is given orders and answers them, one JSON object a line: the frame of the protocol in README.md.
import { Program } from '../support/child-process.js'
import { within } from '../support/waiting.js'

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: Readonly<Record<string, unknown>>
}

/** The program refused an order. `fields` is its `error`, as it came. */
class Refusal extends Error {
  readonly fields: Readonly<Record<string, unknown>>

  constructor(fields: Readonly<Record<string, unknown>>) {
    super(JSON.stringify(fields))
    this.fields = fields
  }
}

export class LineProgram {
  readonly #program: Program
  readonly #answers = new Map<number, (answer: Answer) => void>()
  #orders = 0

  /** `told`: each line that answers nothing. */
  constructor(name: string, command: readonly string[], told: (line: object) => void = () => {}) {
    this.#program = new Program(name, command, {
      listens: true,
      hears: (text) => {
        const line = JSON.parse(text) as Answer | { readonly event: string }
        if ('id' in line) this.#answers.get(line.id)?.(line)
        else told(line)
      },
    })
  }

  /** The result; rejects with a `Refusal`. */
  async order(order: string, fields: object): Promise<unknown> {
    this.#orders += 1
    const id = this.#orders
    const answered = new Promise<Answer>((resolve) => this.#answers.set(id, resolve))
    this.tell({ id, do: order, ...fields })
    const ended = this.#program.ended.then(() => {
      throw new Error(`${this.#program.name} ended:\n${this.#program.said}`)
    })
    const { error, result } = await within(`the answer to ${order}`, Promise.race([answered, ended]))
    this.#answers.delete(id)
    if (error) throw new Refusal(error)
    return result
  }

  /** What is not answered. */
  tell(line: object): void {
    this.#program.tell(JSON.stringify(line))
  }

  end(): Promise<void> {
    return this.#program.kill()
  }
}
