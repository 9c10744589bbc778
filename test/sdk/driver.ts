// One client of an official SDK in a process of its own, and the line protocol (README.md) that it is driven by.
import { onTestFinished } from 'vitest'
import { Program } from '../support/child-process.js'
import { Arrivals, within } from '../support/waiting.js'
import type { SdkClient } from './clients.js'

export interface Position {
  readonly offset: number
  readonly epoch: string
}

/** What a driver tells unasked. Without a position `offset` is 0. */
type Told =
  | { event: 'connecting' | 'disconnected'; code: number; reason: string }
  | { event: 'connected'; client: string; data: unknown }
  | { event: 'subscribing' | 'unsubscribed'; channel: string; code: number; reason: string }
  | ({ event: 'subscribed' | 'serverSubscribed'; channel: string } & Recovery & Position)
  | { event: 'publication' | 'serverPublication'; channel: string; data: unknown; offset: number }
  | { event: 'join' | 'leave'; channel: string; user: string; client: string }
  | { event: 'serverUnsubscribed'; channel: string }
  | { event: 'error'; code: number; message: string }

interface Recovery {
  readonly wasRecovering: boolean
  readonly recovered: boolean
}

type EventName = Told['event']
type TheEvent<Name extends EventName> = Extract<Told, { event: Name }>

interface TokenWanted {
  readonly event: 'tokenWanted'
  readonly ask: number
  /** Absent or null: for the connection. */
  readonly channel?: string | null
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string }
}

export type GetToken = () => Promise<string>

export interface Connecting {
  readonly token?: string
  readonly getToken?: GetToken
}

export interface Subscribing extends Connecting {
  readonly recoverable?: boolean
  readonly positioned?: boolean
  readonly joinLeave?: boolean
  readonly since?: Position
  readonly delta?: 'fossil'
}

export interface HistoryOptions {
  readonly limit?: number
  readonly since?: Position
  readonly reverse?: boolean
}

export interface HistoryPage extends Position {
  readonly publications: readonly { readonly data: unknown; readonly offset: number }[]
}

/** The server's refusal, as the SDK handed it on. */
export class SdkError extends Error {
  readonly code: number

  constructor({ code, message }: { code: number; message: string }) {
    super(message)
    this.code = code
  }
}

/** Ends with the test that started it. */
export class Driver {
  readonly #program: Program
  readonly #told = new Map<EventName, Arrivals<Told>>()
  readonly #answers = new Map<number, (answer: Answer) => void>()
  /** By channel; the connection's by ''. */
  readonly #tokens = new Map<string, GetToken>()
  #orders = 0

  private constructor(client: SdkClient) {
    this.#program = new Program(client.name, client.command, {
      listens: true,
      hears: (line) => this.#hear(JSON.parse(line) as Told | TokenWanted | Answer),
    })
  }

  static start(client: SdkClient): Driver {
    const driver = new Driver(client)
    onTestFinished(() => driver.#program.kill())
    return driver
  }

  /** The oldest of that event which was not taken yet; waits for it. */
  async next<Name extends EventName>(
    name: Name,
    fits: (told: TheEvent<Name>) => boolean = () => true,
  ): Promise<TheEvent<Name>> {
    return (await this.#arrivals(name).next((told) => fits(told as TheEvent<Name>))) as TheEvent<Name>
  }

  /** Told and not taken. */
  waiting<Name extends EventName>(name: Name): readonly TheEvent<Name>[] {
    return this.#arrivals(name).waiting as readonly TheEvent<Name>[]
  }

  /** What came on a channel, in order. */
  async data(count: number): Promise<unknown[]> {
    const publications: unknown[] = []
    while (publications.length < count) publications.push((await this.next('publication')).data)
    return publications
  }

  /** Resolves when the call was made: what becomes of it is told. */
  async connect(url: string, { getToken, token }: Connecting = {}): Promise<void> {
    await this.#order('connect', { url, token, ...this.#asking('', getToken) })
  }

  /** As `connect`. */
  async subscribe(channel: string, { getToken, ...fields }: Subscribing = {}): Promise<void> {
    await this.#order('subscribe', { channel, ...fields, ...this.#asking(channel, getToken) })
  }

  async unsubscribe(channel: string): Promise<void> {
    await this.#order('unsubscribe', { channel })
  }

  async publish(channel: string, data: unknown): Promise<void> {
    await this.#order('publish', { channel, data })
  }

  async history(channel: string, options: HistoryOptions = {}): Promise<HistoryPage> {
    return (await this.#order('history', { channel, ...options })) as HistoryPage
  }

  async presence(channel: string): Promise<{ clients: { client: string; user: string }[] }> {
    return (await this.#order('presence', { channel })) as { clients: { client: string; user: string }[] }
  }

  async presenceStats(channel: string): Promise<{ clients: number; users: number }> {
    return (await this.#order('presenceStats', { channel })) as { clients: number; users: number }
  }

  async disconnect(): Promise<void> {
    await this.#order('disconnect', {})
  }

  #asking(what: string, getToken: GetToken | undefined): { asksToken: boolean } {
    if (getToken) this.#tokens.set(what, getToken)
    return { asksToken: getToken !== undefined }
  }

  async #order(order: string, fields: object): Promise<unknown> {
    this.#orders += 1
    const id = this.#orders
    const answered = new Promise<Answer>((resolve) => this.#answers.set(id, resolve))
    this.#program.tell(JSON.stringify({ id, do: order, ...fields }))
    const ended = this.#program.ended.then(() => {
      throw new Error(`${this.#program.name} ended:\n${this.#program.said}`)
    })
    const { error, result } = await within(`the answer to ${order}`, Promise.race([answered, ended]))
    if (error) throw new SdkError(error)
    return result
  }

  #hear(line: Told | TokenWanted | Answer): void {
    if (!('event' in line)) this.#answers.get(line.id)?.(line)
    else if (line.event !== 'tokenWanted') this.#arrivals(line.event).push(line)
    else
      this.#giveToken(line).catch((error: unknown) => {
        // Whoever waits for what this token would have led to fails, and says what was told.
        this.#arrivals('error').push({ event: 'error', code: 0, message: String(error) })
      })
  }

  async #giveToken({ ask, channel }: TokenWanted): Promise<void> {
    const token = await this.#tokens.get(channel ?? '')?.()
    this.#program.tell(JSON.stringify({ do: 'token', ask, token }))
  }

  #arrivals(name: EventName): Arrivals<Told> {
    let arrivals = this.#told.get(name)
    if (!arrivals) this.#told.set(name, (arrivals = new Arrivals(name)))
    return arrivals
  }
}
