// Controls one client of an official SDK, which runs in its own process.
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
  /** Absent for server-side subscriptions. */
  readonly tags?: Readonly<Record<string, string>>
}

interface Member extends InChannel {
  readonly user: string
  readonly client: string
}

/** The events of a driver. */
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
  /** A token for the connection, or for a subscription if there is a channel. */
  readonly tokenRequested: { readonly request: number; readonly channel?: string | null }
}

type DriverEvent = { [Name in keyof Events]: { readonly event: Name } & Events[Name] }[keyof Events]

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
  /** In the format of the protocol. */
  readonly tagsFilter?: object
}

export interface HistoryPage extends Position {
  readonly publications: readonly { readonly data: unknown; readonly offset: number }[]
}

/** Ends when the test that started it ends. */
export class Driver {
  readonly #program: LineProgram
  readonly #events = new Map<keyof Events, Arrivals<unknown>>()
  /** By channel. The entry of the connection has the key ''. */
  readonly #tokens = new Map<string, GetToken>()

  private constructor({ command, name }: SdkClient) {
    this.#program = new LineProgram(name, command, (line) => this.#onEvent(line as DriverEvent))
  }

  static start(client: SdkClient): Driver {
    const driver = new Driver(client)
    onTestFinished(() => driver.#program.end())
    return driver
  }

  /** Takes the oldest event of that name that matches `fits`. Waits for it. */
  next<Name extends keyof Events>(
    name: Name,
    fits?: (event: Events[Name]) => boolean,
  ): Promise<Events[Name]> {
    return this.#arrivals(name).next(fits)
  }

  /** The events of that name that were not taken yet. */
  waiting<Name extends keyof Events>(name: Name): readonly Events[Name][] {
    return this.#arrivals(name).waiting
  }

  /** Takes the next `count` publications, and returns their data. */
  async data(count: number): Promise<unknown[]> {
    return (await this.#arrivals('publication').take(count)).map(({ data }) => data)
  }

  /** Resolves when the SDK's method was called. Events report the outcome. */
  async connect(url: string, { getToken, token }: Connecting = {}): Promise<void> {
    await this.#program.send('connect', { url, token, ...this.#tokenFields('', getToken) })
  }

  /** Resolves when the SDK's method was called. Events report the outcome. */
  async subscribe(channel: string, { getToken, ...fields }: Subscribing = {}): Promise<void> {
    await this.#program.send('subscribe', { channel, ...fields, ...this.#tokenFields(channel, getToken) })
  }

  /** Connects. Resolves when the client is connected. */
  async connected(url: string, options: Connecting): Promise<this> {
    await this.connect(url, options)
    await this.next('connected')
    return this
  }

  /** Subscribes. Resolves when the client is subscribed. */
  async subscribed(channel: string, options: Subscribing = {}): Promise<Subscribed> {
    await this.subscribe(channel, options)
    return this.next('subscribed', (event) => event.channel === channel)
  }

  async unsubscribe(channel: string): Promise<void> {
    await this.#program.send('unsubscribe', { channel })
  }

  async publish(channel: string, data: unknown): Promise<void> {
    await this.#program.send('publish', { channel, data })
  }

  async history(
    channel: string,
    options: { limit?: number; since?: Position; reverse?: boolean } = {},
  ): Promise<HistoryPage> {
    return (await this.#program.send('history', { channel, ...options })) as HistoryPage
  }

  async presence(channel: string): Promise<{ clients: { client: string; user: string }[] }> {
    const found = await this.#program.send('presence', { channel })
    return found as { clients: { client: string; user: string }[] }
  }

  async presenceStats(channel: string): Promise<{ clients: number; users: number }> {
    return (await this.#program.send('presenceStats', { channel })) as { clients: number; users: number }
  }

  async disconnect(): Promise<void> {
    await this.#program.send('disconnect', {})
  }

  #tokenFields(key: string, getToken: GetToken | undefined): { requestsToken: boolean } {
    if (getToken) this.#tokens.set(key, getToken)
    return { requestsToken: getToken !== undefined }
  }

  #onEvent(event: DriverEvent): void {
    this.#arrivals(event.event).push(event)
    if (event.event !== 'tokenRequested') return
    this.#sendToken(event).catch((error: unknown) => {
      // The client fails with this invalid token, which names the reason.
      this.#program.write({ command: 'token', request: event.request, token: `none: ${String(error)}` })
    })
  }

  async #sendToken({ channel, request }: Events['tokenRequested']): Promise<void> {
    this.#program.write({ command: 'token', request, token: await this.#tokens.get(channel ?? '')?.() })
  }

  #arrivals<Name extends keyof Events>(name: Name): Arrivals<Events[Name]> {
    const known = this.#events.get(name) as Arrivals<Events[Name]> | undefined
    const arrivals = known ?? new Arrivals<Events[Name]>(name)
    if (!known) this.#events.set(name, arrivals)
    return arrivals
  }
}
