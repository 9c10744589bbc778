// One client of an official SDK, in a process of its own.
import { onTestFinished } from 'vitest'
import { Arrivals } from '../support/waiting.js'
import type { SdkClient } from './clients.js'
import { LineProgram } from './line-program.js'

export interface Position {
  readonly offset: number
  readonly epoch: string
}

interface Change {
  readonly code: number
  readonly reason: string
}

interface InChannel {
  readonly channel: string
}

interface Subscribed extends InChannel {
  readonly wasRecovering: boolean
  readonly recovered: boolean
}

interface Publication extends InChannel {
  readonly data: unknown
  readonly offset: number
  /** Not of server-side subscriptions. */
  readonly tags?: Readonly<Record<string, string>>
}

interface Member extends InChannel {
  readonly user: string
  readonly client: string
}

/** What a driver tells unasked. */
interface Events {
  readonly connecting: Change
  readonly connected: { readonly client: string; readonly data?: unknown }
  readonly disconnected: Change
  readonly subscribing: InChannel & Change
  readonly subscribed: Subscribed
  readonly unsubscribed: InChannel & Change
  readonly publication: Publication
  readonly join: Member
  readonly leave: Member
  readonly serverSubscribed: Subscribed
  readonly serverPublication: Publication
  readonly serverUnsubscribed: InChannel
  readonly error: { readonly code: number; readonly message: string }
  /** Without a channel: for the connection. */
  readonly tokenWanted: { readonly ask: number; readonly channel?: string | null }
}

type Told = { [Name in keyof Events]: { readonly event: Name } & Events[Name] }[keyof Events]

export type GetToken = () => Promise<string>

export interface Connecting {
  readonly token?: string
  readonly getToken?: GetToken
}

export interface Subscribing extends Connecting {
  readonly recoverable?: boolean
  readonly joinLeave?: boolean
  readonly since?: Position
  readonly delta?: 'fossil'
  /** As it is on the wire. */
  readonly tagsFilter?: object
}

export interface HistoryPage extends Position {
  readonly publications: readonly { readonly data: unknown; readonly offset: number }[]
}

/** Ends with the test that started it. */
export class Driver {
  readonly #program: LineProgram
  readonly #told = new Map<keyof Events, Arrivals<unknown>>()
  /** By channel; the connection's by ''. */
  readonly #tokens = new Map<string, GetToken>()

  private constructor({ command, name }: SdkClient) {
    this.#program = new LineProgram(name, command, (line) => this.#hear(line as Told))
  }

  static start(client: SdkClient): Driver {
    const driver = new Driver(client)
    onTestFinished(() => driver.#program.end())
    return driver
  }

  /** The oldest event of that name which was not taken yet; waits for it. */
  next<Name extends keyof Events>(name: Name, fits?: (told: Events[Name]) => boolean): Promise<Events[Name]> {
    return this.#arrivals(name).next(fits)
  }

  /** Told and not taken. */
  waiting<Name extends keyof Events>(name: Name): readonly Events[Name][] {
    return this.#arrivals(name).waiting
  }

  /** Of the next publications. */
  async data(count: number): Promise<unknown[]> {
    return (await this.#arrivals('publication').take(count)).map(({ data }) => data)
  }

  /** Resolves when the call was made: what becomes of it is told. */
  async connect(url: string, { getToken, token }: Connecting = {}): Promise<void> {
    await this.#program.order('connect', { url, token, ...this.#asking('', getToken) })
  }

  /** As `connect`. */
  async subscribe(channel: string, { getToken, ...fields }: Subscribing = {}): Promise<void> {
    await this.#program.order('subscribe', { channel, ...fields, ...this.#asking(channel, getToken) })
  }

  /** Resolves when it is connected. */
  async connected(url: string, options: Connecting): Promise<this> {
    await this.connect(url, options)
    await this.next('connected')
    return this
  }

  /** Resolves when it is subscribed. */
  async subscribed(channel: string, options: Subscribing = {}): Promise<Subscribed> {
    await this.subscribe(channel, options)
    return this.next('subscribed', (told) => told.channel === channel)
  }

  async unsubscribe(channel: string): Promise<void> {
    await this.#program.order('unsubscribe', { channel })
  }

  async publish(channel: string, data: unknown): Promise<void> {
    await this.#program.order('publish', { channel, data })
  }

  async history(
    channel: string,
    options: { limit?: number; since?: Position; reverse?: boolean } = {},
  ): Promise<HistoryPage> {
    return (await this.#program.order('history', { channel, ...options })) as HistoryPage
  }

  async presence(channel: string): Promise<{ clients: { client: string; user: string }[] }> {
    const found = await this.#program.order('presence', { channel })
    return found as { clients: { client: string; user: string }[] }
  }

  async presenceStats(channel: string): Promise<{ clients: number; users: number }> {
    return (await this.#program.order('presenceStats', { channel })) as { clients: number; users: number }
  }

  async disconnect(): Promise<void> {
    await this.#program.order('disconnect', {})
  }

  #asking(what: string, getToken: GetToken | undefined): { asksToken: boolean } {
    if (getToken) this.#tokens.set(what, getToken)
    return { asksToken: getToken !== undefined }
  }

  #hear(told: Told): void {
    this.#arrivals(told.event).push(told)
    if (told.event !== 'tokenWanted') return
    this.#giveToken(told).catch((error: unknown) => {
      // Whoever waits for what this token would have led to fails, and this says why.
      this.#program.tell({ do: 'token', ask: told.ask, token: `none: ${String(error)}` })
    })
  }

  async #giveToken({ ask, channel }: Events['tokenWanted']): Promise<void> {
    this.#program.tell({ do: 'token', ask, token: await this.#tokens.get(channel ?? '')?.() })
  }

  #arrivals<Name extends keyof Events>(name: Name): Arrivals<Events[Name]> {
    const known = this.#told.get(name) as Arrivals<Events[Name]> | undefined
    const arrivals = known ?? new Arrivals<Events[Name]>(name)
    if (!known) this.#told.set(name, arrivals)
    return arrivals
  }
}
